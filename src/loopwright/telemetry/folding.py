"""Sums up traces of which something came or went, behind the intake: spans and calls arrive in any order, more than once.

One trace is one row of `traces`, made anew from all that is on record. So a repeated span, a late call or a deletion
leaves no wrong sum, and what is lost here is made again.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, Final

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
    returning project_id, trace_id, first_id, last_id
"""
_WINDOWS: Final = """
    select w.project_id, w.trace_id, least(w.first_id, t.first_id) as first_id, greatest(w.last_id, t.last_id) as last_id,
        coalesce(t.steps, 0) as steps
    from unnest(%s::int[], %s::uuid[], %s::uuid[], %s::uuid[]) as w (project_id, trace_id, first_id, last_id)
    left join traces t using (project_id, trace_id)
"""
_ZERO: Final = "00000000-0000-0000-0000-000000000000"
_LAST: Final = "ffffffff-ffff-ffff-ffff-ffffffffffff"

# A call is a span when the span names it or, of one from outside, has its id. One from outside that stands over a call
# of ours, or has one HTTP span between, tells of that very call.
_SUM: Final = f"""
with wanted as materialized (
    select * from unnest(%(projects)s::int[], %(traces)s::uuid[]) as w (project_id, trace_id)
), s as materialized (
    select distinct on (s.project_id, s.trace_id, s.span_id) s.project_id, s.trace_id, s.id, s.span_id, s.parent_id, s.call_id,
        s.started_ns, s.duration_us, s.cost_nano, s.status = 2 as failed, s.name, s.service, s.session, s.error,
        case when s.call_id is null then s.input_tokens else 0 end as input_tokens,
        case when s.call_id is null then s.output_tokens else 0 end as output_tokens,
        case when s.call_id is null and s.cost_nano is not null then s.model end as model
    from wanted w join spans s on s.trace_id = w.trace_id and s.project_id = w.project_id
    where s.id between %(first)s::uuid and %(last)s::uuid
    order by s.project_id, s.trace_id, s.span_id, s.started_ns, s.id
), c as materialized (
    select c.project_id, c.trace_id, c.id, c.span_id, c.parent_id, c.series_id, c.cost_nano, c.input_tokens, c.output_tokens,
        c.session, c.error, c.outcome in (1, 2, 4) as failed, c.client like 'otlp:%%' as outside, c.latency_us,
        (extract(epoch from c.started_at) * 1000000)::bigint * 1000 as started_ns
    from wanted w join calls c on c.trace_id = w.trace_id and {TRACED} and c.project_id = w.project_id
    where c.id between %(first)s::uuid and %(last)s::uuid
), ours as (
    -- Spans that a call of this house stands under, at once or with one span between.
    select o.project_id, o.trace_id, o.parent_id as span_id from c o where not o.outside
    union
    select b.project_id, b.trace_id, b.parent_id from c o
    join s b on b.project_id = o.project_id and b.trace_id = o.trace_id and b.span_id = o.parent_id
    where not o.outside and b.parent_id is not null
), naming as (
    select project_id, trace_id, call_id, bool_or(failed) as failed from s where call_id is not null group by 1, 2, 3
), told as materialized (
    select c.*, m.model, coalesce(m.task, m.model) as about, m.operation, c.outside and o.span_id is not null as twice,
        n.call_id is not null or b.span_id is not null as merged, coalesce(n.failed, b.failed, false) as said
    from c join call_series m on m.id = c.series_id
    left join ours o on o.project_id = c.project_id and o.trace_id = c.trace_id and o.span_id = c.span_id
    left join naming n on n.project_id = c.project_id and n.trace_id = c.trace_id and n.call_id = c.id
    left join s b on b.project_id = c.project_id and b.trace_id = c.trace_id and b.span_id = c.span_id and c.outside
), line as (
    select project_id, trace_id, id, started_ns, started_ns + duration_us * 1000 as ended_ns, parent_id is null as root, 1 as steps,
        0 as calls, failed::int as failed, coalesce(case when call_id is null then cost_nano end, 0) as cost_nano,
        input_tokens, output_tokens, 0 as unpriced, name, service, session, error, model
    from s
    union all
    select project_id, trace_id, id, started_ns, started_ns + latency_us * 1000, parent_id is null and not merged,
        (not merged)::int, (not twice)::int, (failed and not said)::int, case when twice then 0 else coalesce(cost_nano, 0) end,
        case when twice then 0 else input_tokens end, case when twice then 0 else output_tokens end,
        (cost_nano is null and not twice)::int, case when merged then null else operation || ' ' || about end,
        case when merged then null else 'loopwright' end, session, error, case when twice then null else model end
    from told
), summed as (
    select project_id, trace_id, (array_agg(id order by id))[1] as first_id, (array_agg(id order by id desc))[1] as last_id,
        min(started_ns) as low, max(ended_ns) as high,
        (array_agg(started_ns order by not root, started_ns))[1] as root_ns,
        (array_agg(ended_ns order by not root, started_ns))[1] as root_end,
        (array_agg(left(name, 300) order by name is null, not root, started_ns))[1] as name,
        (array_agg(service order by service is null, not root, started_ns))[1] as service,
        sum(steps) as steps, sum(calls) as calls, sum(failed) as failed, sum(cost_nano) as cost_nano,
        sum(input_tokens) as input_tokens, sum(output_tokens) as output_tokens, sum(unpriced) as unpriced, not bool_or(root) as rootless,
        (array_agg(session order by started_ns) filter (where session is not null))[1] as session,
        (array_agg(left(error, 300) order by started_ns) filter (where error is not null and failed > 0))[1] as error,
        array_agg(distinct model) filter (where model is not null) as models
    from line group by project_id, trace_id
), named as (
    insert into trace_series (project_id, name, service)
    select distinct project_id, coalesce(name, ''), coalesce(service, '') from summed
    on conflict (project_id, name, service) do nothing returning id, project_id, name, service
)
"""  # noqa: S608 - the index's condition, a constant
_PUT: Final = """
insert into traces as t (project_id, trace_id, first_id, last_id, started_at, duration_us, cost_nano, input_tokens, output_tokens,
    series_id, steps, calls, failed, unpriced, rootless, session, error, models)
select u.project_id, u.trace_id, u.first_id, u.last_id,
    'epoch'::timestamptz + (case when u.high - u.low > %(week)s then u.root_ns else u.low end / 1000) * interval '1 microsecond',
    greatest((case when u.high - u.low > %(week)s then u.root_end - u.root_ns else u.high - u.low end) / 1000, 0),
    u.cost_nano, u.input_tokens, u.output_tokens, coalesce(n.id, k.id), u.steps, u.calls, u.failed, u.unpriced, u.rootless,
    u.session, u.error, u.models[1:20]
from summed u
left join named n on n.project_id = u.project_id and n.name = coalesce(u.name, '') and n.service = coalesce(u.service, '')
left join trace_series k on k.project_id = u.project_id and k.name = coalesce(u.name, '') and k.service = coalesce(u.service, '')
on conflict (project_id, trace_id) do update set
    first_id = excluded.first_id, last_id = excluded.last_id, started_at = excluded.started_at,
    duration_us = excluded.duration_us, cost_nano = excluded.cost_nano, input_tokens = excluded.input_tokens,
    output_tokens = excluded.output_tokens, series_id = excluded.series_id, steps = excluded.steps, calls = excluded.calls,
    failed = excluded.failed, unpriced = excluded.unpriced, rootless = excluded.rootless, session = excluded.session,
    error = excluded.error, models = excluded.models
returning t.project_id, t.trace_id
"""
_GONE: Final = """
    delete from traces t using unnest(%s::int[], %s::uuid[]) as w (project_id, trace_id)
    where t.project_id = w.project_id and t.trace_id = w.trace_id
"""


