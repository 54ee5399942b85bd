"""What is asked of the calls on record, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from loopwright.core.call import Call, Outcome
from loopwright.core.errors import BadRequest

WITHOUT: Final = (
    "model", "task", "variant", "prompt_version", "target", "provider", "client", "session", "error_code",
)  # fmt: skip
MOST_TAGS: Final = 16
"""Of a filter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFilter:
    """Which calls; None asks for nothing. Everything given must hold."""

    project_id: int | None = None
    """None is every project: for administrators only."""
    since: datetime | None = None
    """Aware; calls that started then or later."""
    until: datetime | None = None
    """Aware; calls that started before."""
    model: str | None = None
    """The name that was asked for."""
    key_id: int | None = None
    outcome: Outcome | None = None
    failed: bool = False
    """Whatever went wrong: errors and interruptions."""
    error_code: str | None = None
    task: str | None = None
    variant: str | None = None
    prompt_version: str | None = None
    target: str | None = None
    """The name of the model as its provider knows it."""
    provider: str | None = None
    operation: str | None = None
    client: str | None = None
    """The program that asked, as it names itself."""
    without: tuple[str, ...] = ()
    """What a call must not have: any of `WITHOUT`, or `tag:NAME`."""
    session: str | None = None
    trace: str | None = None
    """32 hexadecimal digits: the calls of one trace."""
    tags: tuple[tuple[str, str], ...] = ()
    """Names and values, all of which a call must have."""
    min_cost_nano: int | None = None
    """Unpriced calls never match."""
    min_latency_ms: float | None = None
    sent_to: str | None = None
    """A region or a provider that bytes of the call left for."""
    sent_outside: tuple[str, ...] = ()
    """Regions (`own` for what is ours) of which it cannot be shown that all bytes stayed within them."""
    text: str | None = None
    """Words of the prompt or the answer, all of which must occur; `"a phrase"` in quotes as it stands."""

    def __post_init__(self) -> None:
        """See that `without` and `tags` can be asked."""
        if len(self.tags) > MOST_TAGS:
            raise BadRequest(f"ask for at most {MOST_TAGS} tags at once, not {len(self.tags)}", param="tag")
        for name in self.without:
            if name not in WITHOUT and not (name.startswith("tag:") and len(name) > len("tag:")):
                raise BadRequest(
                    f"calls cannot be asked for without {name[:80]!r}: use {', '.join(WITHOUT)} or tag:NAME",
                    param="without",
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPage:
    """Some calls, newest first."""

    calls: tuple[Call, ...]
    next: str | None
    """Pass it as `before` for what is older; None when there is nothing. A search through very much text may stop
    after two seconds with fewer calls than asked for (even none) and a `next`: go on from there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Percentiles in microseconds, at most 1.1 % off; None when nothing was measured."""

    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Totals of some calls."""

    requests: int = 0
    errors: int = 0
    """Of ours and upstream; what was refused is not among them."""
    refused: int = 0
    cancelled: int = 0
    interrupted: int = 0
    unpriced: int = 0
    """Calls without a known price: `cost_nano` knows nothing of them."""
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost_nano: int = 0
    cache_hits: int = 0
    """Answers given again."""
    cache_nano: int = 0
    """Nanodollars that those had cost."""
    cascade_nano: int = 0
    """Nanodollars that cheap models of cascades saved."""
    wasted_nano: int = 0
    """Nanodollars of answers nobody got."""

    @property
    def error_rate(self) -> float:
        """Errors and interruptions, as a share of all requests; 0 when there are none."""
        return (self.errors + self.interrupted) / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Totals over a time, from the roll-ups."""

    since: datetime
    until: datetime
    counts: Counts
    latency: Spread
    ttft: Spread
    """Time to the first piece of the answer."""
    tpot: Spread
    """Time per output token after the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One step of a series."""

    at: datetime
    """Where the step begins."""
    counts: Counts
    latency: Spread
    ttft: Spread
    tpot: Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Totals over time, oldest first, without gaps."""

    step_seconds: int
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Totals of the calls that share one value of a dimension."""

    name: str | int | None
    """The value (a key's id for `key`); None for calls without one."""
    counts: Counts
    latency: Spread
    ttft: Spread
    tpot: Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Totals, over time and by one dimension: three views of the same calls."""

    summary: Summary
    series: Series
    groups: tuple[Group, ...]
    """Most requests first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    """One hour of a target."""

    at: datetime
    """When it begins."""
    requests: int
    errors: int
    """Interruptions among them."""
    speed: Spread
    """Of the group's `measure`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetGroup:
    """Totals of the calls of one name that one target answered, and over time."""

    model: str
    """The name the calls are counted under."""
    provider: str
    """Who answered; empty for calls that nobody did."""
    target: str
    """The name the provider knows."""
    counts: Counts
    latency: Spread
    ttft: Spread
    tpot: Spread
    measure: Literal["ttft", "latency"]
    """What says how fast it is: the first token, or the whole answer where nothing was streamed."""
    hours: tuple[Hour, ...]
    """Oldest first, without gaps."""
