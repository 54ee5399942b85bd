"""Two evaluations beside each other: a target of one against a target of the other, on the examples both have."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from loopwright.core.errors import BadRequest
from loopwright.evals import results
from loopwright.evals.comparing import compared
from loopwright.evals.evaluation import Evaluation
from loopwright.evals.store import Evaluations
from loopwright.evals.table import Cell, Table
from loopwright.kit.nearest import hint

_SHOWN: Final = 100
"""Examples that are told of, those that became worse first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """An evaluator as findings tell of it."""

    name: str
    higher_is_better: bool
    pair: bool = False


async def across(
    store: Evaluations, a: Evaluation, b: Evaluation, *, target_a: str | None = None, target_b: str | None = None
) -> dict[str, Any]:
    """What changed from `a` to `b`, as JSON; targets are by default the first that is no baseline.

    Examples are paired by their ids. When the versions of the dataset differ, an id may stand for another content:
    `same_dataset` says so.

    Raises:
        BadRequest: they share no evaluator or no example, or a target is not there.
    """
    at_a, at_b = _target(a, target_a, "target_a"), _target(b, target_b, "target_b")
    names_a, names_b = results.evaluator_names(a), results.evaluator_names(b)
    shared = [name for name in names_a if name in names_b and not _pair(a, name) and _spec(a, name) == _spec(b, name)]
    if not shared:
        raise BadRequest(f"b: {b.id} has no evaluator in common with {a.id}", param="b")
    tables = []
    for evaluation, names in ((a, names_a), (b, names_b)):
        table = Table(targets=len(evaluation.spec.targets), evaluators=len(names))
        await results.fill(store, evaluation, names, table, labels=False)
        tables.append(table)
    columns_a, columns_b = [names_a.index(name) for name in shared], [names_b.index(name) for name in shared]
    rows_a = {name: (row[at_a], slices) for name, row, slices in _rows(tables[0])}
    rows_b = {name: (row[at_b], slices) for name, row, slices in _rows(tables[1])}
    both = [name for name in rows_a if name in rows_b]
    if not both:
        raise BadRequest(f"b: {b.id} has no example in common with {a.id}", param="b")
    merged = Table(targets=2, evaluators=len(shared))
    for place, name in enumerate(both):
        cells = (_picked(rows_a[name][0], columns_a), _picked(rows_b[name][0], columns_b))
        merged.add(place, name, rows_b[name][1], cells)
    measures = [_Measured(name=name, higher_is_better=_higher(a, name)) for name in shared]
    told = [f"a: {a.spec.targets[at_a].name}", f"b: {b.spec.targets[at_b].name}"]
    comparisons = await asyncio.to_thread(compared, told, 0, measures, merged, resamples=store.settings.resamples)
    return {
        "a": a.brief(),
        "b": b.brief(),
        "target_a": a.spec.targets[at_a].name,
        "target_b": b.spec.targets[at_b].name,
        "same_dataset": a.dataset_sha == b.dataset_sha,
        "paired": len(both),
        "only_a": len(rows_a) - len(both),
        "only_b": len(rows_b) - len(both),
        "comparisons": comparisons,
        "examples": _changed(merged, measures),
    }


def _rows(table: Table) -> Sequence[tuple[str, tuple[Cell, ...], Mapping[str, str]]]:
    return list(zip(table.examples, table.cells, table.slices, strict=True))


def _picked(cell: Cell, columns: Sequence[int]) -> Cell:
    return Cell(
        values=tuple(cell.values[at] for at in columns),
        answered=cell.answered,
        cached=cell.cached,
        cost_nano=cell.cost_nano,
        latency_us=cell.latency_us,
        input_tokens=cell.input_tokens,
        output_tokens=cell.output_tokens,
    )


def _changed(table: Table, measures: Sequence[_Measured]) -> list[dict[str, Any]]:
    found: list[tuple[float, dict[str, Any]]] = []
    for name, (before, after) in zip(table.examples, table.cells, strict=True):
        moves = [
            (one - other) * (1 if measure.higher_is_better else -1)
            for measure, other, one in zip(measures, before.values, after.values, strict=True)
            if one is not None and other is not None
        ]
        if any(moves):
            scores = {
                measure.name: {"a": before.values[at], "b": after.values[at]} for at, measure in enumerate(measures)
            }
            change = sum(moves) / len(moves)
            found.append((change, {"example_id": name, "change": change, "scores": scores}))
    return [told for _, told in sorted(found, key=lambda each: each[0])[:_SHOWN]]


def _target(evaluation: Evaluation, name: str | None, param: str) -> int:
    names = [target.name for target in evaluation.spec.targets]
    if name is None:
        return (evaluation.spec.candidates or (0,))[0]
    if name not in names:
        raise BadRequest(f"{param}: {name[:80]!r} is no target of {evaluation.id}{hint(name[:80], names)}", param=param)
    return names.index(name)


def _spec(evaluation: Evaluation, name: str) -> Mapping[str, Any]:
    return evaluation.spec.evaluators[results.evaluator_names(evaluation).index(name)]


def _told(evaluation: Evaluation, name: str) -> Mapping[str, Any]:
    every = (evaluation.findings or {}).get("evaluators", [])
    return next((each for each in every if each["name"] == name), {})


def _pair(evaluation: Evaluation, name: str) -> bool:
    return bool(_told(evaluation, name).get("pair"))


def _higher(evaluation: Evaluation, name: str) -> bool:
    return bool(_told(evaluation, name).get("higher_is_better", True))
