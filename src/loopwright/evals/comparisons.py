"""Two variants over the same examples: paired tests with the difference and its interval. Knows no evaluator."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike

from loopwright.core.errors import BadRequest
from loopwright.evals.intervals import (
    LEVEL,
    RESAMPLES,
    Estimate,
    Floats,
    Method,
    bootstrap_interval,
    finite,
    mean_interval,
    normal,
    resampled_means,
)
from loopwright.kit.postponed import Postponed

special: Final = Postponed("scipy.special")
_EXACT: Final = 14
"""Differences that are not zero up to which a permutation test goes through all signs: 16,384."""
_STEPS: Final = 60
_BLOCK: Final = 4_000_000


def paired(candidate: ArrayLike, baseline: ArrayLike) -> Floats:
    """Candidate minus baseline, example by example.

    Raises:
        BadRequest: they are not equally many, none, or not finite.
    """
    first, second = finite(candidate, "candidate"), finite(baseline, "baseline")
    if first.size != second.size:
        raise BadRequest(f"candidate has {first.size} values, baseline {second.size}: pair them", param="baseline")
    return first - second


def paired_bootstrap(
    candidate: ArrayLike,
    baseline: ArrayLike,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    method: Method = "bca",
    seed: int = 0,
) -> Estimate:
    """The mean difference with its bootstrap interval, examples resampled as pairs (Efron and Tibshirani 1993, ch. 14).

    `p` is their achieved significance level (ch. 16.4): how often a resample of the differences, moved so that their
    mean is zero, lies as far from zero as what was seen.
    """
    differences = paired(candidate, baseline)
    found = bootstrap_interval(differences, level=level, resamples=resamples, method=method, seed=seed)
    drawn = resampled_means(differences - differences.mean(), resamples=resamples, seed=seed + 1)
    beyond = int((np.abs(drawn) >= abs(found.estimate) * (1 - 1e-12)).sum())
    return Estimate(
        estimate=found.estimate,
        low=found.low,
        high=found.high,
        n=found.n,
        p=(beyond + 1) / (resamples + 1),
        level=level,
        method=f"paired {found.method}",
    )


def permutation_test(
    candidate: ArrayLike,
    baseline: ArrayLike,
    *,
    level: float = LEVEL,
    resamples: int = 10_000,
    seed: int = 0,
) -> Estimate:
    """The mean difference, tested by swapping candidate and baseline within examples (Fisher 1935, section 21).

    Up to 14 differences that are not zero all swaps are counted; beyond, `resamples` are drawn and
    p = (b + 1) / (m + 1), which is never zero (Phipson and Smyth 2010, SAGMB 9:39). The interval is Student's.
    """
    differences = paired(candidate, baseline)
    interval = mean_interval(differences, level=level)
    apart = differences[differences != 0]
    seen = abs(float(apart.sum())) * (1 - 1e-12)
    if apart.size <= _EXACT:
        bits = np.arange(2**apart.size)[:, None] >> np.arange(apart.size)[None, :]
        p = float((np.abs((1 - 2 * (bits & 1)) @ apart) >= seen).mean())
        method = "permutation exact"
    else:
        p = (_swapped(apart, seen, resamples, seed) + 1) / (resamples + 1)
        method = "permutation"
    return Estimate(
        estimate=interval.estimate, low=interval.low, high=interval.high, n=interval.n, p=p, level=level, method=method
    )


def _swapped(apart: Floats, seen: float, resamples: int, seed: int) -> int:
    """How many of the drawn swaps lie as far out as what was seen."""
    random, beyond, step = np.random.default_rng(seed), 0, max(1, _BLOCK // apart.size)
    for begin in range(0, resamples, step):
        signs = random.integers(0, 2, (min(step, resamples - begin), apart.size), dtype=np.int8) * 2 - 1
        beyond += int((np.abs(signs @ apart) >= seen).sum())
    return beyond


def mcnemar(
    candidate: ArrayLike,
    baseline: ArrayLike,
    *,
    method: Literal["exact", "mid-p"] = "mid-p",
    level: float = LEVEL,
) -> Estimate:
    """Two variants that are right or wrong on the same examples: the difference of their shares, and McNemar's test.

    `exact` is the binomial test of the examples on which they differ (McNemar 1947); `mid-p` takes half the weight of
    what was seen, is nearly never above its level and has more power (Fagerland, Lydersen and Laake 2013, BMC Med. Res.
    Methodol. 13:91). The interval is Tango's, see `tango`.
    """
    gained, lost, n = discordant(candidate, baseline)
    interval = tango(gained, lost, n, level=level)
    apart, least = gained + lost, min(gained, lost)
    p = 1.0
    if apart:
        p = min(1.0, 2 * float(special.bdtr(least, apart, 0.5)))
        if method == "mid-p":
            weight = math.exp(
                special.gammaln(apart + 1)
                - special.gammaln(least + 1)
                - special.gammaln(apart - least + 1)
                - apart * math.log(2)
            )
            p = 1.0 - weight if gained == lost else 2 * float(special.bdtr(least, apart, 0.5)) - weight
    return Estimate(
        estimate=interval.estimate,
        low=interval.low,
        high=interval.high,
        n=n,
        p=min(1.0, max(0.0, p)),
        level=level,
        method=f"mcnemar {method}",
    )


def discordant(candidate: ArrayLike, baseline: ArrayLike) -> tuple[int, int, int]:
    """(right only in candidate, right only in baseline, all) of values that are 0 or 1.

    Raises:
        BadRequest: a value is neither, or they do not pair.
    """
    differences = paired(candidate, baseline)
    if (
        not np.isin(np.asarray(candidate, dtype=np.float64), (0.0, 1.0)).all()
        or not np.isin(differences, (-1.0, 0.0, 1.0)).all()
    ):
        raise BadRequest("candidate, baseline: only 0 and 1 are right or wrong", param="candidate")
    return int((differences == 1).sum()), int((differences == -1).sum()), differences.size


def tango(gained: int, lost: int, n: int, *, level: float = LEVEL, against: float = 0.0) -> Estimate:
    """The difference of two paired shares with Tango's score interval (Tango 1998, Stat. Med. 17:891-908).

    It holds its level also where the two nearly never differ, as variants of one prompt do. `p` is the score test of
    a difference of `against`; at 0 that is McNemar's without correction.
    """
    z = normal(level)
    seen = (gained - lost) / n
    low = _root(lambda delta: _score(gained, lost, n, delta) - z, -1.0, seen) if seen > -1 else -1.0
    high = _root(lambda delta: _score(gained, lost, n, delta) + z, seen, 1.0) if seen < 1 else 1.0
    p = 2 * (1 - float(special.ndtr(abs(_score(gained, lost, n, against)))))
    return Estimate(estimate=seen, low=low, high=high, n=n, p=p, level=level, method="tango")


def _score(gained: int, lost: int, n: int, delta: float) -> float:
    """Tango's statistic, falling in `delta`: the share lost is its maximum likelihood under that difference."""
    first = 2 * n
    second = -gained - lost + (2 * n - gained + lost) * delta
    third = -lost * delta * (1 - delta)
    share = (math.sqrt(max(second * second - 4 * first * third, 0.0)) - second) / (2 * first)
    variance = n * (2 * share + delta * (1 - delta))
    above = gained - lost - n * delta
    if variance <= 1e-12 * n:
        return 0.0 if abs(above) < 1e-9 * n else math.copysign(math.inf, above)
    return above / math.sqrt(variance)


def _root(falling: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function is zero, by halving."""
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if falling(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of one family, adjusted so that all together err with the level of one (Holm 1979, Scand. J. Stat. 6:65).

    Raises:
        BadRequest: one is not between 0 and 1.
    """
    if any(not 0 <= p <= 1 for p in p_values):
        raise BadRequest("p_values: each is between 0 and 1", param="p_values")
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted
