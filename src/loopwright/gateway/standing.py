"""A target of a route with what is known of it now: health, speed, how busy it is. Each worker learns for itself."""

from __future__ import annotations

import time
from typing import Any, Final

from loopwright.core.chat import Request
from loopwright.core.money import Usage
from loopwright.core.notes import Note
from loopwright.gateway.breaker import Breaker
from loopwright.gateway.fair_queue import FairQueue
from loopwright.gateway.rate_limit import RateLimit
from loopwright.gateway.routed import Target

_NEW: Final = 0.2
"""Weight of the newest time in the mean."""


class Standing:
    """Told of every attempt."""

    __slots__ = (
        "attempts", "breaker", "failures", "fit", "in_flight", "label", "limit", "queue", "region", "target",
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
        """Nothing speaks against asking it first: closed, not demoted, its rate not in doubt."""
        self.in_flight = 0
        self.attempts = 0
        self.failures = 0
        self.limit = RateLimit()
        self.ttft: float | None = None
        """Seconds to the first token of streams, an exponentially weighted mean."""
        self.whole: float | None = None
        """Seconds a non-streamed answer takes, an exponentially weighted mean."""

    def ready(self, now: float) -> bool:
        """Whether it may be asked now."""
        return self.limit.ready(now) and self.breaker.ready(now)

    def ready_at(self, now: float) -> float:
        """When it may be asked, as far as one can tell."""
        known = max(self.limit.until, self.breaker.until if self.breaker.state != "closed" else 0.0)
        return max(known, now)

    @property
    def shunned(self) -> bool:
        """Others should be asked first: it fails often, or an attempt is finding out whether it limits our rate."""
        return self.breaker.demoted or self.limit.trying

    def began(self) -> bool:
        """An attempt is made; whether it is a probe."""
        self.in_flight += 1
        self.attempts += 1
        if self.fit:
            return False
        self.limit.began()
        self._look()
        return self.breaker.began()

    def spoke(self, request: Request, began: float, now: float) -> None:
        """The first token has come now, or the whole answer of a request that is not streamed."""
        self.limit.answered(began)
        seconds = now - began
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

    def declined(self, began: float, *, probe: bool) -> None:
        """An attempt was answered with what is the request's own fault."""
        self.limit.answered(began)
        self.succeeded(probe=probe)

    def failed(self, began: float, now: float, *, probe: bool) -> None:
        """An attempt failed."""
        self.limit.ended(began)
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

    def refused(self, began: float, wait: float) -> None:
        """It said that we ask too often, and to come back in `wait` seconds."""
        self.limit.refused(began, time.monotonic(), wait)
        self._look()

    def left(self, began: float, *, probe: bool) -> None:
        """An attempt ended without telling anything."""
        self.limit.ended(began)
        self.in_flight -= 1
        self.breaker.left(probe=probe)

    def _look(self) -> None:
        self.fit = self.breaker.state == "closed" and not self.breaker.demoted and self.limit.doubt == "none"

    def shown(self, now: float) -> dict[str, Any]:
        """As JSON."""
        state: str = self.breaker.state
        if state == "closed" and self.limit.doubt != "none":
            state = "resting" if self.limit.doubt == "real" else "doubtful"
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
