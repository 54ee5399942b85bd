"""Retention of telemetry: days of spans and logs go whole, as those of calls do; points of metrics by their age."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Final

from loopwright.calls.retention import vacuum
from loopwright.kit.db import Database
from loopwright.telemetry import folding

BY_DAY: Final = ("spans", "span_logs", "span_texts")


async def retain(db: Database, now: datetime, days: int) -> int:
    """Drop what is past its retention, `days` of it; meant to run every hour. How many days of spans went.

    Raises:
        Unavailable: the database cannot answer now.
    """
    oldest = (now - timedelta(days=days)).date()
    dropped = 0
    for parent in BY_DAY:
        row = await db.row("select calls_drop_before(%s, %s) as gone", (parent, oldest))
        dropped = max(dropped, row["gone"] if row else 0)
    before = datetime.combine(oldest, time(), UTC)
    await db.run("delete from metric_points where at < %s", (before,))
    await db.run("delete from metric_series s where not exists (select from metric_points p where p.series_id = s.id)")
    await folding.retain(db, before)
    await vacuum(db, BY_DAY, now)
    return dropped
