"""Rows of results beside the examples they are of, as JSON: what went in, what should have come out, what came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loopwright.core.errors import NotFound
from loopwright.datasets.store import Datasets
from loopwright.evals.evaluation import Evaluation
from loopwright.evals.results import Row, named
from loopwright.evals.sample import version_of
from loopwright.evals.store import Evaluations


async def answers(datasets: Datasets, evaluation: Evaluation, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Each row with its example; `inputs` and `expected` are None when the dataset was deleted or is another now."""
    return [await _answer(datasets, evaluation, row) for row in rows]


async def beside(
    store: Evaluations, datasets: Datasets, a: Evaluation, b: Evaluation, told: Mapping[str, Any]
) -> dict[str, Any]:
    """What `across` told, each example with what went in, what should have come out, and what came in `a` and `b`."""
    names = [each["example_id"] for each in told["examples"]]
    found: dict[str, dict[str, Any]] = {
        name: {"inputs": None, "expected": None, "a": None, "b": None} for name in names
    }
    for side, evaluation in (("a", a), ("b", b)):
        rows = await answers(datasets, evaluation, await named(store, evaluation, names))
        for row in rows:
            into = found[row["example_id"]]
            into["inputs"], into["expected"] = row["inputs"] or into["inputs"], row["expected"] or into["expected"]
            into[side] = next(
                (each["text"] for each in row["answers"] if each["target"] == told[f"target_{side}"]), None
            )
    return {**told, "examples": [{**each, **found[each["example_id"]]} for each in told["examples"]]}


async def _answer(datasets: Datasets, evaluation: Evaluation, row: Row) -> dict[str, Any]:
    inputs = expected = None
    try:
        version = await version_of(datasets, evaluation.project_id, evaluation.dataset)
        if version.sha == evaluation.dataset_sha:
            example = await datasets.example(version, row.example_id)
            inputs, expected = example.inputs, example.expected
    except NotFound:
        pass  # the dataset was deleted: what was found stays
    return {
        "position": row.position,
        "example_id": row.example_id,
        "slices": dict(row.slices),
        "inputs": inputs,
        "expected": expected,
        "answers": [each.shown(evaluation.spec.targets[each.target].name) for each in row.found],
    }
