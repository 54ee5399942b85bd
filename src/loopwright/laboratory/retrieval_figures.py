"""The figures of a measured search: each way's measures with intervals, and how the ways differ on the same queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from loopwright.evals.statistics import bootstrap_interval, holm, paired_bootstrap, permutation_test
from loopwright.retrieval.assessing import Answered
from loopwright.retrieval.evaluations import Outcome, Row
from loopwright.retrieval.labelled import Judged, Plan
from loopwright.retrieval.measures import Floats, measured

_EPSILON: Final = 1e-9
_WARNINGS: Final = 5


def rows_of(queries: Sequence[Judged], found: Mapping[str, Sequence[Answered]], plan: Plan) -> list[Row]:
    """Each query with what every way did for it."""
    values = {
        way: measured([each.documents for each in some], [each.grades for each in queries], plan.cutoffs)
        for way, some in found.items()
    }
    return [
        Row(
            id=query.id,
            text=query.text,
            grades=dict(query.grades),
            synthetic=query.synthetic,
            ways={
                way: Outcome(
                    found=list(some[at].documents),
                    measures={name: round(float(each[at]), 6) for name, each in values[way].items()},
                    micros=some[at].micros,
                    note=some[at].failed or some[at].warned,
                )
                for way, some in found.items()
            },
        )
        for at, query in enumerate(queries)
    ]


def summary_of(rows: Sequence[Row], plan: Plan) -> dict[str, Any]:
    """What is said of the whole: means with bootstrap intervals, and each way paired with the first."""
    names = list(rows[0].ways[plan.ways[0].name].measures)
    ways = []
    for way in plan.ways:
        outcomes = [row.ways[way.name] for row in rows]
        micros = np.array([each.micros for each in outcomes], dtype=np.float64)
        figures = {name: _told(bootstrap_interval([each.measures[name] for each in outcomes]).shown) for name in names}
        notes = [each.note for each in outcomes if each.note]
        ways.append(
            {
                **way.shown(),
                "figures": figures,
                "p50_ms": round(float(np.quantile(micros, 0.5)) / 1000, 2),
                "p95_ms": round(float(np.quantile(micros, 0.95)) / 1000, 2),
                "hampered": len(notes),
                "notes": list(dict.fromkeys(notes))[:_WARNINGS],
            }
        )
    return {
        "cutoffs": list(plan.cutoffs),
        "measures": names,
        "by": plan.by,
        "baseline": plan.ways[0].name,
        "synthetic": sum(row.synthetic for row in rows),
        "ways": ways,
        "differences": _differences(rows, plan),
    }


def _differences(rows: Sequence[Row], plan: Plan) -> list[dict[str, Any]]:
    """Each way against the first, by the measure of the plan; p-values corrected for how many there are (Holm)."""
    baseline = _values(rows, plan.ways[0].name, plan.by)
    found: list[dict[str, Any]] = []
    for way in plan.ways[1:]:
        values = _values(rows, way.name, plan.by)
        interval, test = paired_bootstrap(values, baseline), permutation_test(values, baseline)
        apart = values - baseline
        found.append(
            {
                "way": way.name,
                "by": plan.by,
                "estimate": interval.estimate,
                "low": interval.low,
                "high": interval.high,
                "p": test.p,
                "better": int((apart > _EPSILON).sum()),
                "worse": int((apart < -_EPSILON).sum()),
                "same": int((np.abs(apart) <= _EPSILON).sum()),
            }
        )
    corrected = holm([each["p"] for each in found]) if found else []
    return [{**each, "p_holm": float(p)} for each, p in zip(found, corrected, strict=True)]


def _values(rows: Sequence[Row], way: str, by: str) -> Floats:
    return np.array([row.ways[way].measures[by] for row in rows], dtype=np.float64)


def _told(estimate: Mapping[str, Any]) -> dict[str, float]:
    return {name: round(float(estimate[name]), 6) for name in ("estimate", "low", "high")}
