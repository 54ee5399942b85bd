"""The road of a request: one wrapper a file, each a Chat round a Chat, composed in `app.py`."""
