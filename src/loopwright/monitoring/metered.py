"""What evaluators of online evaluation ask models through: at low priority, tagged, under the task's policy, and metered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from loopwright.core.chat import Chat, Delta, Embedder, Request, answering
from loopwright.core.errors import Busy
from loopwright.core.privacy import Privacy
from loopwright.kit import wire
from loopwright.monitoring.arriving import TAG

_LOOK: Final = 0.2
_PATIENCE: Final = 2.0
"""Seconds to wait for an engine that others are using, before something else is done meanwhile."""
_AGAIN: Final = 5.0
"""Seconds after which to look again."""


class Yielded(Busy):
    """An engine of ours is needed by others."""


@dataclass(slots=True)
class Meter:
    """What one finding took."""

    engine_us: int = 0
    """Of engines of ours."""
    foreign: bool = False
    """Somebody was asked whose time is not ours, so an answer without a price costs nobody knows what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where questions are asked."""

    free: Callable[[str], Awaitable[bool]]
    """Whether one more question for a model keeps nobody waiting."""
    ours: Callable[[str], bool]
    """Whether a model is on an engine of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metered:
    """A Chat for judges."""

    inner: Chat
    place: Place
    meter: Meter
    task: str
    privacy: Privacy | None
    seconds: float
    """For one answer."""

    async def __call__(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Answer once nobody else needs the engine.

        Raises:
            Yielded: others need it for long.
        """
        await turn(self.place, request.model)
        joined = self.privacy if request.privacy is None else request.privacy
        if self.privacy is not None and request.privacy is not None:
            joined = self.privacy.joined(request.privacy)
        now = time.time_ns()
        asked = replace(
            request,
            started_ns=now,
            trace=wire.new_trace(),
            tags={**request.tags, TAG: self.task},
            privacy=joined,
            deadline=time.monotonic() + self.seconds,
        )
        began = time.perf_counter_ns()
        try:
            async with answering(self.inner, asked) as answer:
                async for delta in answer:
                    yield delta
        finally:
            _took(self.meter, self.place, request.model, began)


@dataclass(slots=True, kw_only=True)
class MeteredEmbedder:
    """An Embedder."""

    inner: Embedder
    name: str
    place: Place
    meter: Meter
    privacy: Privacy | None
    dimensions: int = 0
    """Known only from what comes."""

    async def __call__(self, texts: list[str], /, *, privacy: Privacy | None = None) -> list[list[float]]:
        """Vectors, once nobody else needs the engine.

        Raises:
            Yielded: others need it for long.
            LoopwrightError: as the model.
        """
        await turn(self.place, self.name)
        began = time.perf_counter_ns()
        try:
            return await self.inner(texts, privacy=self.privacy or privacy)
        finally:
            _took(self.meter, self.place, self.name, began)


async def turn(place: Place, model: str) -> None:
    """Wait until a model may be asked.

    Raises:
        Yielded: others need it for long.
    """
    until = time.monotonic() + _PATIENCE
    while not await place.free(model):
        if time.monotonic() >= until:
            raise Yielded(f"the engine of {model!r} is needed by others", retry_after=_AGAIN)
        await asyncio.sleep(_LOOK)


def _took(meter: Meter, place: Place, model: str, began: int) -> None:
    if place.ours(model):
        meter.engine_us += (time.perf_counter_ns() - began) // 1_000
    else:
        meter.foreign = True
