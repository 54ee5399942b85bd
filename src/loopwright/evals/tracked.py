"""Runs down to the example: from the evaluation a run is of, or from what it kept as `examples.jsonl`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from loopwright.core.errors import NotFound
from loopwright.runs.comparison import Pair, Told, pairs, read
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
