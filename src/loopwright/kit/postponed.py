"""Libraries that are imported when something of them is first used: most processes never do, and start sooner.

`aiohttp = Postponed("aiohttp")` stands where `import aiohttp` would. Only for libraries that are heavy (over 20 ms or
10 MB) and only sometimes wanted, never for our own modules: those that are made by name stand in `kit/plugins.py`.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any


class Postponed:
    """One module of a library, by its full name; whatever is asked of it is asked of the module."""

    __slots__ = ("_module", "_name")

    def __init__(self, name: str) -> None:
        self._name = name
        self._module: ModuleType | None = None

    def __getattr__(self, wanted: str) -> Any:
        """What the module has by this name.

        Raises:
            ImportError: the library is not installed.
        """
        if self._module is None:
            self._module = import_module(self._name)
        return getattr(self._module, wanted)


@contextmanager
def at_rest() -> Iterator[None]:
    """Import, or put together, with the garbage collector at rest, now and later: looking takes a third of the whole."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
