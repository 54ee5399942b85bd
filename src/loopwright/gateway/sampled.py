"""The strategies that ask the same several times: the answer of the majority, or the one an evaluator likes best."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

from loopwright.core.chat import Chat, Request
from loopwright.core.errors import LoopwrightError
from loopwright.core.notes import Note
from loopwright.core.score import Score
from loopwright.gateway.tallied import Asker, Tallied, Whole
from loopwright.gateway.votes import count
from loopwright.gateway.worded import free_text
from loopwright.tasks.task import Step

VOTES: Final = "loopwright.votes"
"""`3/5`: samples that gave the answer, of those that were asked for."""
TIE: Final = "loopwright.tie"
SCORE: Final = "loopwright.best_score"
SAMPLES: Final = "loopwright.samples"
"""`4/5`: samples that came, of those that were asked for; where one failed."""
_T = TypeVar("_T")
_AT_ONCE: Final = 8
_SHOWN: Final = 80


class Rank(Protocol):
    """How good an answer is, by an evaluator that is told as `{kind, args}` or its bare kind."""

    async def __call__(
        self,
        evaluator: str | Mapping[str, Any],
        *,
        chat: Chat,
        request: Request,
        inputs: Mapping[str, Any],
        answer: Mapping[str, Any],
        as_json: bool,
    ) -> Score:
        """A score whose value is the higher the better.

        Args:
            evaluator: what to make it of.
            chat: whom judges ask; what that takes is counted.
            request: the call it is for.
            inputs: of the task.
            answer: a body in OpenAI's form.
            as_json: its text is JSON.

        Raises:
            BadRequest, NotFound: there is no such evaluator.
        """
        ...


async def self_consistency(asker: Asker) -> Whole:
    """The first sample that gave the answer most of them gave. A tie, and what could not be read, is told by tags.

    Raises:
        LoopwrightError: no sample came.
    """
    samples = await _samples(asker)
    strategy = asker.plan.way.strategy
    vote = count([sample.text for sample in samples], strategy, as_json=_as_json(asker.plan.way.steps[0]))
    for sample, found in zip(samples, vote.ballots, strict=True):
        sample.made.said = "cannot be read" if found is None else f"vote {found[:_SHOWN]}"
    tags = {VOTES: f"{vote.votes}/{strategy.samples}"}
    if vote.tied:
        tags[TIE] = "true"
    asker.request.notes.append(Note(tags=tags))
    return samples[vote.chosen]


async def best_of_n(asker: Asker, rank: Rank) -> Whole:
    """The sample with the highest score, the first of equals; those without a score come last.

    Raises:
        BadRequest, NotFound: the evaluator cannot be made.
        LoopwrightError: no sample came.
    """
    plan = asker.plan
    samples = await _samples(asker)
    evaluator = plan.way.strategy.evaluator or ""
    judging = Tallied(inner=asker.chat, price=asker.price, plan=plan, name="evaluator")

    async def scored(sample: Whole) -> float | None:
        score = await rank(
            evaluator,
            chat=judging,
            request=asker.request,
            inputs=plan.inputs,
            answer=sample.body,
            as_json=_as_json(plan.way.steps[0]),
        )
        sample.made.said = f"no score: {score.missing}"[:_SHOWN] if score.value is None else f"score {score.value:g}"
        return score.value

    found = await _settled([scored(sample) for sample in samples])
    for failed in found:
        if isinstance(failed, LoopwrightError):
            raise failed
    known = [(value, at) for at, value in enumerate(found) if isinstance(value, float)]
    best = max(known, key=lambda pair: (pair[0], -pair[1])) if known else None
    asker.request.notes.append(Note(tags={SCORE: "missing" if best is None else f"{best[0]:g}"}))
    return samples[0 if best is None else best[1]]


async def _samples(asker: Asker) -> list[Whole]:
    """Answers to the same question, several at once; those that failed are left out, and told."""
    wanted = asker.plan.way.strategy.samples
    turns = asyncio.Semaphore(_AT_ONCE)

    async def sample(number: int) -> Whole:
        async with turns:
            return await asker.ask(asker.plan.first, name=f"sample {number + 1}", number=number, again=number > 0)

    settled = await _settled([sample(number) for number in range(wanted)])
    found = [each for each in settled if isinstance(each, Whole)]
    if not found:
        raise next(each for each in settled if isinstance(each, LoopwrightError))
    if len(found) < wanted:
        asker.request.notes.append(Note(tags={SAMPLES: f"{len(found)}/{wanted}"}))
    return found


async def _settled(asked: Sequence[Coroutine[Any, Any, _T]]) -> list[_T | LoopwrightError]:
    """What each came to, its refusal or failure included; when this is given up, so is all of it."""
    tasks = [asyncio.ensure_future(each) for each in asked]
    found: list[_T | LoopwrightError] = []
    try:
        for task in tasks:
            try:
                found.append(await task)
            except LoopwrightError as error:
                found.append(error)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return found


def _as_json(step: Step) -> bool:
    document = step.output
    return document is not None and not free_text(document) and "enum" not in document
