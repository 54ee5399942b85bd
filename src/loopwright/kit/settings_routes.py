"""What is set of a route: when it asks again, leaves a target alone, has requests wait, asks twice or asks further."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from loopwright.kit.settings_marks import Between, Positive, Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySettings:
    """Further attempts, at another target when there is one; never after a byte was sent to the client."""

    attempts: Annotated[int, Between(low=1, high=20)] = 6
    """Attempts a request, the first included."""
    when: tuple[Literal["credentials", "limited", "failed", "timeout"], ...] = (
        "credentials",
        "limited",
        "failed",
        "timeout",
    )
    """After which failures: 401/402/403, 429, 5xx or a broken answer, no answer in time. Never after 400, 404, 422."""
    base: Seconds = 0.05
    """Longest pause before the second attempt; doubles with each, and chance shortens it."""
    longest: Seconds = 2.0
    """Longest pause before any attempt."""
    budget: Annotated[float, Between(low=0, high=10)] = 0.2
    """Further attempts there may be for each request, on average, beside a floor of ten and one every two seconds."""
    timeout: Seconds | None = None
    """Until the first token (of a whole answer, its end); then another attempt is made. Not set: as the provider's."""
    wait: Seconds = 5.0
    """How long a request waits in all for a target that may be asked, when all are resting or open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings:
    """When a target is left alone for a while, and then tried by one request at a time."""

    window: Annotated[int, Between(low=10, high=1_000)] = 20
    """The last attempts that are judged."""
    failures: Annotated[float, Between(low=0.01, high=1)] = 0.7
    """Share of failures among them that opens it."""
    in_a_row: Positive = 6
    """Failures in a row that open it."""
    demote: Annotated[float, Between(low=0.01, high=1)] = 0.2
    """Share of failures from which other targets are asked first; one request in twenty still finds out."""
    pause: Seconds = 1.0
    """First pause; doubles each time the probe after it fails."""
    longest_pause: Seconds = 30.0
    """Longest pause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """Who waits when `concurrency` is reached, in turn by key; more than fit get 429 with `Retry-After`."""

    size: Annotated[int, Between(low=0, high=100_000)] = 100
    """Requests that may wait for each target."""
    timeout: Seconds = 30.0
    """How long one may wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgeSettings:
    """A second attempt when the first is slow to begin: the first token wins, the loser is cancelled."""

    after: Seconds | None = None
    """When; not set: after the 95th percentile of the times to first token seen, once there are twenty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeSettings:
    """The first target answers; unless its answer will do, the others are asked. Chat only."""

    schema: bool = True
    """Go on when the answer or a tool call is not what the JSON schema of the request says."""
    min_logprob: Annotated[float, Between(low=-100, high=0)] | None = None
    """Go on when the mean log probability of the answer's tokens is lower, e.g. -0.5, or not known."""
    evaluator: str | None = None
    """A plug-in of group `loopwright.evaluators` that says whether an answer will do."""
