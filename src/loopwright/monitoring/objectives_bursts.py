"""Calls that have just begun to fail, read from the calls themselves: an hour's window would fill up too slowly.

While all is well this reads an index that holds nothing: only failed calls are in it.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

from loopwright.kit.db import Database
from loopwright.kit.ids import floor_of

WINDOW: Final = timedelta(minutes=3)
"""How far back calls are looked at, by when they began."""
_MOST: Final = 5_000
_LATEST: Final = 400
"""Calls of a group that are looked at."""
_FAILING: Final = """
    select series_id, count(*) as failed
    from (select c.series_id from calls c
          where c.outcome in (1, 4) and c.outcome <> 0 and c.id >= %s::uuid order by c.id desc limit %s) found
    group by series_id
"""
_CALLS: Final = """
    select c.started_at, c.outcome in (1, 4) as bad
    from (select c.started_at, c.outcome, c.latency_us from calls c
          where c.series_id = any(%s::int[]) and c.id >= %s::uuid and c.outcome not in (2, 3)
          order by c.id desc limit %s) c
    order by c.started_at + c.latency_us * interval '1 microsecond'
"""


async def failing(db: Database, now: datetime) -> dict[int, int]:
    """Failed calls by series, of the last three minutes.

    Raises:
        Unavailable: the database cannot answer now.
    """
    rows = await db.rows(_FAILING, (floor_of(now - WINDOW), _MOST))
    return {row["series_id"]: int(row["failed"]) for row in rows}


async def latest(db: Database, series: Collection[int], now: datetime) -> list[tuple[datetime, bool]]:
    """(when it began, whether it failed) of the latest calls of some series, in the order in which they ended.

    Raises:
        Unavailable: the database cannot answer now.
    """
    rows = await db.rows(_CALLS, (list(series), floor_of(now - WINDOW), _LATEST))
    return [(row["started_at"], row["bad"]) for row in rows]
