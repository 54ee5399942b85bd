"""Asks every query in every way, and keeps which documents were found, in their order, and how long it took."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from loopwright.core.errors import LoopwrightError, NotFound, Refused
from loopwright.core.passage import Query, Search
from loopwright.core.privacy import Privacy
from loopwright.core.who import Principal
from loopwright.retrieval.collection import Collection
from loopwright.retrieval.labelled import Judged, Plan, Way

_AT_ONCE: Final = 3
_FAILURES: Final = 5
"""Searches in a row that fail and end it."""
Told = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What one way found for one query."""

    documents: Sequence[str]
    """Names, the best first, each once."""
    micros: int
    warned: str = ""
    """What was done without: a reranker that did not answer."""
    failed: str = ""
    """Why nothing was found at all."""


@dataclass(slots=True, kw_only=True)
class Assessing:
    """Measures one plan on one collection."""

    search: Search
    collection: Collection
    who: Principal
    privacy: Privacy | None = None
    _in_a_row: int = field(default=0, init=False)

    async def __call__(self, plan: Plan, told: Callable[[int, int], None]) -> dict[str, list[Answered]]:
        """What each way found for each measurable query, in their order.

        Ways take turns query by query, so that a machine that gets busy slows all of them alike.

        Raises:
            LoopwrightError: of a search, once five in a row failed.
        """
        queries = [each for each in plan.queries if each.measurable]
        found: dict[str, list[Answered]] = {way.name: [] for way in plan.ways}
        for start in range(0, len(queries), _AT_ONCE):
            for way in plan.ways:
                some = queries[start : start + _AT_ONCE]
                found[way.name] += await asyncio.gather(*(self._one(each, way, plan.cutoffs[-1]) for each in some))
            told(min(start + _AT_ONCE, len(queries)), len(queries))
        return found

    async def _one(self, judged: Judged, way: Way, k: int) -> Answered:
        query = Query(
            text=judged.text,
            collections=[self.collection.name],
            who=self.who,
            k=k,
            options={**way.options, "per_document": 1},
            privacy=self.privacy,
        )
        began = time.perf_counter_ns()
        try:
            result = await self.search(query)
        except LoopwrightError as error:
            self._in_a_row += 1
            if isinstance(error, Refused | NotFound) or self._in_a_row >= _FAILURES:
                raise
            return Answered(documents=(), micros=_since(began), failed=error.message[:300])
        self._in_a_row = 0
        names = list(dict.fromkeys(each.document for each in result.passages))
        return Answered(documents=names, micros=_since(began), warned="; ".join(result.warnings)[:300])


def _since(began: int) -> int:
    return (time.perf_counter_ns() - began) // 1_000
