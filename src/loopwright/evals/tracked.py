"""Runs down to the example: from the evaluation a run is of, or from what it kept as `examples.jsonl`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from loopwright.core.errors import NotFound
from loopwright.evals import results
from loopwright.evals.store import Evaluations
from loopwright.runs.comparison import Pair, Told, metrics_of, pairs, read, settings_of, tally
from loopwright.runs.run import EXAMPLES, Run
from loopwright.runs.store import Runs

MOST: Final = 20_000
"""Examples of a run that are compared."""
_PAGE: Final = 1_000
_CLIP: Final = 4_000


@dataclass(frozen=True, slots=True)
class Tracked:
    """What runs tell of single examples."""

    runs: Runs
    evaluations: Evaluations

    async def told(self, run: Run) -> Mapping[str, Told]:
        """What a run tells of each example; nothing when it tells nothing.

        Raises:
            BadRequest: its `examples.jsonl` is none.
        """
        if run.evaluation_id is not None:
            return await self._measured(run, run.evaluation_id)
        try:
            artifact = await self.runs.artifacts.get(run, EXAMPLES)
        except NotFound:
            return {}
        with await self.runs.artifacts.open(artifact) as file:
            return await asyncio.to_thread(read, file, most=MOST)

    async def _measured(self, run: Run, evaluation_id: str) -> Mapping[str, Told]:
        """What an evaluation found of the target that the run is."""
        try:
            evaluation = await self.evaluations.show(evaluation_id, project_id=run.project_id)
        except NotFound:  # it was deleted; the run keeps its figures
            return {}
        names = [target.name[:200] for target in evaluation.spec.targets]
        at = names.index(run.target) if run.target in names else 0
        told = (evaluation.findings or {}).get("evaluators", [])
        lower = frozenset(str(each["name"]) for each in told if not each.get("higher_is_better", True))
        found: dict[str, Told] = {}
        while len(found) < MOST:
            rows = await results.page(self.evaluations, evaluation, offset=len(found), limit=_PAGE)
            for row in rows:
                here = next((each for each in row.found if each.target == at), None)
                found[row.example_id] = Told(
                    example_id=row.example_id,
                    scores={} if here is None else {score.name: score.value for score in here.scores},
                    output=None if here is None else here.error or (here.output.text[:_CLIP] if here.output else None),
                    lower=lower,
                )
            if len(rows) < _PAGE:
                break
        return found

    async def pairs(self, a: Run, b: Run) -> Sequence[Pair]:
        """The examples of both, those that became worse from a to b first.

        Raises:
            BadRequest: the `examples.jsonl` of one is none.
        """
        return pairs(await self.told(a), await self.told(b))

    async def detail(self, run: Run) -> dict[str, Any]:
        """A run with its notes and artifacts, as JSON."""
        return {
            **run.shown(),
            "notes": [note.shown() for note in await self.runs.notes(run)],
            "artifacts": [artifact.shown() for artifact in await self.runs.artifacts.list(run)],
        }

    async def compared(self, a: Run, b: Run, *, changed: bool = False, limit: int = 200) -> dict[str, Any]:
        """Two runs side by side, as JSON: with `changed` only the examples that became better or worse."""
        told = await self.pairs(a, b)
        shown = [each for each in told if each.change or not changed]
        return {
            "a": await self.detail(a),
            "b": await self.detail(b),
            "settings": [row.shown() for row in settings_of(a, b)],
            "metrics": [row.shown() for row in metrics_of(a, b)],
            "examples": {
                **tally(told),
                "pairs": [each.shown() for each in shown[:limit]],
                "more": max(len(shown) - limit, 0),
            },
        }
