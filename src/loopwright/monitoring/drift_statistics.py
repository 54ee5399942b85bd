"""Whether calls of now come from where calls of then came: tests by betting, by permutation and by counts.

Every p-value here is small by chance only as often as it says. Those of `Bet` hold however often they are looked at;
the others are of one look, and `spent` makes them hold over the looks of a window.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loopwright.kit.postponed import Postponed

stats: Final = Postponed("scipy.stats")
Vectors = NDArray[np.float32]
Floats = NDArray[np.float64]

LOOKS: Final = (0.1, 0.2, 0.4, 0.7, 1.0)
"""Parts of a window after which the tests of one look are made."""
_SHARES: Final = (0.02, 0.05, 0.1, 0.2, 0.4)
"""Shares of strangers that are bet on."""
_TAILS: Final = (0.002, 0.005, 0.01, 0.02, 0.05)
"""How strange strangers are: the part of known calls that is as strange."""
_NEAREST: Final = 2
"""Neighbours whose mean distance makes a call strange: one alone may be a chance twin."""
_DRAWS: Final = 9_999
_ENOUGH: Final = 10
"""Draws as extreme as what was seen after which more of them would tell nothing (Besag and Clifford 1991)."""
_FIRST: Final = 40
"""Draws made first: where nothing moved they are enough."""
_TOGETHER: Final = 250
_KERNEL: Final = 1_200
"""Vectors of each side at most that the kernel compares."""


@dataclass(frozen=True, slots=True)
class Tested:
    """One test."""

    p: float
    effect: float
    """In the unit that the test states; 0 is no difference."""


def strangeness(reference: Vectors, found: Vectors) -> Floats:
    """How far each vector of `found` is from its nearest in `reference` (unit vectors): 1 minus the mean cosine."""
    if not len(found):
        return np.empty(0)
    return _distance(found @ reference.T)


def strangeness_within(reference: Vectors) -> Floats:
    """The same of each vector of `reference` among the others, which one vector fewer makes a little larger."""
    near = reference @ reference.T
    np.fill_diagonal(near, -2.0)
    return _distance(near)


def _distance(near: Vectors) -> Floats:
    k = min(_NEAREST, near.shape[1])
    nearest = np.partition(near, near.shape[1] - k, axis=1)[:, -k:]
    return np.asarray(1.0 - nearest.mean(axis=1), dtype=np.float64)


class Bet:
    """Bets, call by call, that strangers are among them; what it holds is evidence that may be looked at any time.

    Each call's rank among all before it is uniform while nothing changed, so no way of betting wins but by chance: the
    capital passes 1/a with probability at most a, ever (Ville 1939; conformal test martingales: Vovk, Gammerman and
    Shafer 2022, chapter 8). The bet is spread over `_SHARES` and `_TAILS`, and over beginnings every `step` calls, for
    nobody knows when strangers begin to come.
    """

    def __init__(self, known: Floats, *, window: int, step: int, seed: int) -> None:
        """`known`: the strangeness of the calls of then. `seed` breaks ties, the same way each time."""
        self._ranked = sorted(known.tolist())
        self._random = np.random.default_rng(seed)
        grid = [(share, tail) for share in _SHARES for tail in _TAILS]
        self._share = np.array([share for share, _ in grid])
        self._tail = np.array([tail for _, tail in grid])
        self._begins = np.arange(0, max(window, 1), max(step, 1))
        self._held = np.zeros((self._begins.size, len(grid)))
        self._calls = 0
        self.most = 1.0
        """The most it ever held."""

    def add(self, strange: float) -> float:
        """One call more; the p-value that holds up to here."""
        low, high = bisect.bisect_left(self._ranked, strange), bisect.bisect_right(self._ranked, strange)
        n = len(self._ranked)
        rank = (n - high + self._random.random() * (high - low + 1)) / (n + 1)
        self._ranked.insert(low, strange)
        won = np.log(1 - self._share + self._share * (rank <= self._tail) / self._tail)
        self._held[self._begins <= self._calls] += won
        self._calls += 1
        self.most = max(self.most, float(np.exp(np.minimum(self._held, 600)).mean()))
        return 1 / self.most


def strangers(known: Floats, found: Floats, *, tail: float = 0.01) -> tuple[float, float]:
    """(the bound beyond which `tail` of the known lie, how many more of the found do, as a share of all found)."""
    bound = float(np.quantile(known, 1 - tail))
    return bound, float((found > bound).mean() - tail) if found.size else 0.0


def moved(reference: Vectors, found: Vectors, *, seed: int) -> Tested:
    """Maximum mean discrepancy with a Gaussian kernel of the median distance (Gretton et al. 2012), by permutation.

    The effect is the discrepancy itself: 0 for the same distribution, at most about 1.4.
    """
    random = np.random.default_rng(seed)
    one, other = _some(reference, random), _some(found, random)
    every = np.concatenate([one, other])
    apart = np.maximum(2 - 2 * (every @ every.T), 0)
    scale = float(np.median(apart[: len(one), : len(one)])) or 1.0
    kernel = np.exp(-apart / scale).astype(np.float32)
    weights = np.concatenate([np.full(len(one), 1 / len(one)), np.full(len(other), -1 / len(other))]).astype(np.float32)

    def value(drawn: Vectors) -> Floats:
        return np.asarray(np.einsum("ij,ij->j", drawn, kernel @ drawn), dtype=np.float64)

    seen = float(value(weights[:, None])[0])

    def draw(count: int) -> Floats:
        return value(np.stack([random.permutation(weights) for _ in range(count)], axis=1))

    # Unbiased: what two samples of one distribution come to on average is taken off.
    chance = (1 - float(kernel.mean())) * (1 / len(one) + 1 / len(other))
    return Tested(_drawn(seen, draw), math.sqrt(max(seen - chance, 0.0)))


def shares(reference: Sequence[int], found: Sequence[int], *, seed: int) -> Tested:
    """Whether counts of categories differ: the G statistic, by drawing; the effect is the population stability index.

    The index is commonly read as: below 0.1 the same, above 0.25 another population. Half a call is added to each count.
    """
    one, other = np.asarray(reference, dtype=np.int64), np.asarray(found, dtype=np.int64)
    n, m = int(one.sum()), int(other.sum())
    if not n or not m or one.size < 2:
        return Tested(1.0, 0.0)
    random = np.random.default_rng(seed)

    def value(drawn: NDArray[np.int64]) -> Floats:
        total = one + other
        first = drawn * _log(drawn / np.maximum(total, 1) * ((n + m) / m))
        rest = total - drawn
        second = rest * _log(rest / np.maximum(total, 1) * ((n + m) / n))
        return np.asarray((first + second).sum(axis=-1), dtype=np.float64)

    seen = float(value(other[None, :])[0])
    p = _drawn(seen, lambda count: value(random.multivariate_hypergeometric(one + other, m, size=count)))
    return Tested(p, stability(one, other))


def stability(reference: NDArray[np.int64], found: NDArray[np.int64]) -> float:
    """The population stability index of two rows of counts."""
    one = (reference + 0.5) / (reference + 0.5).sum()
    other = (found + 0.5) / (found + 0.5).sum()
    return float(((other - one) * np.log(other / one)).sum())


def shifted(reference: Sequence[float], found: Sequence[float]) -> Tested:
    """Whether numbers are larger or smaller: Mann and Whitney's test; the effect is Cliff's delta, from -1 to 1."""
    if len(reference) < 2 or len(found) < 2 or np.ptp([*reference, *found]) == 0:
        return Tested(1.0, 0.0)
    result = stats.mannwhitneyu(found, reference, alternative="two-sided")
    effect = 2 * float(result.statistic) / (len(reference) * len(found)) - 1
    return Tested(min(max(float(result.pvalue), 0.0), 1.0), effect)


def rate(reference: Sequence[bool], found: Sequence[bool]) -> Tested:
    """Whether something happens more or less often: Fisher's exact test; the effect is the difference of the shares."""
    if not reference or not found:
        return Tested(1.0, 0.0)
    a, b = sum(found), sum(reference)
    table = [[a, len(found) - a], [b, len(reference) - b]]
    p = float(stats.fisher_exact(table).pvalue)
    return Tested(min(p, 1.0), a / len(found) - b / len(reference))


