"""What a review is of, as REST is told: texts that are given, calls by filter, a dataset, answers of an evaluation."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from loopwright.api.filters import aware, tags_of
from loopwright.app import App
from loopwright.calls.query import CallFilter
from loopwright.core.call import Outcome
from loopwright.core.errors import BadRequest
from loopwright.datasets.dataset import side_of
from loopwright.evals.results import Sort
from loopwright.evals.review_items import Found, answers_named, of_calls, of_dataset, of_evaluation
from loopwright.feedback.queues import ITEMS
from loopwright.feedback.review import NewItem
from loopwright.feedback.rubric import Mode

_TEXT: Final = 60_000


class Input(BaseModel):
    """What a body may say, and nothing else."""

    model_config = ConfigDict(extra="forbid")


class ItemIn(Input):
    """Something to rate that is nowhere on record."""

    question: str = Field(max_length=_TEXT)
    answer: str = Field(max_length=_TEXT)
    other: str | None = Field(default=None, max_length=_TEXT, description="The second answer, in pairs.")
    reference: str | None = Field(default=None, max_length=_TEXT)
    example_id: str | None = Field(default=None, max_length=200)
    answers: dict[str, str] = Field(
        default={}, description="What `a` and `b` are; told in the export, never to raters."
    )


class CallsIn(Input):
    """Which calls are rated: the newest that pass."""

    model: str | None = None
    key: int | None = None
    outcome: Outcome | None = "ok"
    task: str | None = None
    session: str | None = None
    tag: str | list[str] | None = Field(default=None, description="name:value; of several all must hold.")
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = Field(default=None, max_length=1000)


class Sources(Input):
    """What is rated, and whether one answer at a time or two."""

    mode: Mode = "rubric"
    items: list[ItemIn] = Field(default=[], max_length=ITEMS)
    calls: CallsIn | None = None
    dataset: str | None = Field(default=None, description="NAME[@NUMBER]", max_length=200)
    split: str | None = None
    answers: str | None = Field(default=None, description="In pairs: two members of each example, by a comma.")
    evaluation: str | None = Field(default=None, description="Its id: what its targets answered.", max_length=200)
    targets: list[str] = Field(default=[], max_length=2, description="Of the evaluation: one, in pairs two.")
    sort: Sort = Field(default="position", description="Of the evaluation: which examples come first.")
    limit: int = Field(default=100, ge=1, le=ITEMS)


async def found_by(app: App, project_id: int, asked: Sources) -> tuple[Found, dict[str, Any]]:
    """The items of a new review, and where they come from.

    Raises:
        BadRequest: not exactly one source, or one that does not go with the mode.
        NotFound: there is no such dataset or evaluation.
    """
    named = {
        "items": bool(asked.items),
        "calls": asked.calls is not None,
        "dataset": asked.dataset is not None,
        "evaluation": asked.evaluation is not None,
    }
    if sum(named.values()) != 1:
        raise BadRequest(f"say what is rated by exactly one of: {', '.join(named)}", param="items")
    answers = answers_named(asked.answers)
    if (answers is not None) is not (asked.mode == "pairwise" and named["dataset"]):
        raise BadRequest(
            "answers: names the two answers of each example, in pairs from a dataset only", param="answers"
        )
    if asked.calls is not None:
        if asked.mode == "pairwise":
            raise BadRequest("calls have one answer each: compare a dataset, an evaluation or items", param="mode")
        told = asked.calls.model_dump(mode="json", exclude_none=True)
        return await of_calls(app.calls, _filter(asked.calls, project_id), limit=asked.limit), {"calls": told}
    if asked.dataset is not None:
        said = {"dataset": asked.dataset, "split": asked.split, "answers": asked.answers}
        found = await of_dataset(
            app.workshop.datasets,
            project_id,
            asked.dataset,
            split=side_of(asked.split),
            answers=answers,
            limit=asked.limit,
        )
        return found, {name: value for name, value in said.items() if value is not None}
    if asked.evaluation is not None:
        return await _of_evaluation(app, project_id, asked.evaluation, asked)
    return Found(items=tuple(_item(each) for each in asked.items)), {"items": len(asked.items)}


async def _of_evaluation(app: App, project_id: int, named: str, asked: Sources) -> tuple[Found, dict[str, Any]]:
    room = app.workshop.evaluations
    evaluation = await room.show(named, project_id=project_id)
    targets = tuple(asked.targets)
    if len(targets) != (2 if asked.mode == "pairwise" else len(targets[:1])):
        raise BadRequest("targets: two in pairs, else one", param="targets")
    found = await of_evaluation(
        room, app.workshop.datasets, app.calls, evaluation, targets=targets, sort=asked.sort, limit=asked.limit
    )
    return found, {"evaluation": evaluation.id, "sort": asked.sort, **({"targets": list(targets)} if targets else {})}


def _filter(asked: CallsIn, project_id: int) -> CallFilter:
    return CallFilter(
        project_id=project_id,
        model=asked.model,
        key_id=asked.key,
        outcome=asked.outcome,
        task=asked.task,
        session=asked.session,
        tags=tags_of([asked.tag] if isinstance(asked.tag, str) else asked.tag),
        since=aware(asked.since),
        until=aware(asked.until),
        text=asked.text,
    )


def _item(given: ItemIn) -> NewItem:
    return NewItem(
        question=given.question,
        answer=given.answer,
        other=given.other,
        reference=given.reference,
        example_id=given.example_id,
        labels=given.answers,
    )
