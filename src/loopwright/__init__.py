"""Loopwright: run LLMs in production on your own machines, and make them better every day."""

from loopwright.client import Client

__all__ = ["Client", "__version__"]
__version__ = "0.1.0"