def spent(p: float, looks: int = len(LOOKS)) -> float:
    """A p-value of one of several looks, so that all of them together err as one: each has an equal part of it."""
    return min(1.0, p * looks)


def clusters(vectors: Vectors, *, seed: int, most: int = 24) -> Vectors:
    """Centres of groups of like vectors: `[groups, dimensions]`, each of unit length (spherical k-means)."""
    count = int(min(most, max(2, math.isqrt(len(vectors) // 2))))
    random = np.random.default_rng(seed)
    centres = [vectors[int(random.integers(len(vectors)))]]
    for _ in range(count - 1):  # k-means++ (Arthur and Vassilvitskii 2007)
        far = np.maximum(1 - (vectors @ np.stack(centres).T).max(axis=1), 0).astype(np.float64) ** 2
        total = far.sum()
        if total <= 0:
            break
        centres.append(vectors[int(random.choice(len(vectors), p=far / total))])
    found = np.stack(centres)
    for _ in range(25):
        own = nearest(found, vectors)
        moved_to = np.stack([_centre(vectors[own == at], found[at]) for at in range(len(found))])
        if np.allclose(moved_to, found, atol=1e-5):
            break
        found = moved_to
    return found.astype(np.float32)


def nearest(centres: Vectors, vectors: Vectors) -> NDArray[np.int64]:
    """Which centre each vector is nearest to."""
    return np.asarray((vectors @ centres.T).argmax(axis=1), dtype=np.int64)


def _centre(members: Vectors, before: Vectors) -> Vectors:
    if not len(members):
        return before
    mean = members.mean(axis=0)
    length = float(np.linalg.norm(mean))
    return np.asarray(mean / length if length > 1e-9 else before, dtype=np.float32)


def _some(vectors: Vectors, random: np.random.Generator) -> Vectors:
    if len(vectors) <= _KERNEL:
        return vectors
    return np.asarray(vectors[np.sort(random.choice(len(vectors), _KERNEL, replace=False))])


def _drawn(seen: float, draw: Callable[[int], Floats]) -> float:
    """The p-value by drawing, which ends early where nothing is to be found: both ways it is valid."""
    beyond = done = 0
    bound = seen - abs(seen) * 1e-9
    while done < _DRAWS:
        count = min(_TOGETHER if done else _FIRST, _DRAWS - done)
        hits = np.flatnonzero(draw(count) >= bound)
        if beyond + hits.size >= _ENOUGH:
            return min(1.0, _ENOUGH / (done + int(hits[_ENOUGH - beyond - 1]) + 1))
        beyond += int(hits.size)
        done += count
    return (beyond + 1) / (done + 1)


def _log(values: Floats) -> Floats:
    return np.log(np.where(values > 0, values, 1.0))
