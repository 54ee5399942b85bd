"""What an evaluation found: figures with their intervals, comparisons, slices, cost beside quality. JSON, never NaN."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from loopwright.core.money import usd
from loopwright.evals import gate
from loopwright.evals.comparing import compared
from loopwright.evals.evaluation import Evaluation
from loopwright.evals.intervals import RESAMPLES, Estimate, Floats, bootstrap_interval, mean_interval, wilson
from loopwright.evals.measure import Measure
from loopwright.evals.pareto import front
from loopwright.evals.power import minimum_detectable_effect, widest_half_width
from loopwright.evals.spec import Spec
from loopwright.evals.table import Table
from loopwright.evals.trust import Trust, Trusted

LEAST: Final = 5
"""Examples of a slice below which no figure is told of it."""
_SLICES: Final = 60
"""Slices that are told of, the largest."""
_ALIKE: Final = 0.1
"""Share of examples on which variants of one prompt differ, as a rule."""
_DRAWN: Final = 2_000_000
"""Scores that the bootstrap of an aggregate may look at."""


@dataclass(frozen=True, slots=True)
class _Column:
    """The scores of one target by one evaluator."""

    values: Floats
    """NaN is missing."""
    binary: bool

    def figure(self, rows: Sequence[int] | None = None, *, resamples: int | None = None) -> dict[str, Any]:
        """Mean and interval of all rows, or of some; with `resamples` by the bootstrap."""
        values = self.values if rows is None else self.values[np.asarray(rows, dtype=np.int64)]
        found = values[np.isfinite(values)]
        told: dict[str, Any] = {"n": int(found.size), "missing": int(values.size - found.size)}
        if not found.size:
            return {**told, "mean": None, "low": None, "high": None, "method": ""}
        estimate: Estimate
        if self.binary:
            estimate = wilson(float(found.sum()), int(found.size))
        elif resamples is not None and float(np.ptp(found)) > 0:
            estimate = bootstrap_interval(found, resamples=resamples)
        else:
            estimate = mean_interval(found)
        return {
            **told,
            "mean": number(estimate.estimate),
            "low": number(estimate.low),
            "high": number(estimate.high),
            "method": estimate.method,
        }


def so_far(evaluation: Evaluation, measures: Sequence[Measure], table: Table) -> dict[str, Any]:
    """Figures of what is there now: cheap, without comparisons."""
    return {
        "partial": True,
        "examples": len(table),
        "evaluators": [_evaluator(measure, None) for measure in measures],
        "targets": _targets(evaluation.spec, measures, table, resamples=None),
        "comparisons": [],
        "slices": [],
        "gate": None,
        "pareto": None,
        "detectable": detectable(evaluation.spec, measures_names(measures), len(table)),
    }


def conclude(
    evaluation: Evaluation,
    measures: Sequence[Measure],
    table: Table,
    trusted: Trusted,
    *,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """All that can be said of an evaluation at its end."""
    spec = evaluation.spec
    targets = _targets(spec, measures, table, resamples=resamples)
    slices = _slices(spec, measures, table)
    for at, target in enumerate(targets):
        for measure in measures:
            figure = target["scores"][measure.name]
            _add_worst(figure, slices, at, measure)
            _add_corrected(figure, trusted.get(measure.name))
    complete = len(table) >= evaluation.total
    return {
        "partial": False,
        "complete": complete,
        "examples": len(table),
        "evaluators": [_evaluator(measure, trusted) for measure in measures],
        "targets": targets,
        "comparisons": compared(
            [target.name for target in spec.targets], spec.baseline_at, measures, table, resamples=resamples
        ),
        "slices": slices,
        "gate": gate.judged(spec, measures, table, trusted, complete=complete),
        "pareto": front(targets, measures, trusted),
        "detectable": detectable(spec, measures_names(measures), len(table)),
    }


def detectable(spec: Spec, names: Sequence[str], n: int) -> dict[str, Any] | None:
    """What so many examples show, when nothing is known of the answers yet: half of an interval, the smallest difference.

    All comparisons share the level as Holm's first step does. Where nothing is compared, those are meant that a baseline
    on the same examples would bring.
    """
    family = len(spec.candidates) * len(names)
    if not family or n < 1:
        return None
    plan = spec.gate
    alpha, power = (0.05, 0.8) if plan is None else (plan.alpha, plan.power)
    return {
        "examples": n,
        "compared": spec.baseline is not None,
        "comparisons": family,
        "alpha": alpha,
        "power": power,
        "half_width": number(widest_half_width(n)),
        "share": number(minimum_detectable_effect(n, alpha=alpha / family, power=power)),
        "share_alike": number(minimum_detectable_effect(n, discordance=_ALIKE, alpha=alpha / family, power=power)),
        "score": number(minimum_detectable_effect(n, kind="score", alpha=alpha / family, power=power)),
    }


def measures_names(measures: Sequence[Measure]) -> list[str]:
    """How their scores are called."""
    return [measure.name for measure in measures]


def number(value: float | None) -> float | None:
    """A finite number, or None."""
    return float(value) if value is not None and math.isfinite(value) else None


def _evaluator(measure: Measure, trusted: Trusted | None) -> dict[str, Any]:
    trust = None if trusted is None else trusted.get(measure.name)
    return {
        "name": measure.name,
        "kind": str(measure.spec.get("kind", "")),
        "method": measure.method,
        "higher_is_better": measure.higher_is_better,
        "pair": measure.pair,
        "may_gate": trust is None or trust.may_gate,
        "why_not": "" if trust is None else trust.why,
        "card": None if trust is None else trust.card,
    }


def _targets(spec: Spec, measures: Sequence[Measure], table: Table, *, resamples: int | None) -> list[dict[str, Any]]:
    columns = [[table.values(target, at) for at in range(len(measures))] for target in range(len(spec.targets))]
    binary = [is_binary([columns[target][at] for target in range(len(columns))]) for at in range(len(measures))]
    found = []
    for at, target in enumerate(spec.targets):
        scores: dict[str, Any] = {}
        for which, measure in enumerate(measures):
            if measure.pair and at == spec.baseline_at:
                scores[measure.name] = {"n": 0, "missing": 0, "mean": None, "low": None, "high": None, "method": ""}
                continue
            figure = _Column(columns[at][which], binary[which]).figure(resamples=resamples)
            if resamples is not None and measure.aggregate is not None:
                figure["figures"] = _figures(measure, table, at, which)
            scores[measure.name] = figure
        found.append({"name": target.name, "model": target.model, **_spent(table, at), "scores": scores})
    return found


def _spent(table: Table, at: int) -> dict[str, Any]:
    cells = [row[at] for row in table.cells]
    answered = [cell for cell in cells if cell.answered]
    priced = [cell.cost_nano for cell in answered if cell.cost_nano is not None]
    seconds = np.array([cell.latency_us for cell in answered], dtype=np.float64) / 1e6
    return {
        "answered": len(answered),
        "unanswered": len(cells) - len(answered),
        "cached": sum(cell.cached for cell in cells),
        "unpriced": len(answered) - len(priced),
        "cost_usd": usd(sum(priced)) if priced else None,
        "cost_each_usd": usd(round(sum(priced) / len(priced))) if priced else None,
        "input_tokens": sum(cell.input_tokens for cell in cells),
        "output_tokens": sum(cell.output_tokens for cell in cells),
        "latency_p50_s": number(float(np.quantile(seconds, 0.5))) if answered else None,
        "latency_p95_s": number(float(np.quantile(seconds, 0.95))) if answered else None,
    }


def _figures(measure: Measure, table: Table, target: int, which: int) -> dict[str, Any]:
    """The figures of an aggregate with percentile intervals of the bootstrap."""
    aggregate, scores = measure.aggregate, table.scores(target, which)
    if aggregate is None or not scores:
        return {}
    try:
        whole = dict(aggregate.aggregate(scores))
    except Exception as error:  # noqa: BLE001 - an edge: evaluators raise what they like
        return {"raised": f"{type(error).__name__}: {error}"[:500]}
    random, drawn = np.random.default_rng(0), max(100, min(1_000, _DRAWN // len(scores)))
    seen: dict[str, list[float]] = {name: [] for name in whole}
    for _ in range(drawn):
        part = aggregate.aggregate([scores[at] for at in random.integers(0, len(scores), len(scores)).tolist()])
        for name, values in seen.items():
            if math.isfinite(value := float(part.get(name, math.nan))):
                values.append(value)
    return {
        name: {
            "value": number(value),
            "low": number(float(np.quantile(seen[name], 0.025))) if seen[name] else None,
            "high": number(float(np.quantile(seen[name], 0.975))) if seen[name] else None,
        }
        for name, value in whole.items()
    }


def _slices(spec: Spec, measures: Sequence[Measure], table: Table) -> list[dict[str, Any]]:
    groups = {name: rows for name, rows in table.groups().items() if len(rows) >= LEAST}
    told: list[dict[str, Any]] = [
        {"slice": name, "examples": len(rows), "targets": [{} for _ in spec.targets]}
        for name, rows in list(groups.items())[:_SLICES]
    ]
    for which, measure in enumerate(measures):
        columns = [table.values(at, which) for at in range(len(spec.targets))]
        binary = is_binary(columns)
        for at, values in enumerate(columns):
            column = _Column(values, binary)
            for each in told:
                each["targets"][at][measure.name] = column.figure(groups[each["slice"]])
    return told


def _add_worst(figure: dict[str, Any], slices: Sequence[Mapping[str, Any]], at: int, measure: Measure) -> None:
    """The slice where a target is worst, by its mean."""
    sign = 1 if measure.higher_is_better else -1
    known = [
        (each["slice"], found)
        for each in slices
        if (found := each["targets"][at][measure.name])["mean"] is not None and found["n"] >= LEAST
    ]
    if not known or figure["mean"] is None:
        return
    name, worst = min(known, key=lambda each: (sign * each[1]["mean"], each[0]))
    if sign * worst["mean"] >= sign * figure["mean"]:
        return
    figure["worst_slice"] = {"slice": name, **worst, "gap": number(worst["mean"] - figure["mean"])}


def _add_corrected(figure: dict[str, Any], trust: Trust | None) -> None:
    """What people would have said, as far as the card of the judge can tell."""
    if trust is None or trust.corrected is None or figure["mean"] is None or figure["method"] != "wilson":
        return
    found = trust.corrected(figure["mean"], figure["n"])
    if found is not None:
        figure["corrected"] = {"mean": number(found.estimate), "low": number(found.low), "high": number(found.high)}


def is_binary(columns: Sequence[Floats]) -> bool:
    """Whether all that was found is right or wrong."""
    found = [column[np.isfinite(column)] for column in columns]
    return any(each.size for each in found) and all(bool(np.isin(each, (0.0, 1.0)).all()) for each in found)
