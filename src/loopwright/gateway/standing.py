"""A target of a route with what is known of it now: health, speed, how busy it is. Each worker learns for itself."""

from __future__ import annotations

from typing import Any, Final

from loopwright.core.chat import Request
from loopwright.core.money import Usage
from loopwright.core.notes import Note
from loopwright.gateway.breaker import Breaker
from loopwright.gateway.fair_queue import FairQueue
from loopwright.gateway.routed import Target

_NEW: Final = 0.2
"""Weight of the newest time in the mean."""


class Standing:
    """Told of every attempt."""

    __slots__ = (
        "attempts", "breaker", "failures", "fit", "in_flight", "label", "queue", "region", "rests_until", "target",
        "ttft", "weight", "whole",
    )  # fmt: skip

    def __init__(
        self,
        target: Target,
        breaker: Breaker,
        *,
        queue: FairQueue | None = None,
        weight: float = 1.0,
        region: str | None = None,
    ) -> None:
        self.target = target
        self.breaker = breaker
        self.queue = queue
        self.weight = weight
        self.region = region
        self.label = f"{target.provider}/{target.model}"
        self.fit = True
        """Nothing speaks against asking it first: closed, not demoted, not resting."""
        self.in_flight = 0
        self.attempts = 0
        self.failures = 0
        self.rests_until = 0.0
        """`time.monotonic()` to which a provider that limits our rate is left alone."""
        self.ttft: float | None = None
        """Seconds to the first token of streams, an exponentially weighted mean."""
        self.whole: float | None = None
        """Seconds a non-streamed answer takes, an exponentially weighted mean."""

    def ready(self, now: float) -> bool:
        """Whether it may be asked now."""
        return now >= self.rests_until and self.breaker.ready(now)

    def ready_at(self, now: float) -> float:
        """When it may be asked, as far as one can tell."""
        known = max(self.rests_until, self.breaker.until if self.breaker.state != "closed" else 0.0)
        return max(known, now)

    def began(self) -> bool:
        """An attempt is made; whether it is a probe."""
        self.in_flight += 1
        self.attempts += 1
        if self.fit:
            return False
        self.rests_until = 0.0
        self._look()
        return self.breaker.began()

    def spoke(self, request: Request, seconds: float) -> None:
        """The first token has come after so long, or the whole answer of a request that is not streamed."""
        if request.stream:
            self.ttft = seconds if self.ttft is None else self.ttft + (seconds - self.ttft) * _NEW
        else:
            self.whole = seconds if self.whole is None else self.whole + (seconds - self.whole) * _NEW

    def speed(self, request: Request) -> float | None:
        """Seconds to the first token, or to the whole answer when `request` is not streamed; None is not known yet."""
        return self.ttft if request.stream else self.whole

    def succeeded(self, *, probe: bool) -> None:
        """An attempt ended well."""
        self.in_flight -= 1
        self.breaker.succeeded(probe=probe)
        if not self.fit:
            self._look()

    def failed(self, now: float, *, probe: bool) -> None:
        """An attempt failed."""
        self.in_flight -= 1
        self.failures += 1
        self.breaker.failed(now, probe=probe)
        self._look()

    def wasted(self, request: Request, usage: Usage, seconds: float) -> None:
        """An answer of it took so much and went to nobody: part of what the call costs."""
        price = self.target.price
        if price is not None:
            nano = price.cost(usage, seconds=seconds)
            request.notes.append(Note(wasted_nano=nano, estimated=usage.estimated))

    def rest(self, until: float) -> None:
        """Leave it alone to `until`: it said that we ask too often."""
        self.rests_until = max(self.rests_until, until)
        self.fit = False

    def left(self, *, probe: bool) -> None:
        """An attempt ended without telling anything."""
        self.in_flight -= 1
        self.breaker.left(probe=probe)

    def _look(self) -> None:
        self.fit = self.breaker.state == "closed" and not self.breaker.demoted and not self.rests_until

    def shown(self, now: float) -> dict[str, Any]:
        """As JSON."""
        state: str = self.breaker.state
        if state == "closed" and now < self.rests_until:
            state = "resting"
        elif state == "closed" and self.breaker.demoted:
            state = "demoted"
        queue = self.queue
        return {
            "provider": self.target.provider,
            "model": self.target.model,
            "region": self.region,
            "weight": self.weight,
            "state": "healthy" if state == "closed" else state,
            "ready_in_s": round(max(self.ready_at(now) - now, 0.0), 3),
            "failure_share": round(self.breaker.share, 3),
            "attempts": self.attempts,
            "failures": self.failures,
            "in_flight": self.in_flight,
            "concurrency": None if queue is None else queue.limit,
            "queued": 0 if queue is None else queue.waiting,
            "ttft_ms": None if self.ttft is None else round(self.ttft * 1000, 1),
            "whole_ms": None if self.whole is None else round(self.whole * 1000, 1),
        }
