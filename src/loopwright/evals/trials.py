"""Candidates tried on examples within a budget: what each answered, and how good that was. Nothing is asked twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from loopwright.core.errors import BadRequest, LoopwrightError, Spent
from loopwright.core.money import usd
from loopwright.core.score import Score
from loopwright.datasets.example import Example
from loopwright.evals.candidate import Candidate, answer
from loopwright.evals.evaluator import Output
from loopwright.evals.measure import Measure

Ask = Callable[[Sequence[Mapping[str, Any]]], Awaitable[Output]]
"""Asks the model of the variant; raises LoopwrightError."""
_CLIP: Final = 4_000


@dataclass(slots=True, kw_only=True)
class Purse:
    """What an optimisation may use, and has used: calls of any model, and money as far as prices are known."""

    calls: int
    nano: int | None = None
    """Nanodollars; None is without a bound."""
    used: int = 0
    spent: int = 0
    """Nanodollars of the calls whose price is known."""
    unpriced: int = 0
    reserve: int = 0
    """Calls that are kept back, for the proof at the end."""

    def take(self) -> None:
        """One more call.

        Raises:
            Spent: there is nothing left for it.
        """
        if self.used + self.reserve >= self.calls:
            raise Spent(
                f"{self.used:,} calls were made, of {self.calls:,} that may be ({self.reserve:,} are kept back)"
            )
        if self.nano is not None and self.spent + self.reserve * self.mean >= self.nano:
            raise Spent(f"${usd(self.spent)} is spent, of ${usd(self.nano)} that may be")
        self.used += 1

    def pay(self, nano: int | None) -> None:
        """What a call cost; None is unpriced."""
        if nano is None:
            self.unpriced += 1
        else:
            self.spent += nano

    @property
    def mean(self) -> float:
        """Nanodollars a call cost so far."""
        return self.spent / self.used if self.used else 0.0

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {"calls": self.used, "usd": usd(self.spent), "unpriced": self.unpriced, "most_calls": self.calls}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a candidate made of one example."""

    example: Example
    output: Output
    scores: tuple[Score, ...]
    """The first is the one that decides."""
    value: float | None
    """What it decides by, higher is better; None is missing."""

    @property
    def feedback(self) -> str:
        """What there is to learn from it, for a model that writes instructions."""
        if self.output.error is not None:
            return f"There was no answer: {self.output.error}"
        first = self.scores[0]
        parts = [f"Score: {'none' if first.value is None else format(first.value, '.4g')}."]
        if first.missing:
            parts.append(first.missing)
        if first.explanation:
            parts.append(first.explanation)
        if self.example.expected is not None:
            parts.append(f"The right answer is: {answer(self.example.expected)}")
        return " ".join(parts)[:_CLIP]

    def shown(self) -> dict[str, Any]:
        """A row by which runs compare down to the example."""
        output = self.output
        return {
            "example_id": self.example.id,
            "inputs": dict(self.example.inputs),
            "expected": self.example.expected,
            "output": output.text if output.error is None else output.error,
            "scores": {score.name: score.value for score in self.scores},
        }


@dataclass(slots=True, kw_only=True)
class Trials:
    """Asks, measures, remembers."""

    ask: Ask
    measures: Sequence[Measure]
    purse: Purse
    at_once: int = 8
    told: Callable[[Purse], None] = lambda _purse: None
    """Hears of each call."""
    _known: dict[tuple[str, str], Trial] = field(default_factory=dict)

    async def of(self, candidate: Candidate, examples: Sequence[Example]) -> list[Trial]:
        """What the candidate makes of each example, in their order.

        Raises:
            Spent: the budget does not reach; what was answered until then is remembered.
        """
        slots = asyncio.Semaphore(self.at_once)

        async def one(example: Example) -> Trial:
            known = self._known.get((candidate.sha, example.id))
            if known is not None:
                return known
            async with slots:
                found = await self._tried(candidate, example)
            self._known[candidate.sha, example.id] = found
            return found

        done = await asyncio.gather(*(one(example) for example in examples), return_exceptions=True)
        for each in done:
            if isinstance(each, BaseException):
                raise each
        return [each for each in done if isinstance(each, Trial)]

    async def _tried(self, candidate: Candidate, example: Example) -> Trial:
        try:
            messages = candidate.messages(example.inputs)
            self.purse.take()
            output = await self.ask(messages)
            self.purse.pay(output.cost_nano)
        except Spent:
            raise
        except LoopwrightError as error:
            output = Output(error=f"{error.message} ({error.code})")
        scores = []
        for measure in self.measures:
            score = await measure.score(example, output) if output.error is None else _none(measure, output)
            self.purse.pay(score.cost_nano)
            scores.append(score)
        self.told(self.purse)
        value = scores[0].value
        if value is not None and not self.measures[0].higher_is_better:
            value = -value
        return Trial(example=example, output=output, scores=tuple(scores), value=value)


def mean(trials: Sequence[Trial]) -> float:
    """The mean of what decides; what is missing counts as the least that was found, or zero.

    Raises:
        BadRequest: there is no trial.
    """
    if not trials:
        raise BadRequest("there is no example to try", param="examples")
    known = [trial.value for trial in trials if trial.value is not None]
    least = min([0.0, *known])
    return sum(least if trial.value is None else trial.value for trial in trials) / len(trials)


def _none(measure: Measure, output: Output) -> Score:
    return Score(name=measure.name, value=None, missing=f"no answer: {output.error}")
