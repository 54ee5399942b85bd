"""Rows of results beside the examples they are of, as JSON: what went in, what should have come out, what came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loopwright.core.errors import NotFound
from loopwright.datasets.store import Datasets
from loopwright.evals.evaluation import Evaluation
from loopwright.evals.results import Row
from loopwright.evals.sample import version_of


async def answers(datasets: Datasets, evaluation: Evaluation, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Each row with its example; `inputs` and `expected` are None when the dataset was deleted or is another now."""
    return [await _answer(datasets, evaluation, row) for row in rows]


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
