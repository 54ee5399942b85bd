"""Ends tasks that belong to somebody who ends, and waits until they have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

_AGAIN: Final = 2.0
"""Seconds after which a task that goes on is cancelled again."""


async def end(tasks: Iterable[asyncio.Task[Any]], *, again: float = _AGAIN) -> None:
    """Cancel tasks until all have ended; what they raise is let go.

    Once is not enough: up to Python 3.11 `asyncio.wait_for`, by which psycopg's pool waits for a connection, forgets a
    cancellation that comes in the very turn in which what it waits for is there.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=again)
        for task in done:
            if not task.cancelled():
                task.exception()  # seen
