"""Rolls up scores: buckets of which something was said are made anew from the scores themselves, so nothing counts twice.

Marks say which (`feedback_marks`). They are only ever inserted and deleted: what commits while a bucket is made anew
leaves a mark of its own behind, and the bucket is made once more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Final

from loopwright.kit.db import Connection, Database
from loopwright.kit.ids import floor_of

FIVE_MINUTES: Final = 300
HOUR: Final = 3600
DAY: Final = 86_400
FINE_DAYS: Final = 2
"""Days that the five-minute rows are kept."""
_OLD: Final = timedelta(days=FINE_DAYS - 1)
"""Beyond it, an hour is made of scores, not of five minutes that may be gone."""
MOST_LABELS: Final = 30
"""Words of one score in a bucket that are counted by themselves."""
OTHER: Final = "(other)"
_MOST_MARKS: Final = 20_000
_MOST_BUCKETS: Final = 300
"""Made anew in one transaction."""
_LOCK: Final = 0x73636F72
MADE: Final = """
    count(*) as scores, sum(f.weight::float8) as weight, count(f.value) as valued,
    coalesce(sum(f.weight::float8) filter (where f.value is not null), 0) as w,
    coalesce(sum(f.weight::float8 * f.value), 0) as wx,
    coalesce(sum(f.weight::float8 * f.weight) filter (where f.value is not null), 0) as ww,
    coalesce(sum(f.weight::float8 * f.weight * f.value), 0) as wwx,
    coalesce(sum(f.weight::float8 * f.weight * f.value * f.value), 0) as wwxx,
    coalesce(sum(f.weight::float8 * f.value * f.value), 0) as wxx, min(f.value) as low, max(f.value) as high,
    count(f.passed) as judged, coalesce(sum(f.weight::float8) filter (where f.passed is not null), 0) as wj,
    coalesce(sum(f.weight::float8) filter (where f.passed), 0) as wp, count(*) filter (where not f.passed) as failed,
    coalesce(sum(f.cost_nano), 0)::bigint as nano
"""
"""The sums of a roll-up, of `feedback_scores f`."""
_COLUMNS: Final = (
    "bucket, series_id, name, source, label, scores, weight, valued, w, wx, ww, wwx, wwxx, wxx, low, high, judged, wj, wp,"
    " failed, nano"
)
_ADDED: Final = (
    "sum(scores), sum(weight), sum(valued), sum(w), sum(wx), sum(ww), sum(wwx), sum(wwxx), sum(wxx), min(low), max(high),"
    " sum(judged), sum(wj), sum(wp), sum(failed), sum(nano)"
)
_RAW: Final = """
    select {bucket} as bucket, c.series_id, f.name, f.source, coalesce(f.label, '') as label, {made}
    from feedback_scores f join calls c on c.id = f.call_id
    where f.call_id >= %(low)s::uuid and f.call_id < %(high)s::uuid group by 1, 2, 3, 4, 5
"""
_PUT: Final = """
    insert into {table} ({columns})
    select bucket, series_id, name, source, case when rank > {most} then '{other}' else label end, {added}
    from (select *, case when label = '' then 0 else row_number() over (
              partition by bucket, series_id, name, source, label = '' order by weight desc, label) end as rank
          from ({rows}) made) ranked
    group by 1, 2, 3, 4, 5
"""


_MORE: Final = ", ".join(
    f"{name} = {'least' if name == 'low' else 'greatest' if name == 'high' else ''}"
    + (f"(t.{name}, excluded.{name})" if name in ("low", "high") else f"t.{name} + excluded.{name}")
    for name in _COLUMNS.split(", ")[5:]
)
_UNWORDED: Final = """
    with gone as (delete from {table} where bucket < %s and label not in ('', '{other}') returning *)
    insert into {table} as t ({columns})
    select bucket, series_id, name, source, '{other}', {added} from gone group by 1, 2, 3, 4
    on conflict (bucket, series_id, name, source, label) do update set {more}
