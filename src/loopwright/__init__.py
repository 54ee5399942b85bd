"""Loopwright: run LLMs in production on your own machines, and make them better every day."""

from loopwright.client import Client
from loopwright.tools import Tool, tool, tools_from_openapi

__all__ = ["Client", "Tool", "__version__", "tool", "tools_from_openapi"]
__version__ = "0.1.0"
