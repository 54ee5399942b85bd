"""HTTP in: the OpenAI dialect on a fast lane, management REST beside it. Parses, calls one thing, encodes."""
