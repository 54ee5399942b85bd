"""Asks every target of an evaluation for one example, has the answers measured, and keeps all of it at once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from loopwright.core.errors import InvalidOutput, LoopwrightError, Spent
from loopwright.core.score import Score
from loopwright.core.who import Principal
from loopwright.datasets.example import Example
from loopwright.evals import asked
from loopwright.evals.evaluation import Evaluation, Tally
from loopwright.evals.evaluator import Output
from loopwright.evals.ledger import Ledger, Paid, Result
from loopwright.evals.measure import RAISED, Measure, details_of
from loopwright.evals.paced import Paced
from loopwright.evals.road import Prepared, Road
from loopwright.evals.table import Cell, Table
from loopwright.kit.db import plain

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Due:
    """An example to be asked."""

    position: int
    example: Example
    keys: tuple[bytes, ...]
    """By target."""
    paid: Mapping[bytes, Paid]
    again: frozenset[bytes]
    """Keys that an example before it has, too."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a target answered, and who paid."""

    output: Output
    key: bytes | None
    """None: it failed and cost nothing, so it is not kept."""
    cached: bool


@dataclass(slots=True)
class _Paying:
    """What the judges of one example cost."""

    nano: int = 0
    unpriced: int = 0

    def add(self, score: Score) -> None:
        if score.cost_nano is None:
            self.unpriced += 1
        else:
            self.nano += score.cost_nano


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Asks for one example after the other; any number at once."""

    evaluation: Evaluation
    road: Road
    who: Principal
    paced: Paced
    ledger: Ledger
    table: Table
    measures: Sequence[Measure]
    prepared: Sequence[Prepared]
    """By target."""
    definitions: Sequence[bytes]
    """Their digests."""
    nonce: str
    labels: bool
    """Whether figures need what scores say beside their numbers."""
    _flying: dict[bytes, asyncio.Event] = field(default_factory=dict)

    def keys(self, example: Example) -> tuple[bytes, ...]:
        """The names of the answers to an example, by target."""
        return tuple(asked.answer_key(each, example.inputs, self.nonce) for each in self.definitions)

    async def example(self, due: Due) -> None:
        """Everything that is to be known of one example.

        Raises:
            Spent: there is no money left for it; nothing of it counts but what was paid.
            OSError: the disk is full.
        """
        answers = await _all([self._answer(at, due) for at in range(len(due.keys))])
        paying = _Paying()
        baseline = self.evaluation.spec.baseline_at
        outputs = [each.output for each in answers]
        found = await _all(
            [
                self._scores(due.example, output, None if baseline in (None, at) else outputs[baseline or 0], paying)
                for at, output in enumerate(outputs)
            ]
        )
        self._keep(due, answers, found, paying)

    # ---- answers ----

    async def _answer(self, at: int, due: Due) -> _Answer:
        key = due.keys[at]
        paid = due.paid.get(key)
        if paid is None and key in due.again:
            while (flying := self._flying.get(key)) is not None:
                await flying.wait()
            paid = (await self.ledger.known([key])).get(key)
        if paid is not None:
            return _Answer(asked.output_read(paid.payload), key, cached=not paid.mine)
        flying = self._flying[key] = asyncio.Event()
        try:
            output = await self._asked(at, due.example)
            self.ledger.pay(key, asked.output_bytes(output))
        except Spent:
            raise
        except LoopwrightError as error:
            return _Answer(Output(error=f"{error.message} ({error.code})"), None, cached=False)
        finally:
            flying.set()
            self._flying.pop(key, None)
        return _Answer(output, key, cached=False)

    async def _asked(self, at: int, example: Example) -> Output:
        target = self.prepared[at]
        request = self.road.request(self.who, target.body(example.inputs))
        try:
            return asked.output_of(await self.paced.ask(request), formed=target.formed)
        except InvalidOutput as error:  # it answered, and was paid for it
            return Output(error=f"{error.message} ({error.code})", model=error.model)

    # ---- scores ----

    async def _scores(
        self, example: Example, output: Output, baseline: Output | None, paying: _Paying
    ) -> list[Score | None]:
        return [await self._score(each, example, output, baseline, paying) for each in self.measures]

    async def _score(
        self, measure: Measure, example: Example, output: Output, baseline: Output | None, paying: _Paying
    ) -> Score | None:
        """None is of a pair judge on the baseline itself."""
        if measure.pair and baseline is None:
            return None
        if not measure.paid or output.error is not None:
            return await measure.score(example, output)
        pair = baseline if measure.pair else None
        key = asked.score_key(measure.spec, example, (output,) if pair is None else (output, pair), self.nonce)
        paid = (await self.ledger.known([key])).get(key)
        if paid is not None:
            score = asked.score_read(paid.payload)
            if paid.mine:
                paying.add(score)
            return score
        score = await (measure.score(example, output) if pair is None else measure.compare(example, output, pair))
        paying.add(score)
        if RAISED not in score.details:
            with suppress(TypeError, ValueError):  # no JSON: then it is found out again
                self.ledger.pay(key, asked.score_bytes(score))
        return score

    # ---- what is kept ----

    def _keep(
        self, due: Due, answers: Sequence[_Answer], found: Sequence[Sequence[Score | None]], paying: _Paying
    ) -> None:
        cells, results = [], []
        tally = Tally(done=1, judging_nano=paying.nano, unpriced=paying.unpriced)
        example_id = plain(due.example.id)
        slices = {plain(name): plain(value) for name, value in due.example.slices.items()}
        for at, (answer, scores) in enumerate(zip(answers, found, strict=True)):
            output = answer.output
            values = tuple(None if score is None else score.value for score in scores)
            whole = tuple(score or Score(name="", value=None) for score in scores)
            tally += _counted(answer, scores)
            results.append(
                Result(
                    position=due.position,
                    target=at,
                    example_id=example_id,
                    slices=slices,
                    answer_key=answer.key,
                    failed=output.error is not None,
                    cached=answer.cached,
                    scores=values,
                    cost_nano=output.cost_nano,
                    latency_us=output.latency_us,
                    input_tokens=output.input_tokens,
                    output_tokens=output.output_tokens,
                    details=details_of(output.error, whole),
                )
            )
            cells.append(
                Cell(
                    values=values,
                    answered=output.error is None,
                    cached=answer.cached,
                    cost_nano=output.cost_nano,
                    latency_us=output.latency_us,
                    input_tokens=output.input_tokens,
                    output_tokens=output.output_tokens,
                    scores=whole if self.labels else (),
                )
            )
        self.ledger.find(results, tally)
        self.table.add(due.position, example_id, slices, tuple(cells))


def _counted(answer: _Answer, scores: Sequence[Score | None]) -> Tally:
    output = answer.output
    asked_for = not answer.cached and answer.key is not None
    cost = output.cost_nano or 0
    return Tally(
        answers=int(asked_for),
        cached=int(answer.cached),
        unanswered=int(output.error is not None),
        missing=sum(score is not None and score.value is None for score in scores),
        raised=sum(score is not None and RAISED in score.details for score in scores),
        input_tokens=output.input_tokens,
        output_tokens=output.output_tokens,
        cost_nano=0 if answer.cached else cost,
        saved_nano=cost if answer.cached else 0,
        unpriced=int(asked_for and output.cost_nano is None),
    )


async def _all(work: list[Coroutine[Any, Any, T]]) -> list[T]:
    """All of them at once; when one raises, the others come to their end first."""
    if len(work) == 1:
        return [await work[0]]
    done = await asyncio.gather(*work, return_exceptions=True)
    for each in done:
        if isinstance(each, BaseException):
            raise each
    return [each for each in done if not isinstance(each, BaseException)]
