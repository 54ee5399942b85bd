"""Objectives: how fast the bad calls they allow are used up, and when that is worth telling somebody. Counts nothing.

Burn rates over pairs of windows are Google's (The Site Reliability Workbook, 2018, chapter 5, "Alerting on SLOs",
table 5-8): 2 % of a period's budget in an hour, 5 % in six hours, 10 % in three days, each confirmed by a window a
twelfth as long. Its advice on services with little traffic is taken by asking for a number of bad calls and for a
confidence interval that lies beyond the bound. A burst is told long before an hour's window fills up, by a sequential
test of the latest calls (Page, Continuous inspection schemes, Biometrika 41, 1954).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from loopwright.kit.settings_alerts import ObjectiveSettings
from loopwright.monitoring.alerts import Severity

FINE: Final = 300
"""Seconds of the steps that calls are counted in."""
_Z: Final = 1.645
"""One-sided 95 %."""
_NEVER: Final = 13.8
"""Evidence that ends a sequential test: by chance once in e^13.8, a million, calls (Lorden, 1971)."""
_MOST: Final = _NEVER * 1.5
"""Evidence is held up to here, so that a run of good calls soon takes it away."""
_LEAST_RATE: Final = 0.005
_WORST_RATE: Final = 0.4

Tier = Literal["burst", "hour", "six hours", "three days"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A pair of windows over which a budget must not be burnt too fast."""

    name: Tier
    long_s: int
    short_s: int
    share: float
    """Of the period's budget, that may be used in the long one."""
    severity: Severity


WINDOWS: Final = (
    Window(name="hour", long_s=3_600, short_s=300, share=0.02, severity="critical"),
    Window(name="six hours", long_s=21_600, short_s=1_800, share=0.05, severity="critical"),
    Window(name="three days", long_s=259_200, short_s=21_600, share=0.10, severity="warning"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Calls of some time that an objective speaks of."""

    total: int = 0
    bad: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(total=self.total + other.total, bad=self.bad + other.bad)

    @property
    def share(self) -> float:
        """Of bad ones; 0 of none."""
        return self.bad / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Burning:
    """What one pair of windows says."""

    window: Window
    long: Tally
    short: Tally
    long_rate: float
    """How many times as fast as the objective allows bad calls came, over the long window."""
    short_rate: float
    bound: float
    """The rate from which it is too fast."""
    fires: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """Calls that have just begun to be bad."""

    fires: bool
    evidence: float
    """Log likelihood ratio of "at least half are bad" against "as before"; 13.8 is enough."""
    calls: int
    """Since the first bad one of the burst."""
    bad: int
    since: datetime | None
    """When that one began."""


def burning(objective: ObjectiveSettings, window: Window, long: Tally, short: Tally) -> Burning:
    """Whether the budget of `objective` burns too fast over a pair of windows."""
    budget = 1.0 - objective.goal
    bound = bound_of(objective, window)
    far = wilson_low(long.bad, long.total) >= bound * budget and short.share >= bound * budget
    return Burning(
        window=window,
        long=long,
        short=short,
        long_rate=long.share / budget,
        short_rate=short.share / budget,
        bound=bound,
        fires=far and long.bad >= objective.minimum and short.bad > 0,
    )


def bound_of(objective: ObjectiveSettings, window: Window) -> float:
    """The burn rate that uses the window's share of the budget; never more than half way from the budget to all calls.

    At a goal of 90 % the workbook's 14.4 would be 144 % of the calls.
    """
    budget = 1.0 - objective.goal
    return min(window.share * objective.days * 86_400 / window.long_s, (1.0 + budget) / 2 / budget)


def burst(calls: Sequence[tuple[datetime, bool]], *, usual: float, goal: float, minimum: int) -> Burst:
    """Whether calls have begun to be bad, told by their order rather than by how many fit a window.

    Page's cumulative sum of log likelihood ratios between "at least half are bad" and "as before". At a goal of 99 %
    four bad calls in a row are enough evidence, of which `minimum` makes five; one of two, or three of six, never is.

    Args:
        calls: (when it began, whether it is bad), in the order in which they ended.
        usual: share of bad calls before.
        goal: of the objective.
        minimum: bad calls there must be.
    """
    before = min(max(usual, 1.0 - goal, _LEAST_RATE), _WORST_RATE)
    after = max(0.5, (1.0 + before) / 2)
    up, down = math.log(after / before), math.log((1.0 - after) / (1.0 - before))
    evidence, seen, bad = 0.0, 0, 0
    since: datetime | None = None
    for began, is_bad in calls:
        if evidence <= 0.0 and not is_bad:
            continue
        if evidence <= 0.0:
            seen, bad, since = 0, 0, began
        evidence = min(max(evidence + (up if is_bad else down), 0.0), _MOST)
        seen, bad = seen + 1, bad + is_bad
    if evidence <= 0.0:
        return Burst(fires=False, evidence=0.0, calls=0, bad=0, since=None)
    return Burst(fires=evidence >= _NEVER and bad >= minimum, evidence=evidence, calls=seen, bad=bad, since=since)


def wilson_low(bad: int, total: int, z: float = _Z) -> float:
    """The lower end of Wilson's interval of a share (one-sided 95 % by default); 0 of none."""
    if not total:
        return 0.0
    share, square = bad / total, z * z / total
    half = z * math.sqrt(share * (1.0 - share) / total + square / (4 * total))
    return max((share + square / 2 - half) / (1.0 + square), 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What is left of an objective's period."""

    tally: Tally
    goal: float

    @property
    def attained(self) -> float | None:
        """Share of good calls; None of no calls."""
        return 1.0 - self.tally.share if self.tally.total else None

    @property
    def allowed(self) -> float:
        """Bad calls that the calls so far allow."""
        return self.tally.total * (1.0 - self.goal)

    @property
    def left(self) -> float | None:
        """Share of them not used; under zero when there were more. None of no calls."""
        return 1.0 - self.tally.bad / self.allowed if self.tally.total else None
