"""Ends a wait for the next piece at a given time: one timer an answer, where `asyncio.timeout` would be one a piece."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator

from loopwright.core.chat import Delta


class Alarm:
    """Rings once. Only a wait inside `next` is interrupted, never whoever consumes the answer."""

    __slots__ = ("_handle", "_task", "rung")

    def __init__(self, when: float) -> None:
        """`when` is a `time.monotonic()`."""
        self.rung = False
        self._task: asyncio.Task[object] | None = None
        self._handle = asyncio.get_running_loop().call_later(max(when - time.monotonic(), 0.0), self._ring)

    def _ring(self) -> None:
        self.rung = True
        if self._task is not None:
            self._task.cancel()

    async def next(self, answer: AsyncGenerator[Delta, None]) -> Delta | None:
        """The next piece; None at the end.

        Raises:
            TimeoutError: it has rung.
        """
        if self.rung:
            raise TimeoutError
        task = self._task = asyncio.current_task()
        assert task is not None
        before = task.cancelling()
        try:
            return await anext(answer, None)
        except asyncio.CancelledError:
            # Somebody else may have cancelled too: then the count stays above what it was, and that one wins.
            if self.rung and task.uncancel() <= before:
                raise TimeoutError from None
            raise
        finally:
            self._task = None

    def stop(self) -> None:
        """It is not needed any more."""
        self._handle.cancel()
