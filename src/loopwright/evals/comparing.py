"""Every candidate against the baseline, example by example: effect, interval, test, and Holm over all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, Protocol

import numpy as np

from loopwright.evals.comparisons import holm, mcnemar, paired_bootstrap, permutation_test
from loopwright.evals.intervals import Floats, mean_interval
from loopwright.evals.table import Table

_LEAST: Final = 2
_SWAPS: Final = 20_000_000
"""Signs that a permutation test may draw."""
_SLICE: Final = 5
"""Examples of a slice below which nothing is said of it."""


class Measured(Protocol):
    """What must be known of an evaluator whose scores are compared."""

    @property
    def name(self) -> str:
        """How its scores are called."""
        ...

    @property
    def pair(self) -> bool:
        """Whether a score is already a comparison with the baseline."""
        ...

    @property
    def higher_is_better(self) -> bool:
        """Whether more is better."""
        ...


def compared(
    names: Sequence[str], baseline: int | None, measures: Sequence[Measured], table: Table, *, resamples: int
) -> list[dict[str, Any]]:
    """One entry for each target (`names`) but the baseline, and evaluator; none without a baseline.

    `effect` is candidate minus baseline in the unit of the score (of a judge of pairs: the share won, minus a half);
    `better` says on which side of nothing it surely is, after Holm's correction over all entries at 0.05.
    """
    if baseline is None:
        return []
    groups = [(name, rows) for name, rows in table.groups().items() if len(rows) >= _SLICE]
    found = []
    for at in [at for at in range(len(names)) if at != baseline]:
        for which, measure in enumerate(measures):
            candidate, other, kept = pair_of(table, measure, at, baseline, which)
            entry = {
                "target": names[at],
                "baseline": names[baseline],
                "evaluator": measure.name,
                **_tested(candidate, other, resamples=resamples, pair=measure.pair),
            }
            entry["worst_slice"] = _worst(candidate, other, kept, groups, measure)
            found.append(entry)
    tested = [entry for entry in found if entry["p"] is not None]
    for entry, adjusted in zip(tested, holm([entry["p"] for entry in tested]), strict=True):
        entry["p_holm"] = adjusted
        better = entry["effect"] > 0
        entry["better"] = None if adjusted >= 0.05 else better == _higher(measures, entry["evaluator"])
    return found


def pair_of(
    table: Table, measure: Measured, candidate: int, baseline: int, which: int
) -> tuple[Floats, Floats, Floats]:
    """Values of both where both have one, and the rows they are of; a judge of pairs is held against a half."""
    mine = table.values(candidate, which)
    other = np.full(mine.size, 0.5) if measure.pair else table.values(baseline, which)
    both = np.isfinite(mine) & np.isfinite(other)
    return mine[both], other[both], np.flatnonzero(both).astype(np.float64)


def _tested(candidate: Floats, other: Floats, *, resamples: int, pair: bool) -> dict[str, Any]:
    n = int(candidate.size)
    told: dict[str, Any] = {
        "n": n, "effect": None, "low": None, "high": None, "p": None, "p_holm": None, "better": None, "test": "",
        "wins": int((candidate > other).sum()), "losses": int((candidate < other).sum()),
        "ties": int((candidate == other).sum()),
    }  # fmt: skip
    if n < _LEAST:
        return told
    if not pair and bool(np.isin(candidate, (0.0, 1.0)).all()) and bool(np.isin(other, (0.0, 1.0)).all()):
        test = interval = mcnemar(candidate, other)
    else:
        test = permutation_test(candidate, other, resamples=max(1_000, min(10_000, _SWAPS // n)))
        varies = float(np.ptp(candidate - other)) > 0
        interval = paired_bootstrap(candidate, other, resamples=resamples) if varies else test
    return {
        **told,
        "effect": test.estimate,
        "low": interval.low,
        "high": interval.high,
        "p": test.p,
        "test": test.method if test is interval else f"{test.method}; {interval.method}",
    }


def _worst(
    candidate: Floats, other: Floats, kept: Floats, groups: Sequence[tuple[str, list[int]]], measure: Measured
) -> dict[str, Any] | None:
    """The slice where the candidate lost most, if it lost anywhere."""
    differences = candidate - other
    place = {int(row): at for at, row in enumerate(kept)}
    worst: dict[str, Any] | None = None
    lowest = 0.0
    for name, rows in groups:
        chosen = differences[[place[row] for row in rows if row in place]]
        if chosen.size < _SLICE:
            continue
        mean = float(chosen.mean()) * (1 if measure.higher_is_better else -1)
        if mean < lowest:
            lowest, interval = mean, mean_interval(chosen)
            worst = {"slice": name, "n": int(chosen.size), "effect": interval.estimate}
            worst |= {
                end: value for end, value in (("low", interval.low), ("high", interval.high)) if math.isfinite(value)
            }
    return worst


def _higher(measures: Sequence[Measured], name: str) -> bool:
    return next(measure.higher_is_better for measure in measures if measure.name == name)
