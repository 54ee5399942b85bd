"""What an hour is expected to hold, from the hours before: robust, seasonal, with an interval. Knows no database.

In logarithms, so that noise is a share (of the amount and a tenth of the usual one, so that an hour of nothing is far
but not infinitely far: Tukey's started logarithm): the median of the same hour of the week where there are three of them, else of
the same hour of the day, else of the last day; moved by how the last day differed from its own expectation. The width
comes from how far hours lay from theirs (median absolute deviation), as a normal distribution whose tails are stretched
by as much as the furthest fiftieth of those hours lay beyond a normal one's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, median
from typing import Final, Literal

DAY: Final = 24
WEEK: Final = 168
_SEASONS: Final = 5
"""Weeks back that are looked at, and days back of the daily one."""
_FEWEST: Final = 3
_START: Final = 0.1
_RECENT: Final = 24
_FEWEST_RECENT: Final = 24
_FEWEST_ACTIVE: Final = 12
"""Hours that held anything: a house in which next to nothing has happened yet expects nothing."""
_POOL: Final = 336
"""Hours whose distance from what was expected tells the width."""
_FEWEST_TAIL: Final = 50
_NORMAL: Final = NormalDist()
_NARROWEST: Final = 0.05
"""Of the width, as a share: nothing is more regular than that."""

Basis = Literal["week", "day", "recent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What is expected of one hour."""

    middle: float
    low: float
    high: float
    basis: Basis
    hours: int
    """Of the same kind that it is made of."""


def forecast(history: Mapping[int, float], at: int, *, confidence: float) -> Forecast | None:
    """What is expected at hour number `at`; None when too little is known.

    Args:
        history: amounts (not negative) by number of the hour; what is absent within its range is zero.
        at: the hour; what `history` holds of it and of later ones is not looked at.
        confidence: share of hours that are to lie within the interval.
    """
    before = [hour for hour in history if hour < at]
    if not before:
        return None
    first = min(before)
    amounts = [history.get(hour, 0.0) for hour in range(first, at)]
    if sum(each > 0 for each in amounts) < _FEWEST_ACTIVE:
        return None
    start = _START * median([each for each in amounts if each > 0] or [1.0])
    level = [math.log(each + start) for each in amounts]
    centre = _centre(level, at - first)
    if centre is None:
        return None
    middle, basis, hours = centre
    residuals = _residuals(level, basis)
    shift = median(residuals[-_RECENT:]) if basis != "recent" and len(residuals) >= _FEWEST_RECENT else 0.0
    away = sorted(abs(each - shift) for each in residuals)
    spread = max(1.4826 * median(away) if away else 0.0, _NARROWEST)
    # A median of n values is off by about sqrt(pi / 2n) of one value's spread; that of the residuals is in them.
    if len(away) < _FEWEST_TAIL:
        spread *= math.sqrt(1.0 + math.pi / (2 * hours))
    width = spread * _stretch(away, spread) * _NORMAL.inv_cdf((1.0 + confidence) / 2)
    middle += shift
    return Forecast(
        middle=max(math.exp(middle) - start, 0.0),
        low=max(math.exp(middle - width) - start, 0.0),
        high=math.exp(min(middle + width, 100.0)) - start,
        basis=basis,
        hours=hours,
    )


def _centre(level: Sequence[float], at: int) -> tuple[float, Basis, int] | None:
    """The median of what is like hour `at`, counted from the first of `level`, what it is made of, and of how many."""
    seasons: tuple[tuple[Basis, int], ...] = (("week", WEEK), ("day", DAY))
    for basis, period in seasons:
        same = [level[hour] for back in range(1, _SEASONS + 1) if (hour := at - back * period) >= 0]
        if len(same) >= _FEWEST:
            return median(same), basis, len(same)
    recent = level[max(at - _RECENT, 0) : at]
    return (median(recent), "recent", len(recent)) if len(recent) >= _FEWEST_RECENT else None


def _stretch(away: Sequence[float], spread: float) -> float:
    """How much heavier the tails are than a normal distribution's; half as heavy again where too little is known."""
    if len(away) < _FEWEST_TAIL:
        return 1.5
    return max(away[int(0.98 * (len(away) - 1))] / (spread * _NORMAL.inv_cdf(0.99)), 1.0)


def _residuals(level: Sequence[float], basis: Basis) -> list[float]:
    """How far each of the last hours lay from what its own past led to expect: where it could, on the same basis."""
    alike: list[float] = []
    others: list[float] = []
    for at in range(max(len(level) - _POOL, 0), len(level)):
        centre = _centre(level, at)
        if centre is not None:
            (alike if centre[1] == basis else others).append(level[at] - centre[0])
    return alike if len(alike) >= _FEWEST_TAIL else [*others, *alike]
