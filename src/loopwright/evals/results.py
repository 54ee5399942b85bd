"""The results of evaluations, read: pages in any order that tells something, and whole tables to compute with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from loopwright.core.errors import BadRequest, Sealed
from loopwright.core.money import usd
from loopwright.core.score import Score
from loopwright.evals.asked import output_read
from loopwright.evals.evaluation import Evaluation
from loopwright.evals.evaluator import Output
from loopwright.evals.ledger import about, about_details
from loopwright.evals.measure import Measure, scores_read
from loopwright.evals.store import Evaluations
from loopwright.evals.table import Cell, Table
from loopwright.kit.nearest import hint

Sort = Literal["position", "regression", "disagreement", "worst", "missing"]
SORTS: Final[tuple[Sort, ...]] = ("position", "regression", "disagreement", "worst", "missing")
_DETAILS: Final = msgspec.json.Decoder(dict[str, Any])
_BLOCK: Final = 5_000
"""Rows read at a time."""
_ORDERS: Final[Mapping[Sort, str]] = {
    # Placeholders are numbers that we made ourselves, never texts of a request.
    "position": "position",
    "regression": "{sign} * (max(scores[{at}]) filter (where target = {target})"
    " - max(scores[{at}]) filter (where target = {baseline})) asc nulls last, position",
    "disagreement": "max(scores[{at}]) - min(scores[{at}]) desc nulls last, position",
    "worst": "{sign} * max(scores[{at}]) filter (where target = {target}) asc nulls last, position",
    "missing": "count(*) filter (where target = {target} and scores[{at}] is null) desc, position",
}
_PAGE: Final = """
    with placed as (
        select position, row_number() over (order by ORDER) as place from evaluation_results
        where evaluation_id = %(id)s and (%(slice)s::jsonb is null or slices @> %(slice)s::jsonb)
        group by position order by place offset %(offset)s limit %(limit)s
    )
    select placed.place, r.*, a.payload from placed
    join evaluation_results r on r.evaluation_id = %(id)s and r.position = placed.position
    left join evaluation_answers a on a.project_id = %(project)s and a.key = r.answer_key
    order by placed.place, r.target
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one target answered to one example, and what was found of it."""

    target: int
    output: Output | None
    """None when it can no longer be read."""
    error: str | None
    cached: bool
    cost_nano: int | None
    latency_us: int
    scores: tuple[Score, ...]

    def shown(self, name: str) -> dict[str, Any]:
        """As JSON; `name` is the target's."""
        output = self.output
        return {
            "target": name,
            "text": None if output is None else output.text,
            "value": None if output is None else output.value,
            "tool_calls": [] if output is None else list(output.tool_calls),
            "finish": None if output is None else output.finish,
            "call_id": None if output is None else output.call_id,
            "model": None if output is None else output.model,
            "error": self.error,
            "cached": self.cached,
            "cost_usd": None if self.cost_nano is None else usd(self.cost_nano),
            "latency_s": self.latency_us / 1e6,
            "scores": {
                score.name: {
                    "value": score.value,
                    "label": score.label,
                    "passed": score.passed,
                    "missing": score.missing,
                    "explanation": score.explanation,
                    "details": dict(score.details),
                }
                for score in self.scores
                if score.value is not None or score.missing is not None
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One example and what every target made of it."""

    position: int
    example_id: str
    slices: Mapping[str, str]
    found: tuple[Found, ...]


async def page(
    store: Evaluations,
    evaluation: Evaluation,
    *,
    sort: Sort = "position",
    evaluator: str | None = None,
    target: str | None = None,
    slice: tuple[str, str] | None = None,  # noqa: A002 - the word of the field
    offset: int = 0,
    limit: int = 50,
) -> list[Row]:
    """Examples with what was found.

    Args:
        store: the evaluations.
        evaluation: whose.
        sort: `regression` is where the target is furthest behind the baseline, `disagreement` where the targets are
            furthest apart, `worst` where the target is worst, `missing` where it has no finding.
        evaluator: whose scores decide the order; by default the first one's.
        target: which target that is about; by default the first that is not the baseline.
        slice: name and value that the examples must have.
        offset: rows to pass over.
        limit: rows at most.

    Raises:
        BadRequest: the evaluation has no such evaluator or target, or no baseline to be behind.
    """
    names = evaluator_names(evaluation)
    at = _place(evaluator, names, "evaluator")
    targets = [each.name for each in evaluation.spec.targets]
    about_target = _place(target, targets, "target") if target else (evaluation.spec.candidates or (0,))[0]
    baseline = evaluation.spec.baseline_at
    if sort == "regression" and baseline is None:
        raise BadRequest("sort: this evaluation has no baseline that a target could be behind", param="sort")
    lower = _lower_is_better(evaluation, names[at])
    order = _ORDERS[sort].format(at=at + 1, target=about_target, baseline=baseline, sign=-1 if lower else 1)
    rows = await store.db.rows(
        _PAGE.replace("ORDER", order),
        {
            "id": evaluation.id,
            "project": evaluation.project_id,
            "slice": None if slice is None else msgspec.json.encode(dict([slice])).decode(),
            "offset": offset,
            "limit": limit,
        },
    )
    grouped: dict[int, list[Mapping[str, Any]]] = {}
    for row in rows:
        grouped.setdefault(row["position"], []).append(row)
    return [_row(store, evaluation.id, names, same) for same in grouped.values()]


async def named(store: Evaluations, evaluation: Evaluation, examples: Sequence[str]) -> list[Row]:
    """Those of the examples that have results, with what was found, in the order of the dataset."""
    rows = await store.db.rows(
        "select r.*, a.payload from evaluation_results r"
        " left join evaluation_answers a on a.project_id = %(project)s and a.key = r.answer_key"
        " where r.evaluation_id = %(id)s and r.example_id = any(%(examples)s) order by r.position, r.target",
        {"id": evaluation.id, "project": evaluation.project_id, "examples": list(examples)},
    )
    grouped: dict[int, list[Mapping[str, Any]]] = {}
    for row in rows:
        grouped.setdefault(row["position"], []).append(row)
    names = evaluator_names(evaluation)
    return [_row(store, evaluation.id, names, same) for same in grouped.values()]


async def recall(store: Evaluations, evaluation: Evaluation, measures: Sequence[Measure], table: Table) -> None:
    """Fill a table with what the database has of an evaluation.

    Raises:
        Unavailable: the database cannot answer now.
        Sealed: labels are needed that cannot be opened.
    """
    labels = any(measure.aggregate for measure in measures)
    await fill(store, evaluation, [measure.name for measure in measures], table, labels=labels)


async def fill(store: Evaluations, evaluation: Evaluation, names: Sequence[str], table: Table, *, labels: bool) -> None:
    """As `recall`, by the names of the scores; `labels` reads also what scores say beside their numbers."""
    after, count = -1, len(evaluation.spec.targets)
    while True:
        rows = await store.db.rows(
            "select position, target, example_id, slices, failed, cached, scores, cost_nano, latency_us,"
            " input_tokens, output_tokens, case when %(labels)s then details end as details"
            " from evaluation_results where evaluation_id = %(id)s and position > %(after)s"
            " and position <= %(after)s + %(block)s order by position, target",
            {"id": evaluation.id, "after": after, "labels": labels, "block": _BLOCK},
        )
        grouped: dict[int, list[Mapping[str, Any]]] = {}
        for row in rows:
            grouped.setdefault(row["position"], []).append(row)
        for position, same in grouped.items():
            if len(same) == count:
                cells = tuple(_cell(store, evaluation.id, names, row) for row in same)
                table.add(position, same[0]["example_id"], same[0]["slices"] or {}, cells)
        after += _BLOCK
        if after >= evaluation.total and not rows:
            return


def evaluator_names(evaluation: Evaluation) -> list[str]:
    """How the scores of an evaluation are called, in its order."""
    return [str(each.get("name") or each.get("kind")) for each in evaluation.spec.evaluators]


def _cell(store: Evaluations, evaluation_id: str, names: Sequence[str], row: Mapping[str, Any]) -> Cell:
    values = tuple(row["scores"])
    scores: tuple[Score, ...] = ()
    if row["details"] is not None:
        told = _details(store, evaluation_id, row)
        scores = tuple(scores_read(names, values, told))
    return Cell(
        values=values,
        answered=not row["failed"],
        cached=row["cached"],
        cost_nano=row["cost_nano"],
        latency_us=row["latency_us"],
        input_tokens=row["input_tokens"],
        output_tokens=row["output_tokens"],
        scores=scores,
    )


def _row(store: Evaluations, evaluation_id: str, names: Sequence[str], same: Sequence[Mapping[str, Any]]) -> Row:
    first = same[0]
    return Row(
        position=first["position"],
        example_id=first["example_id"],
        slices=first["slices"] or {},
        found=tuple(_found(store, evaluation_id, names, row) for row in same),
    )


def _found(store: Evaluations, evaluation_id: str, names: Sequence[str], row: Mapping[str, Any]) -> Found:
    told: Mapping[str, Any] = {}
    output: Output | None = None
    with suppress(Sealed):
        told = _details(store, evaluation_id, row)
    if row["payload"] is not None:
        with suppress(Sealed):
            output = output_read(store.seal.open(bytes(row["payload"]), about(bytes(row["answer_key"]))))
    return Found(
        target=row["target"],
        output=output,
        error=told.get("error"),
        cached=row["cached"],
        cost_nano=row["cost_nano"],
        latency_us=row["latency_us"],
        scores=tuple(scores_read(names, row["scores"], told)),
    )


def _details(store: Evaluations, evaluation_id: str, row: Mapping[str, Any]) -> dict[str, Any]:
    place = about_details(evaluation_id, row["position"], row["target"])
    return _DETAILS.decode(store.seal.open(bytes(row["details"]), place))


def _place(name: str | None, names: Sequence[str], what: str) -> int:
    if name is None:
        return 0
    if name not in names:
        raise BadRequest(f"{what}: {name[:80]!r} is none of this evaluation's{hint(name[:80], names)}", param=what)
    return names.index(name)


def _lower_is_better(evaluation: Evaluation, name: str) -> bool:
    told = (evaluation.findings or {}).get("evaluators", [])
    return any(each["name"] == name and not each["higher_is_better"] for each in told)
