"""How far raters agree beyond chance: Cohen's kappa for two, Krippendorff's alpha for any number with gaps.

Both are None where they are undefined: when every rating is the same there is nothing to agree about.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any, Final, Literal

import numpy as np

from loopwright.core.errors import BadRequest
from loopwright.evals.intervals import LEVEL, Estimate, Floats, normal

Weights = Literal["linear", "quadratic"]
Scale = Literal["nominal", "ordinal", "interval"]
_RESAMPLES: Final = 1000
_MOST: Final = 500


def cohen_kappa(
    first: Sequence[Hashable | None],
    second: Sequence[Hashable | None],
    *,
    weights: Weights | None = None,
    order: Sequence[Hashable] | None = None,
    level: float = LEVEL,
) -> Estimate | None:
    """Cohen's kappa of two raters (1960, Educ. Psychol. Meas. 20:37-46), weighted (1968, Psychol. Bull. 70:213-220).

    The interval is from the large-sample variance of Fleiss, Cohen and Everitt (1969, Psychol. Bull. 72:323-327).
    Pairs of which one is missing (None) are left out; `n` counts the rest.

    Args:
        first: ratings.
        second: ratings of the same things, in the same order.
        weights: how far apart two labels are by their places; None: any other label is as wrong as any.
        order: the labels in their order; else sorted.
        level: of the interval.

    Returns:
        None without pairs, or when both raters gave one and the same label throughout.

    Raises:
        BadRequest: they are not equally long, there are over 500 labels, or one that `order` does not name.
    """
    if len(first) != len(second):
        raise BadRequest(f"first has {len(first)} ratings, second {len(second)}: pair them", param="second")
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    if not pairs:
        return None
    places = _places([label for pair in pairs for label in pair], order)
    table = np.zeros((len(places), len(places)))
    for a, b in pairs:
        table[places[a], places[b]] += 1
    return _kappa(table / len(pairs), len(pairs), _agreement(len(places), weights), weights, level)


def _agreement(labels: int, weights: Weights | None) -> Floats:
    """1 where labels agree, less the further they are apart."""
    apart = np.abs(np.subtract.outer(np.arange(labels), np.arange(labels))).astype(np.float64)
    if weights is None:
        return np.asarray(apart == 0, dtype=np.float64)
    if weights == "quadratic":
        apart **= 2
    return 1 - apart / max(float(apart.max()), 1.0)


def _kappa(shares: Floats, n: int, agreement: Floats, weights: Weights | None, level: float) -> Estimate | None:
    rows, columns = shares.sum(axis=1), shares.sum(axis=0)
    seen = float((shares * agreement).sum())
    chance = float((np.outer(rows, columns) * agreement).sum())
    if 1 - chance < 1e-12:
        return None
    kappa = (seen - chance) / (1 - chance)
    margin = np.add.outer(agreement @ columns, rows @ agreement)
    spread = float((shares * (agreement * (1 - chance) - margin * (1 - seen)) ** 2).sum())
    variance = (spread - (seen * chance - 2 * chance + seen) ** 2) / (n * (1 - chance) ** 4)
    half = normal(level) * math.sqrt(max(variance, 0.0))
    return Estimate(
        estimate=kappa,
        low=max(-1.0, kappa - half),
        high=min(1.0, kappa + half),
        n=n,
        level=level,
        method="cohen kappa" if weights is None else f"cohen kappa {weights}",
    )


def krippendorff_alpha(
    ratings: Sequence[Sequence[Any]],
    *,
    scale: Scale = "nominal",
    order: Sequence[Hashable] | None = None,
    level: float = LEVEL,
    resamples: int = _RESAMPLES,
    seed: int = 0,
) -> Estimate | None:
    """Krippendorff's alpha of any number of raters (Computing Krippendorff's Alpha-Reliability, 2011, section E).

    The interval resamples units (Zapf, Castell, Morawietz and Karch 2016, BMC Med. Res. Methodol. 16:93).

    Args:
        ratings: one row a rater, one column a unit; None is missing.
        scale: `nominal` (labels), `ordinal` (ranks), `interval` (numbers whose differences count).
        order: the labels in their order, of ordinal ones that do not sort.
        level: of the interval.
        resamples: of units.
        seed: of the resampling.

    Returns:
        None when no unit has two ratings, or all ratings are the same; `n` counts the units with two or more.

    Raises:
        BadRequest: rows of different lengths, over 500 labels, an interval scale of what are no numbers.
    """
    if len({len(row) for row in ratings}) > 1:
        raise BadRequest("ratings: each rater has one place for each unit; None is missing", param="ratings")
    units = [[value for value in unit if value is not None] for unit in zip(*ratings, strict=True)]
    units = [unit for unit in units if len(unit) > 1]
    if not units:
        return None
    alphas = _Numbers(units) if scale == "interval" else _Labels(units, order, ranked=scale == "ordinal")
    estimate = alphas(np.ones(len(units)))
    if not math.isfinite(estimate):
        return None
    random = np.random.default_rng(seed)
    evenly = np.full(len(units), 1 / len(units))
    drawn = np.array([alphas(random.multinomial(len(units), evenly)) for _ in range(resamples)])
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]) if drawn.size else (estimate, estimate)
    return Estimate(
        estimate=estimate,
        low=float(low),
        high=float(high),
        n=len(units),
        level=level,
        method=f"krippendorff alpha {scale}",
    )


class _Labels:
    """Alpha of labels, by how often each unit drew which; a call weighs the units."""

    def __init__(self, units: list[list[Any]], order: Sequence[Hashable] | None, *, ranked: bool) -> None:
        places = _places([value for unit in units for value in unit], order)
        self._ranked = ranked
        self._counts = np.zeros((len(units), len(places)))
        for row, unit in zip(self._counts, units, strict=True):
            for value in unit:
                row[places[value]] += 1
        self._pairs = self._counts.sum(axis=1) - 1

    def __call__(self, weights: Any) -> float:
        scaled = self._counts * (weights / self._pairs)[:, None]
        coincidences = scaled.T @ self._counts - np.diag(scaled.sum(axis=0))
        totals = coincidences.sum(axis=1)
        apart = self._apart(totals)
        expected = float(totals @ apart @ totals)
        if expected < 1e-12:
            return math.nan
        return 1 - (float(totals.sum()) - 1) * float((coincidences * apart).sum()) / expected

    def _apart(self, totals: Floats) -> Floats:
        if not self._ranked:
            return 1 - np.eye(totals.size)
        upto = np.cumsum(totals) - totals / 2
        return np.asarray(np.subtract.outer(upto, upto) ** 2, dtype=np.float64)


class _Numbers:
    """Alpha of numbers, by each unit's moments; a call weighs the units."""

    def __init__(self, units: list[list[Any]]) -> None:
        try:
            values = [np.asarray(unit, dtype=np.float64) for unit in units]
        except (TypeError, ValueError) as error:
            raise BadRequest("ratings: an interval scale is of numbers", param="ratings") from error
        everything = np.concatenate(values)
        if not np.isfinite(everything).all():
            raise BadRequest("ratings: a value is no finite number; None is missing", param="ratings")
        centre = float(everything.mean())  # alpha does not depend on it, its rounding does
        self._size = np.array([unit.size for unit in values], dtype=np.float64)
        self._sum = np.array([float((unit - centre).sum()) for unit in values])
        self._squares = np.array([float(((unit - centre) ** 2).sum()) for unit in values])
        self._within = (self._size * self._squares - self._sum**2) / (self._size - 1)

    def __call__(self, weights: Any) -> float:
        total = float(weights @ self._size)
        expected = total * float(weights @ self._squares) - float(weights @ self._sum) ** 2
        if expected < 1e-12:
            return math.nan
        return 1 - (total - 1) * float(weights @ self._within) / expected


def _places(labels: Sequence[Hashable], order: Sequence[Hashable] | None) -> dict[Hashable, int]:
    known: set[Hashable] = set(labels)
    if order is None:
        try:
            ordered: list[Any] = sorted(known)
        except TypeError:
            ordered = sorted(known, key=lambda label: (type(label).__name__, str(label)))
    else:
        ordered = list(dict.fromkeys(order))
        if strange := known - set(ordered):
            raise BadRequest(f"order: does not name the label {next(iter(strange))!r}", param="order")
    if len(ordered) > _MOST:
        raise BadRequest(f"{len(ordered)} labels, at most {_MOST}: these are numbers, use their scale", param="ratings")
    return {label: place for place, label in enumerate(ordered)}
