"""A part of the server that is put together at its first request: most workers never get one, and start sooner.

In a thread, while the fast lane goes on; one at a time, as two that import the same have to wait for each other anyway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from loopwright.kit.postponed import at_rest

Asgi = Callable[[Any, Any, Any], Awaitable[None]]


class Later:
    """Stands for an ASGI application until it is asked something."""

    __slots__ = ("_alone", "_made", "_make", "_making")

    def __init__(self, make: Callable[[], Asgi], alone: asyncio.Lock) -> None:
        """`alone` is one of all that share modules."""
        self._make = make
        self._alone = alone
        self._made: Asgi | None = None
        self._making: asyncio.Task[Asgi] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """As ASGI has it. What `make` raises is raised to all who wait for it, and tried again by who comes next."""
        made = self._made
        if made is None:
            if self._making is None:
                self._making = asyncio.create_task(self._work())
            # It goes on for the others when one of those who wait hangs up.
            made = await asyncio.shield(self._making)
        await made(scope, receive, send)

    async def _work(self) -> Asgi:
        try:
            async with self._alone:
                self._made = await asyncio.to_thread(self._at_rest)
        finally:
            self._making = None
        return self._made

    def _at_rest(self) -> Asgi:
        with at_rest():
            return self._make()
