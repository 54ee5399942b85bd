"""Loopwright: run LLMs in production on your own machines, and make them better every day."""

from importlib import import_module
from typing import Any

__all__ = ["Client", "Tool", "__version__", "observe", "tool", "tools_from_openapi"]
__version__ = "0.1.0"

_PLACES = {
    "Client": "loopwright.client",
    "Tool": "loopwright.tools",
    "observe": "loopwright.observing",
    "tool": "loopwright.tools",
    "tools_from_openapi": "loopwright.tools",
}


def __getattr__(name: str) -> Any:
    """Each is loaded when it is asked for: every process of the house begins with this file. Types are in `__init__.pyi`."""
    if name not in _PLACES:
        raise AttributeError(f"module 'loopwright' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
