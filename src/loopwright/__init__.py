"""Loopwright: run LLMs in production on your own machines, and make them better every day."""

from importlib import import_module
from typing import Any

from loopwright.client import Client

__all__ = ["Client", "Tool", "__version__", "observe", "tool", "tools_from_openapi"]
__version__ = "0.1.0"

_TOOLS = frozenset({"Tool", "tool", "tools_from_openapi"})


def __getattr__(name: str) -> Any:
    """What needs more than the standard library is loaded when it is asked for: `import loopwright` stays light."""
    if name == "observe":
        return import_module("loopwright.observing").observe
    if name in _TOOLS:
        return getattr(import_module("loopwright.tools"), name)
    raise AttributeError(f"module 'loopwright' has no attribute {name!r}")
