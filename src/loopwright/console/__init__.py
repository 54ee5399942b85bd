"""The web console: server-rendered pages, each with a .json twin. Asks the rooms below, and holds no SQL."""
