"""Draws which calls are scored: by the hash of their ids, stratified by variant, so that each gets its share.

Of each stratum (a variant, five minutes of calls) a floor is kept: the chance with which its calls are drawn at least, so
that about `at_least` an hour are. It sinks as more come than had been expected, for the calls from then on. A call is drawn for an evaluator when its draw is below the
larger of the evaluator's share and that floor; a score stands for 1 / chance calls. So means over all variants are
unbiased, a call that is judged is also one that is computed, and whoever draws again draws the same.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final
from uuid import UUID

from loopwright.kit.db import Connection, Database
from loopwright.monitoring.books import Tally
from loopwright.monitoring.watched import Plan

PERIOD: Final = timedelta(minutes=5)
_A_ROUND: Final = 200
"""Arrivals (batches of the drain) that are drawn from in one transaction."""
_TEXTS: Final = frozenset({"chat", "completion"})
PlanOf = Callable[[int, str], Plan | None]
"""By project and task, as they are now."""
_CALLS: Final = b"""
    select c.id, c.started_at, c.project_id, c.outcome, c.block is null as bare, s.operation, s.task,
        coalesce(s.variant, '') as variant, a.arrived_at
    from (select id as batch, arrived_at, ids, generate_series(0, calls - 1) as at from monitor_arrivals
          where id = any(%s)) a
    join calls c on c.id = encode(substring(a.ids from a.at * 16 + 1 for 16), 'hex')::uuid
    join call_series s on s.id = c.series_id
"""
_STRATA: Final = b"""
    insert into monitor_strata as m (project_id, task, variant, bucket, floor, seen)
    select * from unnest(%s::int[], %s::text[], %s::text[], %s::timestamptz[], %s::float8[], %s::int[])
    on conflict (project_id, task, variant, bucket) do update
        set seen = m.seen + excluded.seen, floor = least(m.floor, excluded.floor)
    returning project_id, task, variant, bucket, floor
"""
_BEFORE: Final = b"""
    select m.project_id, m.task, m.variant, m.bucket, m.seen from monitor_strata m
    join unnest(%s::int[], %s::text[], %s::text[], %s::timestamptz[]) as w (project_id, task, variant, bucket)
    using (project_id, task, variant, bucket)
"""
_DUE: Final = b"""
    insert into monitor_due (call_id, name, lane, project_id, task, variant, draw, floor, arrived_at)
    select * from unnest(%s::uuid[], %s::text[], %s::smallint[], %s::int[], %s::text[], %s::text[], %s::float8[],
        %s::float8[], %s::timestamptz[])
    on conflict do nothing
"""
Stratum = tuple[int, str, str, datetime]


def draw_of(call_id: UUID) -> float:
    """A number from 0 to below 1 that only the id decides."""
    return int.from_bytes(hashlib.blake2b(call_id.bytes, digest_size=8).digest(), "big") / 2.0**64


def floor_for(at_least: int, expected: int) -> float:
    """The chance with which about `at_least` calls an hour are drawn where `expected` come in five minutes."""
    wanted = at_least * PERIOD / timedelta(hours=1)
    return min(1.0, wanted / max(expected, 1)) if at_least else 0.0


@dataclass(frozen=True, slots=True)
class Drawing:
    """The round that draws."""

    name: ClassVar[str] = "monitoring.drawing"
    every: ClassVar[float] = 1.0
    db: Database
    plan_of: PlanOf

    async def __call__(self) -> None:
        """Draw from all that came."""
        more = True
        while more:
            more = await self.once()

    async def once(self) -> bool:
        """Draw from some batches, whole or not at all; whether more may be waiting."""
        async with self.db.transaction() as connection:
            cursor = await connection.execute(
                b"select id from monitor_arrivals order by id limit %s for update skip locked", (_A_ROUND,)
            )
            batches = [row["id"] for row in await cursor.fetchall()]
            if not batches:
                return False
            cursor = await connection.execute(_CALLS, (batches,))
            await self._draw(connection, await cursor.fetchall())
            await connection.execute(b"delete from monitor_arrivals where id = any(%s)", (batches,))
        return len(batches) == _A_ROUND

    async def _draw(self, connection: Connection, calls: Sequence[Mapping[str, Any]]) -> None:
        tally, fit = Tally(), []
        for call in calls:
            plan = self.plan_of(call["project_id"], call["task"])
            if plan is None:
                continue
            what = "seen"
            if call["operation"] not in _TEXTS or call["outcome"] != 0:
                what = "unanswered"
            elif call["bare"]:
                what = "no_text"
            else:
                fit.append((call, plan))
            tally.add(call["project_id"], call["task"], call["variant"], "", what)
        floors = await _floors(connection, fit)
        due = [line for call, plan in fit for line in _due(call, plan, floors[_stratum(call)])]
        if due:
            await connection.execute(_DUE, tuple(list(column) for column in zip(*due, strict=True)))
        await tally.write(connection, datetime.now(UTC))


def _stratum(call: Mapping[str, Any]) -> Stratum:
    seconds = int(call["started_at"].timestamp())
    width = int(PERIOD.total_seconds())
    bucket = datetime.fromtimestamp(seconds // width * width, UTC)
    return call["project_id"], call["task"], call["variant"], bucket


async def _floors(connection: Connection, fit: Iterable[tuple[Mapping[str, Any], Plan]]) -> Mapping[Stratum, float]:
    """The floor of each stratum: by what came of it so far, or in the five minutes before it, whichever is more."""
    came: Counter[Stratum] = Counter()
    least: dict[Stratum, int] = {}
    for call, plan in fit:
        stratum = _stratum(call)
        came[stratum] += 1
        least[stratum] = plan.monitor.at_least
    if not came:
        return {}
    asked = {(*stratum[:3], bucket) for stratum in came for bucket in (stratum[3], stratum[3] - PERIOD)}
    cursor = await connection.execute(_BEFORE, tuple(list(column) for column in zip(*asked, strict=True)))
    seen = {
        (row["project_id"], row["task"], row["variant"], row["bucket"]): row["seen"] for row in await cursor.fetchall()
    }
    lines = []
    for stratum in sorted(came):
        so_far = seen.get(stratum, 0) + came[stratum]
        expected = max(so_far, seen.get((*stratum[:3], stratum[3] - PERIOD), 0))
        lines.append((*stratum, floor_for(least[stratum], expected), came[stratum]))
    cursor = await connection.execute(_STRATA, tuple(list(column) for column in zip(*lines, strict=True)))
    return {
        (row["project_id"], row["task"], row["variant"], row["bucket"]): row["floor"] for row in await cursor.fetchall()
    }


def _due(call: Mapping[str, Any], plan: Plan, floor: float) -> list[tuple[Any, ...]]:
    """What is to be found out of a call: nothing, all that is computed together, and each that asks by itself."""
    draw = draw_of(call["id"])
    names = [("", 0)] if any(draw < each.chance(floor) for each in plan.computed) else []
    names += [(each.name, 1) for each in plan.asked if draw < each.chance(floor)]
    about = (call["project_id"], call["task"], call["variant"], draw, floor, call["arrived_at"])
    return [(call["id"], name, lane, *about) for name, lane in names]
