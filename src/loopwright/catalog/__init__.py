"""Which models there are, where their weights lie and what they cost. Knows nothing of engines."""
