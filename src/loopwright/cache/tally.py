"""What the cache did, counted in memory and added to the database now and then; and what it has been told is wrong."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from loopwright.core.chat import CacheNote
from loopwright.kit.db import Connection, Database

_DAY: Final = 86_400
_EPOCH: Final = date(1970, 1, 1)
_STEP: Final = 0.005
"""How much more alike two questions must be than the two that were not."""


@dataclass(slots=True)
class Count:
    """Of one day, project and model."""

    hits: int = 0
    semantic: int = 0
    misses: int = 0
    saved_nano: int = 0
    unpriced: int = 0


class Tally:
    """Counts of one worker."""

    def __init__(self) -> None:
        self.total = Count()
        self._open: dict[tuple[int, int, str], Count] = {}
        """By days since 1970, project and model."""

    def add(self, project_id: int, model: str, note: CacheNote) -> None:
        """Count one answer."""
        where = (int(time.time()) // _DAY, project_id, model)
        count_of_day = self._open.get(where)
        if count_of_day is None:
            count_of_day = self._open[where] = Count()
        for count in (self.total, count_of_day):
            if note.kind == "miss":
                count.misses += 1
                continue
            if note.kind == "hit":
                count.hits += 1
            else:
                count.semantic += 1
            count.saved_nano += note.saved_nano or 0
            count.unpriced += note.saved_nano is None

    async def flush(self, db: Database) -> None:
        """Add what was counted to the database.

        Raises:
            Unavailable: the database cannot answer now; what was counted is kept.
        """
        if not self._open:
            return
        taken, self._open = self._open, {}
        rows = [
            (
                _EPOCH + timedelta(days=day),
                project,
                model,
                one.hits,
                one.semantic,
                one.misses,
                one.saved_nano,
                one.unpriced,
            )
            for (day, project, model), one in sorted(taken.items())
        ]
        try:
            async with db.transaction() as connection:
                await connection.cursor().executemany(
                    b"""insert into cache_days (day, project_id, model, hits, semantic, misses, saved_nano, unpriced)
                        values (%s, %s, %s, %s, %s, %s, %s, %s)
                        on conflict (day, project_id, model) do update set hits = cache_days.hits + excluded.hits,
                            semantic = cache_days.semantic + excluded.semantic,
                            misses = cache_days.misses + excluded.misses,
                            saved_nano = cache_days.saved_nano + excluded.saved_nano,
                            unpriced = cache_days.unpriced + excluded.unpriced""",
                    rows,
                )
        except BaseException:
            self._take_back(taken)
            raise

    def _take_back(self, taken: Mapping[tuple[int, int, str], Count]) -> None:
        for where, count in taken.items():
            into = self._open.setdefault(where, Count())
            for name in Count.__slots__:
                setattr(into, name, getattr(into, name) + getattr(count, name))


async def days(db: Database, project_id: int | None, last: int) -> list[dict[str, Any]]:
    """Counts by day and model of the `last` days, newest first; of one project or all."""
    return await db.rows(
        """select day, model, sum(hits)::bigint as hits, sum(semantic)::bigint as semantic,
                  sum(misses)::bigint as misses, sum(saved_nano)::bigint as saved_nano,
                  sum(unpriced)::bigint as unpriced
           from cache_days
           where (%(project)s::int is null or project_id = %(project)s) and day > current_date - %(last)s::int
           group by day, model order by day desc, model""",
        {"project": project_id, "last": last},
    )


async def stored(db: Database, project_id: int | None) -> tuple[int, int]:
    """Answers in the database that do not lie with their calls, and their bytes."""
    row = await db.row(
        """select count(*)::bigint as entries, coalesce(sum(size), 0)::bigint as bytes from cache_entries
           where expires_at > now() and (%(project)s::int is null or project_id = %(project)s)""",
        {"project": project_id},
    )
    assert row is not None
    return row["entries"], row["bytes"]


async def thresholds(db: Database, project_id: int | None = None) -> list[dict[str, Any]]:
    """What reports of wrong hits have made of thresholds."""
    return await db.rows(
        """select project_id, model, threshold, wrong, changed_at from cache_thresholds
           where (%(project)s::int is null or project_id = %(project)s) order by project_id, model""",
        {"project": project_id},
    )


async def reported(db: Database, call_ids: Sequence[str]) -> set[str]:
    """Which of these hits were reported wrong."""
    rows = await db.rows(
        "select call_id::text as id from cache_wrong where call_id = any(%s::uuid[])", (list(call_ids),)
    )
    return {row["id"] for row in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """A hit that somebody says should not have been one."""

    call_id: str
    of_call_id: str
    project_id: int
    key_id: int
    """Who says so."""
    model: str
    kind: str
    similarity: float | None
    threshold: float
    """What held until now."""


async def note_wrong(connection: Connection, wrong: Wrong) -> bool:
    """Put a report on record and, for a semantic hit, raise the threshold over its likeness; False when it is known."""
    cursor = await connection.execute(
        b"""insert into cache_wrong (call_id, of_call_id, project_id, key_id, model, kind, similarity)
            values (%s::uuid, %s::uuid, %s, %s, %s, %s, %s) on conflict do nothing""",
        (wrong.call_id, wrong.of_call_id, wrong.project_id, wrong.key_id, wrong.model, wrong.kind, wrong.similarity),
    )
    if not cursor.rowcount:
        return False
    tightened = wrong.threshold
    if wrong.similarity is not None:
        tightened = min(max(wrong.threshold, wrong.similarity + _STEP), 1.0)
    await connection.execute(
        b"""insert into cache_thresholds (project_id, model, threshold, wrong) values (%s, %s, %s, 1)
            on conflict (project_id, model) do update set wrong = cache_thresholds.wrong + 1, changed_at = now(),
                threshold = greatest(cache_thresholds.threshold, excluded.threshold)""",
        (wrong.project_id, wrong.model, tightened),
    )
    return True
