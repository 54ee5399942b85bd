"""Where the items of a review come from: calls on record, examples of a dataset, the answers of evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from loopwright.calls.query import CallFilter, Calls
from loopwright.core.call import Call, CallDetail
from loopwright.core.errors import BadRequest, NotFound
from loopwright.datasets.dataset import parted
from loopwright.datasets.example import Example, Split
from loopwright.datasets.store import Datasets
from loopwright.evals import results
from loopwright.evals.evaluation import Evaluation
from loopwright.evals.evaluator import Output
from loopwright.evals.results import Sort
from loopwright.evals.store import Evaluations
from loopwright.feedback.queues import ITEMS
from loopwright.feedback.reading import answer_of, clipped, plain, question_of, variables
from loopwright.feedback.review import NewItem
from loopwright.feedback.store import Feedback
from loopwright.kit.ids import floor_of

_PAGE: Final = 200
_DRAINED: Final = 3.0
"""Seconds in which a call that has just been made comes to be on record."""
_LOOKED_AT: Final = 20_000
"""Calls of which the texts are read, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Items, and how many had nothing to rate."""

    items: tuple[NewItem, ...]
    left_out: int = 0
    """Without an answer, or of which no texts are kept."""


async def of_calls(calls: Calls, which: CallFilter, *, limit: int = 100) -> Found:
    """The newest calls that pass a filter and have an answer to read, newest first.

    Raises:
        BadRequest: the filter makes no sense.
    """
    items: list[NewItem] = []
    before: str | None = None
    looked = 0
    while len(items) < min(limit, ITEMS) and looked < _LOOKED_AT:
        page = await calls.page(which, before=before, limit=min(_PAGE, limit))
        for call in page.calls:
            looked += 1
            with suppress(NotFound):  # deleted meanwhile
                item = of_call(await calls.get(call.id, project_id=which.project_id, wait=0.0))
                if item is not None and len(items) < limit:
                    items.append(item)
        before = page.next
        if before is None:
            break
    return Found(items=tuple(items), left_out=looked - len(items))


async def forget_gone(calls: Calls, feedback: Feedback, items: Sequence[NewItem]) -> None:
    """Forget items whose call was deleted while they were made: who deleted it has not seen them."""
    for call in {each.id for item in items for each in (item.call, item.other_call) if each is not None}:
        try:
            await calls.get(call, project_id=None, wait=0.0)
        except NotFound:
            await feedback.forget(project_id=None, call_id=call)


def of_call(detail: CallDetail) -> NewItem | None:
    """A call to rate; None when there is no text of it."""
    question, answer = question_of(detail.request), answer_of(detail.response)
    if not question or not answer:
        return None
    return NewItem(question=question, answer=answer, call=detail.call, labels={"a": detail.call.model})


async def of_dataset(
    datasets: Datasets,
    project_id: int,
    ref: str,
    *,
    split: Split | None = None,
    answers: tuple[str, str] | None = None,
    limit: int = 100,
) -> Found:
    """The first examples of a dataset version that have something to rate, in its order.

    Raises:
        NotFound: there is no such dataset or version.
    """
    name, number = parted(ref)
    version = await datasets.version(project_id, name, number)
    items: list[NewItem] = []
    left_out = 0
    async for example in datasets.examples(version, split=split):
        item = of_example(example, answers=answers)
        if item is None:
            left_out += 1
        else:
            items.append(item)
        if len(items) >= limit or left_out >= _LOOKED_AT:
            break
    return Found(items=tuple(items), left_out=left_out)


async def of_evaluation(
    evaluations: Evaluations,
    datasets: Datasets,
    calls: Calls,
    evaluation: Evaluation,
    *,
    targets: tuple[str, ...] = (),
    sort: Sort = "position",
    limit: int = 100,
) -> Found:
    """What targets of an evaluation answered: of one, or of two side by side.

    Args:
        evaluations: where it is.
        datasets: where its examples are.
        calls: where its answers were made: an answer whose call was deleted is left out, and goes when it is.
        evaluation: whose answers.
        targets: one name, or two for pairs; by default the first target.
        sort: which examples come first.
        limit: items at most.

    Raises:
        BadRequest: it has no such target.
        NotFound: its dataset is gone.
    """
    names = [target.name for target in evaluation.spec.targets]
    for name in targets:
        if name not in names:
            raise BadRequest(f"targets: {name[:80]!r} is none of {', '.join(names)}", param="targets")
    chosen = targets or tuple(names[:1])
    places = [names.index(name) for name in chosen]
    name, number = parted(evaluation.dataset)
    version = await datasets.version(evaluation.project_id, name, number)
    items: list[NewItem] = []
    left_out, offset = 0, 0
    while len(items) < limit:
        rows = await results.page(evaluations, evaluation, sort=sort, offset=offset, limit=_PAGE)
        for row in rows:
            outputs = [next((each.output for each in row.found if each.target == place), None) for place in places]
            given = [output for output in outputs if output is not None and not output.error and output.text]
            if len(items) >= limit:
                break
            try:
                behind = [await _behind(calls, evaluation.project_id, output) for output in given]
            except NotFound:
                behind = []
            if len(behind) < len(places):
                left_out += 1
                continue
            example = await datasets.example(version, row.example_id)
            items.append(_answered(example, [output.text for output in given], behind, chosen))
        offset += _PAGE
        if len(rows) < _PAGE:
            break
    return Found(items=tuple(items), left_out=left_out)


async def _behind(calls: Calls, project_id: int, output: Output) -> Call | None:
    """The call that gave an answer; None when its retention is over, which an evaluation may outlive.

    Raises:
        NotFound: somebody deleted it.
    """
    if output.call_id is None:
        return None
    now = datetime.now(UTC)
    wait = _DRAINED if output.call_id > floor_of(now - timedelta(minutes=1)) else 0.0
    try:
        return (await calls.get(output.call_id, project_id=project_id, wait=wait)).call
    except NotFound:
        if output.call_id < floor_of(now - timedelta(days=calls.settings.retention_days)):
            return None
        raise


def _answered(example: Example, texts: Sequence[str], behind: Sequence[Call | None], names: tuple[str, ...]) -> NewItem:
    return NewItem(
        question=variables(example.inputs),
        answer=clipped(texts[0]),
        other=clipped(texts[1]) if len(texts) > 1 else None,
        reference=None if example.expected is None else clipped(plain(example.expected)),
        example_id=example.id,
        call=behind[0],
        other_call=behind[1] if len(behind) > 1 else None,
        labels=dict(zip(("a", "b"), names, strict=False)),
    )


def of_example(example: Example, *, answers: tuple[str, str] | None = None) -> NewItem | None:
    """An example to rate: its reference, or two members of it (`answers`) side by side; None when one is not there.

    A member is looked for in the inputs, which then are shown without it, and in the metadata.
    """
    if answers is None:
        if example.expected is None:
            return None
        return NewItem(
            question=variables(example.inputs), answer=clipped(plain(example.expected)), example_id=example.id
        )
    found = [_member(example, name) for name in answers]
    if found[0] is None or found[1] is None:
        return None
    inputs: Mapping[str, Any] = {name: value for name, value in example.inputs.items() if name not in answers}
    return NewItem(
        question=variables(inputs),
        answer=found[0],
        other=found[1],
        reference=None if example.expected is None else clipped(plain(example.expected)),
        example_id=example.id,
        labels={"a": answers[0], "b": answers[1]},
    )


def answers_named(text: str | None) -> tuple[str, str] | None:
    """Two members of an example, written with a comma between.

    Raises:
        BadRequest: it is not two.
    """
    if text is None:
        return None
    first, _, second = (part.strip() for part in text.partition(","))
    if not first or not second or "," in second:
        raise BadRequest(
            f"answers: {text[:80]!r} does not name two members, such as response_a,response_b", param="answers"
        )
    return first, second


def _member(example: Example, name: str) -> str | None:
    value = example.inputs.get(name, example.metadata.get(name))
    return None if value is None else clipped(plain(value))