"""


@dataclass(frozen=True, slots=True)
class RollUps:
    """The round that keeps roll-ups of scores current. It belongs beside the drain: it asks nobody but the database."""

    name: ClassVar[str] = "monitoring.scores"
    every: ClassVar[float] = 2.0
    db: Database

    async def __call__(self) -> None:
        """Make anew what something was said of since the last time."""
        more = True
        while more:
            more = await self.once()

    async def once(self) -> bool:
        """A first part of it; whether more may be waiting."""
        async with self.db.transaction() as connection:
            await connection.execute(b"select pg_advisory_xact_lock(%s)", (_LOCK,))
            cursor = await connection.execute(
                b"delete from feedback_marks where id in (select id from feedback_marks order by id limit %s) returning bucket",
                (_MOST_MARKS,),
            )
            marks = {row["bucket"] for row in await cursor.fetchall()}
            if len(marks) > _MOST_BUCKETS:
                later = sorted(marks)[_MOST_BUCKETS:]
                marks -= set(later)
                await connection.execute(
                    b"insert into feedback_marks (bucket) select * from unnest(%s::timestamptz[])", (later,)
                )
            await remade(connection, marks)
        return len(marks) >= _MOST_BUCKETS

    async def tidy(self, now: datetime, days: int, *, worded: int) -> None:
        """Let go of five-minute rows that are past their time, of days past `days`, and of words past `worded` days.

        Words are what somebody said: they go with the calls, whose retention that is.
        """
        for table in ("score_rollups_1h", "score_rollups_1d"):
            await self.db.run(
                _UNWORDED.format(table=table, columns=_COLUMNS, added=_ADDED, other=OTHER, more=_MORE),
                (now - timedelta(days=worded + 1),),
            )
        await self.db.run("delete from score_rollups_5m where bucket < %s", (now - timedelta(days=FINE_DAYS + 1),))
        for table in ("score_rollups_1h", "score_rollups_1d"):
            await self.db.run(f"delete from {table} where bucket < %s", (now - timedelta(days=days),))  # noqa: S608


async def remade(connection: Connection, buckets: Iterable[datetime], now: datetime | None = None) -> None:
    """Make five-minute buckets anew, and the hours and days they are in."""
    old = (now or datetime.now(UTC)) - _OLD
    hours: dict[datetime, bool] = {}
    for bucket in sorted(buckets):
        hour = bucket.replace(minute=0, second=0, microsecond=0)
        fresh = hours[hour] = hour >= old
        if fresh:
            await _anew(connection, "score_rollups_5m", bucket, _raw(bucket, FIVE_MINUTES))
    for hour, fresh in hours.items():
        rows = _finer("score_rollups_5m", hour, HOUR) if fresh else _raw(hour, HOUR)
        await _anew(connection, "score_rollups_1h", hour, rows)
    for day in sorted({hour.replace(hour=0) for hour in hours}):
        await _anew(connection, "score_rollups_1d", day, _finer("score_rollups_1h", day, DAY))


Rows = tuple[str, dict[str, object]]


def _raw(start: datetime, width: int) -> Rows:
    end = start + timedelta(seconds=width)
    text = _RAW.format(bucket="%(start)s::timestamptz", made=MADE)
    return text, {"low": floor_of(start), "high": floor_of(end)}


def _finer(table: str, start: datetime, width: int) -> Rows:
    columns = _COLUMNS.removeprefix("bucket, ")
    text = f"select %(start)s::timestamptz as bucket, {columns} from {table} where bucket >= %(start)s and bucket < %(end)s"  # noqa: S608
    return _added(text), {"end": start + timedelta(seconds=width)}


def _added(rows: str) -> str:
    """Rows of one label put together before labels are ranked."""
    names = _COLUMNS.split(", ")[5:]
    added = ", ".join(f"{each} as {name}" for each, name in zip(_ADDED.split(", "), names, strict=True))
    return f"select bucket, series_id, name, source, label, {added} from ({rows}) each group by 1, 2, 3, 4, 5"  # noqa: S608


async def _anew(connection: Connection, table: str, start: datetime, rows: Rows) -> None:
    text, params = rows
    params = params | {"start": start}
    await connection.execute(f"delete from {table} where bucket = %(start)s".encode(), params)  # noqa: S608
    statement = _PUT.format(table=table, columns=_COLUMNS, most=MOST_LABELS, other=OTHER, added=_ADDED, rows=text)
    await connection.execute(statement.encode(), params)
