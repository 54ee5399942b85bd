"""Sums up traces of which something came or went, behind the intake: spans and calls arrive in any order, more than once.

One trace is one row of `traces`, made anew from all that is on record. So a repeated span, a late call or a deletion
leaves no wrong sum, and what is lost here is made again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final
from uuid import UUID

from loopwright.calls.touching import TRACED
from loopwright.kit.db import Connection, Database
from loopwright.kit.ids import floor_of

_SOME: Final = 2000
"""Notes read at a time."""
_BATCHES: Final = 20
"""Of notes in one round."""
_HOUR: Final = 3600.0
_LARGE: Final = 5_000
"""Steps of a trace that is not summed up at every new span."""
_WEEK_NS: Final = 7 * 86_400 * 10**9
_CHUNK: Final = 5_000

_TAKE: Final = """
    delete from trace_touched where ctid = any(array(select ctid from trace_touched limit %s))
    returning project_id, trace_id, first_day, last_day
"""
_KNOWN: Final = """
    select trace_id, min(started_at) as low, max(started_at + duration_us * interval '1 microsecond') as high,
        sum(steps)::int as steps
    from traces where trace_id = any(%s) group by trace_id
"""
_BACK: Final = """
    insert into trace_touched (trace_id, project_id, first_day, last_day)
    select * from unnest(%s::uuid[], %s::int[], %s::date[], %s::date[])
