"""Counts what memory did for calls, in this process, and writes the counts every few seconds. A crash loses a few of them."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Final, Literal

from loopwright.core.errors import Unavailable
from loopwright.kit.db import Database

Outcome = Literal["shown", "none", "held-out", "answered", "late"]
TAG: Final = "loopwright.memory"
_PAUSE: Final = 2.0
_CALLS: Final = b"""
    insert into memory_days (project_id, task, variant, day, outcome, calls)
    select * from unnest(%s::int[], %s::text[], %s::text[], %s::date[], %s::text[], %s::bigint[])
    on conflict (project_id, task, variant, day, outcome) do update set calls = memory_days.calls + excluded.calls
"""
_ENTRIES: Final = b"""
    insert into memory_entry_days (entry_id, day, shown, answered)
    select t.id, t.day, coalesce(sum(t.calls) filter (where not t.answered), 0),
        coalesce(sum(t.calls) filter (where t.answered), 0)
    from unnest(%s::uuid[], %s::date[], %s::bool[], %s::int[]) as t (id, day, answered, calls)
    join memory_entries e on e.id = t.id group by 1, 2 order by 1, 2
    on conflict (entry_id, day) do update set shown = memory_entry_days.shown + excluded.shown,
        answered = memory_entry_days.answered + excluded.answered
"""
_log = logging.getLogger(__name__)


class Tally:
    """Of one process."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._calls: Counter[tuple[int, str, str, date, Outcome]] = Counter()
        self._entries: Counter[tuple[str, date, bool]] = Counter()

    def add(
        self, task: tuple[int, str, str], started_ns: int, outcome: Outcome, entries: Sequence[str], *, counted: bool
    ) -> None:
        """Count a call.

        Args:
            task: project, task and variant.
            started_ns: of the call.
            outcome: what memory did.
            entries: that it was shown, or answered by.
            counted: it counts for the effect; an evaluation's does not.
        """
        day = datetime.fromtimestamp(started_ns / 1e9, UTC).date()
        if counted:
            self._calls[(*task, day, outcome)] += 1
        if outcome in ("shown", "answered"):
            for each in entries:
                self._entries[each, day, outcome == "answered"] += 1

    async def run(self) -> None:
        """Write what was counted, again and again, until cancelled; then once more."""
        try:
            while True:
                await asyncio.sleep(_PAUSE)
                await self.flush()
        finally:
            await asyncio.shield(self.flush())

    async def flush(self) -> None:
        """Write what was counted; an outage leaves it for the next time."""
        calls, entries = self._calls, self._entries
        if not calls and not entries:
            return
        self._calls, self._entries = Counter(), Counter()
        try:
            async with self._db.transaction() as connection:
                # Always in the same order: two processes that write the same rows never wait for each other in a ring.
                await connection.execute(_CALLS, _columns([(*key, calls[key]) for key in sorted(calls)], 6))
                shown = [(key[0], key[1], key[2], entries[key]) for key in sorted(entries)]
                await connection.execute(_ENTRIES, _columns(shown, 4))
        except Unavailable as error:
            self._calls.update(calls)
            self._entries.update(entries)
            _log.warning("what memory did waits to be counted: %s", error)


def _columns(rows: Sequence[tuple[object, ...]], count: int) -> list[list[object]]:
    return [[row[at] for row in rows] for at in range(count)]
