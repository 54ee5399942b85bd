"""Loopwright: run LLMs in production on your own machines, and make them better every day."""

__version__ = "0.1.0"