"""
_ZERO: Final = "00000000-0000-0000-0000-000000000000"
_LAST: Final = "ffffffff-ffff-ffff-ffff-ffffffffffff"
# What follows are lookups by many ids and joins of small sets: walking one set for each row of another, which the planner
# takes to where it knows nothing of them, is the one wrong way.
_PLAN: Final = "set local enable_nestloop = off"

# A call is a span when the span names it or, of one from outside, has its id. One from outside that stands over a call
# of ours, or has one span between, tells of that very call.
_SUM: Final = f"""
with s as materialized (
    select distinct on (trace_id, project_id, span_id) trace_id, project_id, span_id, parent_id, call_id, started_ns,
        duration_us, cost_nano, input_tokens, output_tokens, status = 2 as failed, name, service, session, error, model
    from spans where trace_id = any(%(traces)s) and id between %(first)s::uuid and %(last)s::uuid
    order by trace_id, project_id, span_id, started_ns
), c as materialized (
    select c.trace_id, c.project_id, c.id, c.span_id, c.parent_id, c.series_id, c.cost_nano, c.input_tokens, c.output_tokens,
        c.session, c.error, c.outcome in (1, 2, 4) as failed, c.client like 'otlp:%%' as outside, c.latency_us,
        (extract(epoch from c.started_at) * 1000000)::bigint * 1000 as started_ns
    from calls c where c.trace_id = any(%(traces)s) and {TRACED} and c.id between %(first)s::uuid and %(last)s::uuid
), ours as (
    select trace_id, project_id, parent_id as span_id from c where not outside
    union
    select b.trace_id, b.project_id, b.parent_id from c
    join s b on b.trace_id = c.trace_id and b.project_id = c.project_id and b.span_id = c.parent_id
    where not c.outside and b.parent_id is not null
), naming as (
    select trace_id, project_id, call_id, bool_or(failed) as failed from s where call_id is not null group by 1, 2, 3
), told as (
    select c.*, m.model, coalesce(m.task, m.model) as about, m.operation, o.span_id is not null and c.outside as twice,
        n.call_id is not null or b.span_id is not null as merged, coalesce(n.failed, b.failed, false) as said
    from c join call_series m on m.id = c.series_id
    left join ours o on o.trace_id = c.trace_id and o.project_id = c.project_id and o.span_id = c.span_id
    left join naming n on n.trace_id = c.trace_id and n.project_id = c.project_id and n.call_id = c.id
    left join s b on b.trace_id = c.trace_id and b.project_id = c.project_id and b.span_id = c.span_id and c.outside
), line as materialized (
    select trace_id, project_id, started_ns, started_ns + duration_us * 1000 as ended_ns, (parent_id is not null)::int as place,
        1 as steps, 0 as calls, failed::int as failed, case when call_id is null then coalesce(cost_nano, 0) else 0 end as cost_nano,
        case when call_id is null then input_tokens else 0 end as input_tokens,
        case when call_id is null then output_tokens else 0 end as output_tokens, 0 as unpriced, name, service, session, error,
        case when call_id is null and cost_nano is not null then model end as model
    from s
    union all
    select trace_id, project_id, started_ns, started_ns + latency_us * 1000, case when merged then 2 else (parent_id is not null)::int end,
        (not merged)::int, (not twice)::int, (failed and not said)::int, case when twice then 0 else coalesce(cost_nano, 0) end,
        case when twice then 0 else input_tokens end, case when twice then 0 else output_tokens end,
        (cost_nano is null and not twice)::int, operation || ' ' || about, 'loopwright', session, error,
        case when twice then null else model end
    from told
), root as (
    select distinct on (trace_id, project_id) trace_id, project_id, left(name, 300) as name, service, place > 0 as rootless,
        started_ns as root_ns, ended_ns as root_end
    from line order by trace_id, project_id, place, started_ns
), summed as (
    select trace_id, project_id, min(started_ns) as low, max(ended_ns) as high, sum(steps) as steps, sum(calls) as calls,
        sum(failed) as failed, sum(cost_nano) as cost_nano, sum(input_tokens) as input_tokens, sum(output_tokens) as output_tokens,
        sum(unpriced) as unpriced, min(session) as session, min(left(error, 300)) filter (where failed > 0) as error,
        array_agg(distinct model) filter (where model is not null) as models
    from line group by trace_id, project_id
), named as (
    insert into trace_series (project_id, name, service) select distinct project_id, name, service from root r
    where not exists (
        select from trace_series k where k.project_id = r.project_id and k.name = r.name and k.service = r.service)
    on conflict (project_id, name, service) do nothing returning id, project_id, name, service
), put as (
insert into traces as t (trace_id, project_id, started_at, duration_us, cost_nano, input_tokens, output_tokens, series_id, steps,
    calls, failed, unpriced, rootless, session, error, models)
select u.trace_id, u.project_id,
    'epoch'::timestamptz + (case when u.high - u.low > %(week)s then r.root_ns else u.low end / 1000) * interval '1 microsecond',
    greatest((case when u.high - u.low > %(week)s then r.root_end - r.root_ns else u.high - u.low end) / 1000, 0),
    u.cost_nano, u.input_tokens, u.output_tokens, coalesce(n.id, k.id), u.steps, u.calls, u.failed, u.unpriced, r.rootless,
    u.session, u.error, u.models[1:20]
from summed u
join root r on r.trace_id = u.trace_id and r.project_id = u.project_id
left join named n on n.project_id = r.project_id and n.name = r.name and n.service = r.service
left join trace_series k on k.project_id = r.project_id and k.name = r.name and k.service = r.service
on conflict (trace_id, project_id) do update set
    started_at = excluded.started_at, duration_us = excluded.duration_us, cost_nano = excluded.cost_nano,
    input_tokens = excluded.input_tokens, output_tokens = excluded.output_tokens, series_id = excluded.series_id,
    steps = excluded.steps, calls = excluded.calls, failed = excluded.failed, unpriced = excluded.unpriced,
    rootless = excluded.rootless, session = excluded.session, error = excluded.error, models = excluded.models
where t is distinct from excluded
)
select trace_id, project_id from root
"""  # noqa: S608 - the index's condition, a constant
_GONE: Final = """
    delete from traces t where t.trace_id = any(%s) and not exists (
        select from unnest(%s::uuid[], %s::int[]) as f (trace_id, project_id)
        where f.trace_id = t.trace_id and f.project_id = t.project_id)
