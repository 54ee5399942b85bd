"""Which examples to show in a prompt: sets drawn by chance, then one example after the other as long as it helps."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from loopwright.core.errors import BadRequest
from loopwright.datasets.example import Example
from loopwright.evals.candidate import Candidate
from loopwright.evals.optimised import Board


@dataclass(frozen=True, slots=True, kw_only=True)
class FewShot:
    """Examples of the train part, shown as answered turns, chosen by the score on the validation part."""

    shots: int = 4
    """Examples shown at most."""
    sets: int = 8
    """Sets that are drawn by chance."""
    width: int = 4
    """Examples that are tried in each step after that."""
    seed: int = 0
    name: str = "few-shot"

    async def search(self, start: Candidate, board: Board, train: Sequence[Example]) -> None:
        """As `Method` says.

        Raises:
            BadRequest: no example of the train part says what the answer should be, or the variant shows some already.
            Spent: the budget does not reach further.
        """
        if start.shots:
            raise BadRequest(
                "the variant shows examples of its own, which would stand among the chosen ones\n"
                "Improve a variant without `examples`, or use --method instructions",
                param="TASK",
            )
        usable = [example for example in train if example.expected not in (None, "", [])]
        if not usable:
            raise BadRequest("dataset: no example of its train split says what the answer should be", param="dataset")
        chance = random.Random(self.seed)  # noqa: S311 - spreads, guards nothing
        most = min(self.shots, len(usable))
        chosen: list[Example] = []
        best = await board.score(start)
        for number in range(self.sets):
            drawn = chance.sample(usable, chance.randint(1, most))
            made = start.with_examples(drawn, f"{len(drawn)} examples by chance, set {number + 1}")
            score = await board.score(made)
            if score > best:
                best, chosen = score, drawn
        await self._grow(start, board, usable, chosen, best, chance)

    async def _grow(
        self,
        start: Candidate,
        board: Board,
        usable: Sequence[Example],
        chosen: list[Example],
        best: float,
        chance: random.Random,
    ) -> None:
        """Add the example that helps most, until none does."""
        while len(chosen) < min(self.shots, len(usable)):
            have = {example.id for example in chosen}
            left = [example for example in usable if example.id not in have]
            found: tuple[float, Example] | None = None
            for each in chance.sample(left, min(self.width, len(left))):
                made = start.with_examples([*chosen, each], f"{len(chosen) + 1} examples, {each.id} added")
                score = await board.score(made)
                if found is None or score > found[0]:
                    found = (score, each)
            if found is None or found[0] <= best:
                return
            best, chosen = found[0], [*chosen, found[1]]
