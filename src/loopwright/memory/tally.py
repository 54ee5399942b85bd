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
            async with self._db.transaction() as connection, connection.cursor() as cursor:
                # Always in the same order: two processes that write the same rows never wait for each other in a ring.
                await cursor.executemany(
                    b"insert into memory_days (project_id, task, variant, day, outcome, calls)"
                    b" values (%s, %s, %s, %s, %s, %s) on conflict (project_id, task, variant, day, outcome)"
                    b" do update set calls = memory_days.calls + excluded.calls",
                    [(*key, count) for key, count in sorted(calls.items())],
                )
                await cursor.executemany(
                    b"insert into memory_entry_days (entry_id, day, shown, answered)"
                    b" select id, %s, %s, %s from memory_entries where id = %s::uuid on conflict (entry_id, day) do update"
                    b" set shown = memory_entry_days.shown + excluded.shown,"
                    b" answered = memory_entry_days.answered + excluded.answered",
                    [
                        (day, 0 if answered else count, count if answered else 0, entry_id)
                        for (entry_id, day, answered), count in sorted(entries.items())
                    ],
                )
        except Unavailable as error:
            self._calls.update(calls)
            self._entries.update(entries)
            _log.warning("what memory did waits to be counted: %s", error)