class Folding:
    """Sums up behind the intake; a round of the recorder, which sees to it that only one machine is at it."""

    name: Final = "traces"
    every: Final = 0.5
    """Seconds."""

    def __init__(self, db: Database, retention_days: int = 90) -> None:
        self._db = db
        self._kept = timedelta(days=retention_days)
        self._tidied: float | None = None
        self._when: dict[tuple[int, Any], float] = {}
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
        wanted: dict[tuple[int, Any], tuple[Any, Any]] = {}
        for note in notes:
            name = (note["project_id"], note["trace_id"])
            first, last = str(note["first_id"] or _ZERO), str(note["last_id"] or _LAST)
            low, high = wanted.get(name, (first, last))
            wanted[name] = min(low, first), max(high, last)
        if not wanted:
            return 0
        projects, traces = zip(*wanted, strict=True)
        firsts, lasts = zip(*wanted.values(), strict=True)
        cursor = await connection.execute(_WINDOWS, (list(projects), list(traces), list(firsts), list(lasts)))
        found = await self._due(connection, await cursor.fetchall())
        if not found:
            return 0
        asked = {
            "projects": [row["project_id"] for row in found],
            "traces": [row["trace_id"] for row in found],
            "first": min(str(row["first_id"]) for row in found),
            "last": max(str(row["last_id"]) for row in found),
            "week": _WEEK_NS,
        }
        cursor = await connection.execute((_SUM + _PUT).encode(), asked)
        there = {(row["project_id"], row["trace_id"]) for row in await cursor.fetchall()}
        gone = [(row["project_id"], row["trace_id"]) for row in found]
        gone = [name for name in gone if name not in there]
        if gone:
            await connection.execute(_GONE, tuple(list(column) for column in zip(*gone, strict=True)))
        return len(found)

    async def _due(self, connection: Connection, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those to sum up now: large ones again only after a while, or each new span would read all of them."""
        now = asyncio.get_running_loop().time()
        later = [row for row in found if self._when.get((row["project_id"], row["trace_id"]), 0.0) > now]
        for row in found:
            name = (row["project_id"], row["trace_id"])
            if row["steps"] > _LARGE and row not in later:
                self._when[name] = now + row["steps"] / _LARGE
        self._when = {name: at for name, at in self._when.items() if at > now}
        if later:
            columns = [[row[name] for row in later] for name in ("project_id", "trace_id", "first_id", "last_id")]
            await connection.execute(
                """insert into trace_touched (project_id, trace_id, first_id, last_id)
                   select * from unnest(%s::int[], %s::uuid[], %s::uuid[], %s::uuid[])""",
                columns,
            )
        return [row for row in found if row not in later]


async def retain(db: Database, before: datetime) -> int:
    """Forget the sums of traces that began before `before`, as their spans and calls are; how many.

    Raises:
        Unavailable: the database cannot answer now.
    """
    gone = 0
    while True:
        some = await db.run(
            """delete from traces where ctid = any(array(
                   select ctid from traces where started_at < %s and last_id < %s::uuid limit %s))""",
            (before, floor_of(before), _CHUNK),
        )
        gone += some
        if some < _CHUNK:
            break
    await db.run("delete from trace_series s where not exists (select from traces t where t.series_id = s.id)")
    return gone
