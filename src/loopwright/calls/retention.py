"""Retention: days of calls go whole, as dropped partitions; what deletion left behind is vacuumed away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final

from psycopg import sql

from loopwright.calls.rollup import FINE_DAYS, SLICE_HOURS_DAYS
from loopwright.calls.slices import retain_slices
from loopwright.kit.db import Database
from loopwright.kit.settings import CallsSettings

_BY_DAY: Final = ("calls", "call_payloads", "call_groups", "call_postings")
_STALE_DAYS: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Retained:
    """What retention did."""

    days: int
    """Days of calls dropped."""
    vacuumed: int
    """Tables whose deleted rows left the disk."""


async def retain(db: Database, settings: CallsSettings, now: datetime) -> Retained:
    """Drop what is past its retention; meant to run every hour. Repeating it does nothing.

    Raises:
        Unavailable: the database cannot answer now.
    """
    # A day goes once its last call is past retention.
    oldest = (now - timedelta(days=settings.retention_days)).date()
    fine = (now - timedelta(days=FINE_DAYS)).date()
    dropped = 0
    for parent in _BY_DAY:
        row = await db.row("select calls_drop_before(%s, %s) as gone", (parent, oldest))
        dropped = max(dropped, row["gone"] if row else 0)
    for parent in ("call_rollups_5m", "call_slice_rollups_5m"):
        await db.run("select calls_drop_before(%s, %s)", (parent, fine))
    hours = (now - timedelta(days=SLICE_HOURS_DAYS)).date()
    await retain_slices(db, datetime.combine(oldest, time(), UTC), datetime.combine(max(hours, oldest), time(), UTC))
    await db.run("delete from call_unindexed where day < %s", (oldest,))
    await db.run("delete from call_days where day < %s", (oldest,))
    # A mark is needed while a spool may hold what it covers; older calls are dropped by their day anyway.
    for marks in ("call_erasures", "call_silences"):
        await db.run(f"delete from {marks} where before < %s", (now - timedelta(days=settings.retention_days + 1),))  # noqa: S608
    await db.run("delete from spool_positions where finished and touched_at < %s", (now - timedelta(days=1),))
    await db.run("delete from spool_positions where touched_at < %s", (now - timedelta(days=_STALE_DAYS),))
    return Retained(days=dropped, vacuumed=await vacuum(db, _BY_DAY, now))


async def vacuum(db: Database, parents: Sequence[str], now: datetime) -> int:
    """Clean the partitions of some tables; how many were.

    Rows deleted by request stay on disk until a vacuum, which Postgres starts only when they are many.

    Raises:
        Unavailable: the database cannot answer now.
    """
    tables = await db.rows(
        """select c.relname from pg_inherits i
           join pg_class c on c.oid = i.inhrelid
           join pg_class p on p.oid = i.inhparent
           join pg_stat_all_tables s on s.relid = c.oid
           left join pg_stat_all_tables t on t.relid = c.reltoastrelid
           where p.relname = any(%s) and p.relnamespace = to_regnamespace(current_schema())
             and (s.n_dead_tup > 0 or coalesce(t.n_dead_tup, 0) > 0)
             and greatest(s.last_vacuum, s.last_autovacuum, '-infinity') < %s""",
        (list(parents), now - timedelta(hours=1)),
    )
    for table in tables:
        await db.run(sql.SQL("vacuum {}").format(sql.Identifier(table["relname"])).as_string())
    return len(tables)
