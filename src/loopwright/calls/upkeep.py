"""Keeps the days of calls quick and small: fresh statistics while a day grows, dense indexes once it is over.

Postgres looks after its tables by itself, but only about once a minute: after a burst the planner would know nothing
of a new day, and take the wrong way to its rare rows (measured: 70 ms for a rare tag, 1 ms with statistics). Indexes
that were filled in an order other than their own stay half empty (measured: 265 bytes a call, 160 once rebuilt).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Final

import psycopg

from loopwright.calls.indexer import Indexer
from loopwright.core.errors import Unavailable
from loopwright.kit.db import Database

_FIRST_ANALYSED: Final = 5_000
"""Calls of a day at which its statistics are first taken; then each time it is four times as large."""
_GROWTH: Final = 4
_QUIET_SECONDS: Final = 120.0
"""A day that got calls more lately than this is not over, whatever the date."""
_PAUSE: Final = 0.5
_SETTLE_SECONDS: Final = 60.0
_CLAIM: Final = """
    insert into call_days as d (day) values (%s)
    on conflict (day) do update set claimed_at = now()
        where d.settled_at is null and d.claimed_at < now() - interval '1 hour'
"""
_log = logging.getLogger(__name__)


class Upkeep:
    """Looks after the partitions of `calls`. Any number may run."""

    def __init__(self, db: Database, indexer: Indexer | None) -> None:
        """`indexer` merges what is left of a day's full text; None when there is none."""
        self._db = db
        self._indexer = indexer
        self._sizes: dict[date, int] = {}
        self._next: dict[date, int] = {}
        self._grown_at = time.monotonic()

    def grew(self, calls: Mapping[date, int]) -> None:
        """Take note that days got so many calls more."""
        for day, count in calls.items():
            self._sizes[day] = self._sizes.get(day, 0) + count
            self._next.setdefault(day, _FIRST_ANALYSED)
        # A machine that was away brings old days along: none is settled while any of them may still grow.
        if any(day < datetime.now(UTC).date() for day in calls):
            self._grown_at = time.monotonic()

    async def run(self) -> None:
        """Look after the days until cancelled; an outage of the database is waited out."""
        settled_at = time.monotonic()
        while True:
            await asyncio.sleep(_PAUSE)
            try:
                await self.analyse()
                now = time.monotonic()
                if now - self._grown_at > _QUIET_SECONDS and now - settled_at > _SETTLE_SECONDS:
                    settled_at = now
                    await self.settle()
            except (Unavailable, psycopg.Error) as error:
                # What is not done now is done later, and nobody's calls depend on it.
                _log.warning("the tables of calls are not looked after now: %s", error)
                await asyncio.sleep(_SETTLE_SECONDS)

    async def analyse(self) -> int:
        """Take the statistics of the days that grew enough; how many.

        Raises:
            Unavailable: the database cannot answer now.
        """
        due = [day for day, size in self._sizes.items() if size >= self._next[day]]
        for day in due:
            self._next[day] = self._sizes[day] * _GROWTH
            if await self._exists(day):
                await self._db.run(f"analyze {_table(day)}")
        return len(due)

    async def settle(self, today: date | None = None) -> int:
        """Tidy the days that are over: full text in one piece, indexes rebuilt, statistics taken; how many.

        Raises:
            Unavailable: the database cannot answer now.
        """
        done = 0
        for row in await self._db.rows("select calls_unsettled(%s) as day", (today or datetime.now(UTC).date(),)):
            day = row["day"]
            if not await self._db.run(_CLAIM, (day,)):
                continue
            if self._indexer is not None:
                await self._indexer.merge_day(day)
            # Neither holds up who reads or writes the day.
            await self._db.run(f"reindex table concurrently {_table(day)}")
            await self._db.run(f"vacuum (analyze) {_table(day)}")
            await self._db.run("update call_days set settled_at = now() where day = %s", (day,))
            self._sizes.pop(day, None)
            self._next.pop(day, None)
            done += 1
        return done

    async def _exists(self, day: date) -> bool:
        row = await self._db.row("select to_regclass(%s) is not null as there", (_table(day),))
        return bool(row and row["there"])


def _table(day: date) -> str:
    return f"calls_{day:%Y%m%d}"
