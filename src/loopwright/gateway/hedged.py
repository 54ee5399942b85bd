"""Asks a second time when the first token is late; the first token wins and the loser is cancelled."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from typing import Final

from loopwright.core.chat import Delta, Request
from loopwright.core.notes import guessed
from loopwright.gateway.retried import Retried
from loopwright.gateway.standing import Standing
from loopwright.kit.settings_routes import HedgeSettings

_REMEMBERED: Final = 200
_ENOUGH: Final = 20
_RECKON: Final = 10
"""The percentile is worked out anew after so many answers."""


class Delay:
    """The 95th percentile of the last times to first token."""

    __slots__ = ("_count", "_seen", "p95")

    def __init__(self) -> None:
        self._seen: deque[float] = deque(maxlen=_REMEMBERED)
        self._count = 0
        self.p95: float | None = None
        """Seconds; None until twenty are known."""

    def add(self, seconds: float) -> None:
        """One more."""
        self._seen.append(seconds)
        self._count += 1
        if self._count >= _ENOUGH and self._count % _RECKON == 0:
            self.p95 = sorted(self._seen)[int(0.95 * (len(self._seen) - 1))]


class Hedged:
    """A second attempt takes from the same budget as a retry does, so a slow upstream is not asked twice for everything."""

    def __init__(self, route: Retried, settings: HedgeSettings) -> None:
        self._route = route
        self._after = settings.after
        self.delays = {True: Delay(), False: Delay()}
        """By whether the answer is streamed."""
        self.asked = 0
        self.won = 0

    async def __call__(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Answer."""
        route, seen = self._route, self.delays[request.stream]
        route.budget.deposit()
        trail: list[Standing] = []
        legs = [route.answer(request, trail)]
        first = asyncio.ensure_future(anext(legs[0], None))
        races = [first]
        began = time.monotonic()
        try:
            late = self._after if self._after is not None else seen.p95
            if late is not None:
                await asyncio.wait(races, timeout=late)
                if not first.done() and route.budget.take():
                    self.asked += 1
                    legs.append(route.answer(request, trail))
                    races.append(asyncio.ensure_future(anext(legs[1], None)))
            winner = await _first(races)
            self.won += winner
            delta = races[winner].result()
            await _cancel(races, legs, but=winner)
            for at, race in enumerate(races):
                if at != winner:
                    self._overtaken(request, race, time.monotonic() - began)
            # From here it is an answer like any other.
            if delta is None:
                return
            seen.add(time.monotonic() - began)
            yield delta
            async for delta in legs[winner]:
                yield delta
        finally:
            await _cancel(races, legs, but=None)

    def _overtaken(self, request: Request, race: asyncio.Future[Delta | None], seconds: float) -> None:
        """Note what an answer took that had begun in the very moment another did; its attempt took it for passed on."""
        delta = None if race.cancelled() or race.exception() is not None else race.result()
        if delta is None:
            return
        for standing in self._route.standings:
            if (standing.target.provider, standing.target.model) == (delta.provider, delta.model):
                standing.wasted(request, delta.usage or guessed(request.raw, 1), seconds)
                return


async def _first(races: Sequence[asyncio.Future[Delta | None]]) -> int:
    """Which of them begins to answer first; if all fail, which failed first."""
    pending: set[asyncio.Future[Delta | None]] = set(races)
    failed: int | None = None
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for at, race in enumerate(races):
            if race in done:
                if race.exception() is None:
                    return at
                failed = at if failed is None else failed
    return failed or 0


async def _cancel(
    races: Sequence[asyncio.Future[Delta | None]], legs: Sequence[AsyncGenerator[Delta, None]], *, but: int | None
) -> None:
    for at, race in enumerate(races):
        if at == but:
            continue
        race.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await race
        await legs[at].aclose()
