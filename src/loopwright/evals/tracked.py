"""Runs down to the example: from the evaluation a run is of, or from what it kept as `examples.jsonl`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from loopwright.core.errors import NotFound
from loopwright.runs.comparison import Pair, Told, metrics_of, pairs, read, settings_of, tally
from loopwright.runs.run import EXAMPLES, Run
from loopwright.runs.store import Runs

MOST: Final = 20_000
"""Examples of a run that are compared."""


@dataclass(frozen=True, slots=True)
class Tracked:
    """What runs tell of single examples."""

    runs: Runs

    async def told(self, run: Run) -> Mapping[str, Told]:
        """What a run tells of each example; nothing when it tells nothing.

        Raises:
            BadRequest: its `examples.jsonl` is none.
        """
        try:
            artifact = await self.runs.artifacts.get(run, EXAMPLES)
        except NotFound:
            return {}
        with await self.runs.artifacts.open(artifact) as file:
            return await asyncio.to_thread(read, file, most=MOST)

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
