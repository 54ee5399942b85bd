"""So many answers of one target at once; who has to wait waits in turn by key, so one key's crowd delays only itself."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque

from loopwright.core.errors import Busy
from loopwright.kit.settings_routes import QueueSettings


class QueueFull(Busy):
    """More wait for a target than its queue holds, or it was waited for too long."""


class FairQueue:
    """Round robin over keys; when it is full, whoever waits most gives way to who waits less."""

    __slots__ = ("_held", "_queues", "_settings", "limit", "running", "waiting")

    def __init__(self, limit: int, settings: QueueSettings) -> None:
        self.limit = limit
        self.running = 0
        self.waiting = 0
        self._settings = settings
        self._queues: OrderedDict[int, deque[asyncio.Future[None]]] = OrderedDict()
        self._held = 1.0
        """Seconds an answer takes, as an exponentially weighted mean."""

    async def enter(self, key: int, deadline: float | None) -> None:
        """Take a place, after waiting for it if need be. Each is given back by `leave`.

        Raises:
            QueueFull: no place, or none in time; `retry_after` is when one is likely.
        """
        if self.running < self.limit and not self.waiting:
            self.running += 1
            return
        if self.waiting >= self._settings.size:
            self._make_room(key)
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._queues.setdefault(key, deque()).append(turn)
        self.waiting += 1
        patience = self._settings.timeout
        if deadline is not None:
            patience = min(patience, max(deadline - time.monotonic(), 0.0))
        bell = loop.call_later(patience, self._refuse, key, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._drop(key, turn)
            elif turn.exception() is None:
                # Its turn came in the very moment it was cancelled.
                self.leave(0.0)
            raise
        finally:
            bell.cancel()

    def leave(self, seconds: float) -> None:
        """Give a place back; `seconds` is how long it was held, 0 when it was not used."""
        if seconds:
            self._held += (seconds - self._held) * 0.1
        while self._queues:
            key, turns = self._queues.popitem(last=False)
            turn = turns.popleft()
            self.waiting -= 1
            if turns:
                self._queues[key] = turns
            if not turn.done():
                turn.set_result(None)
                return
        self.running -= 1

    def _make_room(self, key: int) -> None:
        """Send the newest of the longest queue away if that is fairer than sending this one."""
        if not self._queues:
            raise self._full()
        longest = max(self._queues, key=lambda each: len(self._queues[each]))
        mine = self._queues.get(key)
        if len(self._queues[longest]) <= (len(mine) if mine else 0) + 1:
            raise self._full()
        self._refuse(longest, self._queues[longest][-1])

    def _refuse(self, key: int, turn: asyncio.Future[None]) -> None:
        if not turn.done():
            self._drop(key, turn)
            turn.set_exception(self._full())

    def _drop(self, key: int, turn: asyncio.Future[None]) -> None:
        turns = self._queues.get(key)
        if turns is not None and turn in turns:
            turns.remove(turn)
            self.waiting -= 1
            if not turns:
                del self._queues[key]

    def _full(self) -> QueueFull:
        wait = max((self.waiting + 1) * self._held / self.limit, 1.0)
        return QueueFull(
            f"{self.running} answers are being made and {self.waiting} wait for their turn: try again in {wait:.0f} s",
            retry_after=wait,
        )
