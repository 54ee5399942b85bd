"""Estimates and how sure they are: means, shares, and any statistic by the bootstrap. Knows no evaluator and no table.

Missing findings are left out before they come here: a value that is no finite number is refused, never carried along.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loopwright.core.errors import BadRequest
from loopwright.kit.postponed import Postponed

special: Final = Postponed("scipy.special")
Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Method = Literal["bca", "percentile"]

LEVEL: Final = 0.95
"""Confidence of an interval unless said otherwise."""
RESAMPLES: Final = 2000
"""Of a bootstrap or permutation unless said otherwise."""
_BLOCK: Final = 4_000_000
"""Numbers drawn at a time: 32 MB."""
_FOLDS: Final = 400
"""Of the jackknife at most: the acceleration needs no more, and costly statistics are asked so often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure with its confidence interval, and the p-value of the test it came from."""

    estimate: float
    low: float
    high: float
    n: int
    """How many observations it rests on."""
    p: float | None = None
    """Two-sided; None where nothing was tested."""
    level: float = LEVEL
    method: str = ""

    @property
    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "estimate": self.estimate,
            "low": self.low,
            "high": self.high,
            "n": self.n,
            "p": self.p,
            "level": self.level,
            "method": self.method,
        }


def finite(values: ArrayLike, name: str = "values", *, least: int = 1) -> Floats:
    """The values as a vector of floats.

    Raises:
        BadRequest: there are fewer than `least`, or one is no finite number.
    """
    found = np.asarray(values, dtype=np.float64).ravel()
    if found.size < least:
        raise BadRequest(f"{name}: {found.size} values, at least {least} are needed", param=name)
    if not np.isfinite(found).all():
        raise BadRequest(f"{name}: a value is no finite number; leave out what is missing", param=name)
    return found


def normal(level: float) -> float:
    """The two-sided quantile of the normal distribution: 1.96 for 0.95.

    Raises:
        BadRequest: `level` is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise BadRequest(f"level: {level} is not between 0 and 1", param="level")
    return float(special.ndtri((1 + level) / 2))


def mean_interval(values: ArrayLike, *, level: float = LEVEL) -> Estimate:
    """The mean with Student's interval, x̄ ± t(n-1)·s/√n (Student 1908).

    One value alone, or values that do not vary, have an interval without width: `n` says what it is worth.

    Raises:
        BadRequest: no values.
    """
    found = finite(values)
    mean = float(found.mean())
    half = 0.0
    normal(level)  # checks it
    if found.size > 1:
        quantile = float(special.stdtrit(found.size - 1, (1 + level) / 2))
        half = quantile * float(found.std(ddof=1)) / math.sqrt(found.size)
    return Estimate(estimate=mean, low=mean - half, high=mean + half, n=found.size, level=level, method="student")


def wilson(successes: float, n: int, *, level: float = LEVEL) -> Estimate:
    """A share with Wilson's score interval (E. B. Wilson 1927, JASA 22:209-212); right also at 0 and at n.

    Raises:
        BadRequest: `n` is not positive, or there are more successes than trials.
    """
    if n < 1 or not 0 <= successes <= n:
        raise BadRequest(f"{successes} of {n}: no share", param="n")
    z, share = normal(level), successes / n
    spread = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / spread
    half = z / spread * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Estimate(estimate=share, low=low, high=high, n=n, level=level, method="wilson")


def bootstrap_interval(
    values: ArrayLike,
    statistic: Callable[[Floats], float] | None = None,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    method: Method = "bca",
    seed: int = 0,
) -> Estimate:
    """A statistic of values (None: the mean) with its bootstrap interval; see `resampled_interval`."""
    found = finite(values)
    if statistic is None:
        drawn = resampled_means(found, resamples=resamples, seed=seed)
        folds = _jackknife_means(found) if method == "bca" else np.empty(0)
        return _interval(float(found.mean()), drawn, folds, found.size, level=level, method=method)
    return resampled_interval(
        found.size,
        lambda chosen: statistic(found[chosen]),
        level=level,
        resamples=resamples,
        method=method,
        seed=seed,
    )


def resampled_interval(
    n: int,
    statistic: Callable[[Indices], float],
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    method: Method = "bca",
    seed: int = 0,
) -> Estimate:
    """A statistic of any `n` things, given as the indices of those drawn, with its bootstrap interval.

    `percentile` takes the quantiles of the resampled statistic (Efron 1979, Ann. Statist. 7:1-26); `bca` corrects them
    for bias and skewness (Efron 1987, JASA 82:171-185), with the jackknife over at most 400 groups for its acceleration.
    Resamples on which the statistic is not finite are left out.

    Raises:
        BadRequest: `n` is not positive, or the statistic of all is not finite.
    """
    if n < 1:
        raise BadRequest("values: none, at least 1 is needed", param="values")
    everything = np.arange(n)
    estimate = float(statistic(everything))
    if not math.isfinite(estimate):
        raise BadRequest("statistic: not finite on the values themselves", param="statistic")
    random = np.random.default_rng(seed)
    drawn = np.array([statistic(random.integers(0, n, n)) for _ in range(resamples)], dtype=np.float64)
    folds = np.empty(0)
    if method == "bca" and n > 1:
        groups = np.array_split(everything, min(n, _FOLDS))
        folds = np.array([statistic(np.delete(everything, group)) for group in groups], dtype=np.float64)
    return _interval(estimate, drawn[np.isfinite(drawn)], folds[np.isfinite(folds)], n, level=level, method=method)


def resampled_means(values: Floats, *, resamples: int, seed: int) -> Floats:
    """Means of `resamples` bootstrap samples, drawn in blocks of bounded memory."""
    random = np.random.default_rng(seed)
    means = np.empty(resamples, dtype=np.float64)
    step = max(1, _BLOCK // values.size)
    for begin in range(0, resamples, step):
        count = min(step, resamples - begin)
        means[begin : begin + count] = values[random.integers(0, values.size, (count, values.size))].mean(axis=1)
    return means


def _jackknife_means(values: Floats) -> Floats:
    n = values.size
    return np.empty(0) if n < 2 else (values.sum() - values) / (n - 1)


def _interval(estimate: float, drawn: Floats, folds: Floats, n: int, *, level: float, method: Method) -> Estimate:
    normal(level)  # checks it
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    if drawn.size == 0:
        raise BadRequest("statistic: finite on no resample", param="statistic")
    used: str = method
    if method == "bca":
        corrected = _bca_tails(estimate, drawn, folds, tails)
        if corrected is None:
            used = "percentile"  # nothing varies, or all resamples lie on one side: there is nothing to correct by
        else:
            tails = corrected
    low, high = (float(each) for each in np.quantile(drawn, tails))
    return Estimate(estimate=estimate, low=low, high=high, n=n, level=level, method=f"bootstrap {used}")


def _bca_tails(estimate: float, drawn: Floats, folds: Floats, tails: Floats) -> Floats | None:
    """Efron 1987, formulas 2.3 and 6.6; a tie counts half, as in scipy."""
    below = float(((drawn < estimate).sum() + (drawn <= estimate).sum()) / (2 * drawn.size))
    apart = folds.mean() - folds if folds.size else folds
    spread = float((apart**2).sum())
    if not 0 < below < 1 or spread == 0:
        return None
    bias = float(special.ndtri(below))
    acceleration = float((apart**3).sum()) / (6 * spread**1.5)
    z = bias + special.ndtri(tails)
    return np.asarray(special.ndtr(bias + z / (1 - acceleration * z)), dtype=np.float64)
