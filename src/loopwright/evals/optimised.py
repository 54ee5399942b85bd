"""A prompt made better on a dataset: searched for on one part of it, proved on a part that the search never saw.

The search sees `train` and chooses by `validation`; whether the best of it beats the incumbent is decided on `test`, by
the same verdict as a gate. It proposes: nothing here gives a version to anybody.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from loopwright.core.errors import BadRequest, Spent
from loopwright.datasets.example import Example
from loopwright.evals.candidate import Candidate
from loopwright.evals.power import Kind, minimum_detectable_effect
from loopwright.evals.trials import Trial, Trials, mean
from loopwright.evals.verdict import Decision, decide

LEAST: Final = 4
"""Examples of each part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The examples, by what they are for."""

    train: Sequence[Example]
    validation: Sequence[Example]
    test: Sequence[Example]

    def check(self) -> None:
        """See that there is enough of each, and that nothing is in two.

        Raises:
            BadRequest: names the part.
        """
        for name, part in (("train", self.train), ("validation", self.validation), ("test", self.test)):
            if len(part) < LEAST:
                raise BadRequest(
                    f"dataset: its {name} split has {len(part)} examples; {LEAST} are the least\n"
                    "Give the dataset shares of train, validation and test, or say them with --split in its file",
                    param="dataset",
                )
        ids = [example.id for part in (self.train, self.validation, self.test) for example in part]
        if len({*ids}) < len(ids):
            raise BadRequest(
                "dataset: an example is in two splits: what was learnt from proves nothing", param="dataset"
            )

    def check_budget(self, calls: int) -> None:
        """See that so many calls reach for a search and its proof.

        Raises:
            BadRequest: says how many do.
        """
        if calls < self.least_calls:
            raise BadRequest(
                f"budget: {calls:,} calls do not reach: {self.least_calls:,} are the least, for two candidates on"
                f" {len(self.validation):,} examples of validation and {len(self.test):,} of test",
                param="budget",
            )

    @property
    def least_calls(self) -> int:
        """Calls without which nothing can be found and proved: two candidates validated, two proved."""
        return 2 * len(self.validation) + 2 * len(self.test)

    def detectable(self, kind: Kind = "binary") -> float:
        """The smallest improvement that the test part shows, when nothing is known of how often the two differ."""
        return minimum_detectable_effect(len(self.test), kind=kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A candidate with its score on the validation part."""

    number: int
    """From 0, the incumbent."""
    candidate: Candidate
    score: float
    calls: int
    """That were made by then."""

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "number": self.number,
            "made": self.candidate.made,
            "score": self.score,
            "calls": self.calls,
            "sha": self.candidate.sha,
            "definition": dict(self.candidate.prompt.document),
        }


@dataclass(slots=True, kw_only=True)
class Board:
    """The candidates that were validated, and the best of them."""

    trials: Trials
    validation: Sequence[Example]
    told: Callable[[Tried], None] = lambda _tried: None
    """Hears of each."""
    tried: list[Tried] = field(default_factory=list)

    async def score(self, candidate: Candidate) -> float:
        """Its mean on the validation part; one that was tried is not tried again.

        Raises:
            Spent: the budget does not reach.
        """
        known = next((each for each in self.tried if each.candidate.sha == candidate.sha), None)
        return (
            known.score
            if known is not None
            else self.record(candidate, await self.trials.of(candidate, self.validation))
        )

    def record(self, candidate: Candidate, trials: Sequence[Trial]) -> float:
        """Note what a candidate made of the whole validation part; its mean."""
        score = mean(trials)
        if all(each.candidate.sha != candidate.sha for each in self.tried):
            made = Tried(number=len(self.tried), candidate=candidate, score=score, calls=self.trials.purse.used)
            self.tried.append(made)
            self.told(made)
        return score

    @property
    def best(self) -> Tried:
        """The highest; of equal ones the one that was first, and the incumbent before all."""
        return max(self.tried, key=lambda each: (each.score, -each.number))


class Method(Protocol):
    """A way to search. Plug-in group `loopwright.optimisers`."""

    @property
    def name(self) -> str:
        """As it is asked for."""
        ...

    async def search(self, start: Candidate, board: Board, train: Sequence[Example]) -> None:
        """Have candidates scored on the board until there is nothing left to try.

        Raises:
            Spent: the budget does not reach further; what is on the board counts.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimised:
    """What came of it."""

    incumbent: Tried
    best: Tried
    decision: Decision | None
    """None when nothing was better than the incumbent on the validation part."""
    tried: Sequence[Tried]
    before: Sequence[Trial] = ()
    """The incumbent on the test part."""
    after: Sequence[Trial] = ()
    stopped: str | None = None
    """Why the search ended early."""

    @property
    def better(self) -> bool:
        """Whether it is shown that the best beats the incumbent."""
        return self.decision is not None and self.decision.verdict == "pass"

    @property
    def reason(self) -> str:
        """One sentence for people."""
        if self.decision is None:
            return f"none of {len(self.tried) - 1} candidates was better than the incumbent on the validation part"
        return self.decision.reason


async def optimise(
    start: Candidate, parts: Parts, trials: Trials, method: Method, *, told: Callable[[Tried], None] | None = None
) -> Optimised:
    """Search for a better prompt and say whether it is one.

    Args:
        start: the incumbent.
        parts: examples to learn from, to choose by, to prove on.
        trials: asks and measures; its purse bounds everything, the proof included.
        method: how to search.
        told: hears of each candidate that was validated.

    Raises:
        BadRequest: a part is too small, or the budget does not even reach for the proof.
        Spent: the money ended in the proof itself.
    """
    parts.check()
    purse = trials.purse
    parts.check_budget(purse.calls)
    board = Board(trials=trials, validation=parts.validation, told=told or (lambda _tried: None))
    purse.reserve = 2 * len(parts.test)
    stopped = None
    try:
        await board.score(start)
        await method.search(start, board, parts.train)
    except Spent as error:
        stopped = error.message
    if not board.tried:
        raise Spent(f"the budget ended before the incumbent was tried once: {stopped}")
    purse.reserve = 0
    best = board.best
    if best.number == 0:
        return Optimised(incumbent=board.tried[0], best=best, decision=None, tried=board.tried, stopped=stopped)
    before = await trials.of(start, parts.test)
    after = await trials.of(best.candidate, parts.test)
    return Optimised(
        incumbent=board.tried[0],
        best=best,
        decision=judged(before, after),
        tried=board.tried,
        before=before,
        after=after,
        stopped=stopped,
    )


def judged(before: Sequence[Trial], after: Sequence[Trial]) -> Decision:
    """Whether what comes after is better, example by example; what is missing in one is left out in both."""
    pairs = [
        (new.value, old.value)
        for old, new in zip(before, after, strict=True)
        if old.value is not None and new.value is not None
    ]
    values = {value for pair in pairs for value in pair}
    kind: Kind = "binary" if values <= {0.0, 1.0} else "score"
    return decide([new for new, _ in pairs], [old for _, old in pairs], kind=kind)


def sampled(examples: Sequence[Example], most: int | None, seed: int) -> list[Example]:
    """At most so many of them, the same for one seed, in their order."""
    if most is None or len(examples) <= most:
        return [*examples]
    chosen = {*random.Random(seed).sample(range(len(examples)), most)}  # noqa: S311 - spreads, guards nothing
    return [example for at, example in enumerate(examples) if at in chosen]