"""


class Folding:
    """Sums up behind the intake; a round of the recorder, which sees to it that only one machine is at it."""

    name: Final = "traces"
    every: Final = 2.0
    """Seconds: what comes in pieces, and the calls that the drain makes of spans, are summed up once."""

    def __init__(self, db: Database, retention_days: int = 90) -> None:
        self._db = db
        self._kept = timedelta(days=retention_days)
        self._tidied: float | None = None
        self._when: dict[UUID, float] = {}
        """Of large traces, when they are due again."""

    async def __call__(self) -> None:
        """Sum up what waits, and each hour forget what is past its retention.

        Raises:
            Unavailable: the database cannot answer now.
        """
        for _ in range(_BATCHES):
            if await self.once() == 0:
                break
        now = asyncio.get_running_loop().time()
        if self._tidied is None or now - self._tidied > _HOUR:
            self._tidied = now
            await retain(self._db, datetime.now(UTC) - self._kept)

    async def once(self) -> int:
        """Sum up what waits, up to some thousand notes; how many traces were.

        Raises:
            Unavailable: the database cannot answer now.
        """
        if await self._db.row("select from trace_touched limit 1") is None:
            return 0
        async with self._db.transaction() as connection:
            cursor = await connection.execute(_TAKE, (_SOME,))
            return await self._fold(connection, await cursor.fetchall())

    async def _fold(self, connection: Connection, notes: list[dict[str, Any]]) -> int:
        wanted = list({note["trace_id"] for note in notes})
        cursor = await connection.execute(_KNOWN, (wanted,))
        known = {row["trace_id"]: row for row in await cursor.fetchall()}
        later = self._later(known)
        if later:
            back = [note for note in notes if note["trace_id"] in later]
            columns = ("trace_id", "project_id", "first_day", "last_day")
            await connection.execute(_BACK, [[note[name] for note in back] for name in columns])
        due = [trace for trace in wanted if trace not in later]
        if not due:
            return 0
        asked = {"traces": due, "week": _WEEK_NS, **_window(notes, known.values())}
        await connection.execute(_PLAN)
        cursor = await connection.execute(_SUM.encode(), asked)
        if gone := known.keys() & set(due):  # of what was there before something may be gone whole
            there = [(row["trace_id"], row["project_id"]) for row in await cursor.fetchall()]
            left = [name for name in there if name[0] in gone]
            await connection.execute(_GONE, (list(gone), [name[0] for name in left], [name[1] for name in left]))
        return len(due)

    def _later(self, known: Mapping[UUID, dict[str, Any]]) -> set[UUID]:
        """Large ones are summed up again only after a while, or each new span would read all of them."""
        now = asyncio.get_running_loop().time()
        self._when = {trace: at for trace, at in self._when.items() if at > now}
        later = self._when.keys() & known.keys()
        for trace in known.keys() - later:
            if known[trace]["steps"] > _LARGE:
                self._when[trace] = now + known[trace]["steps"] / _LARGE
        return later


def _window(notes: Iterable[Mapping[str, Any]], known: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Between which ids everything of these traces lies: days that came, and the days that are summed up already."""
    days = [note[end] for note in notes for end in ("first_day", "last_day")]
    if None in days:
        return {"first": _ZERO, "last": _LAST}
    days += [row[end].astimezone(UTC).date() for row in known for end in ("low", "high")]
    first = datetime.combine(min(days), time(), UTC)
    last = datetime.combine(max(days), time(), UTC) + timedelta(days=1)
    return {"first": floor_of(first), "last": floor_of(last)}


async def retain(db: Database, before: datetime) -> int:
    """Forget the sums of traces that began before `before`, as their spans and calls are; how many.

    Raises:
        Unavailable: the database cannot answer now.
    """
    gone = 0
    while True:
        some = await db.run(
            """delete from traces where ctid = any(array(select ctid from traces
                   where started_at < %s and started_at + duration_us * interval '1 microsecond' < %s limit %s))""",
            (before, before, _CHUNK),
        )
        gone += some
        if some < _CHUNK:
            break
    await db.run("delete from trace_series s where not exists (select from traces t where t.series_id = s.id)")
    return gone
