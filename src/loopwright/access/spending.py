"""What the calls on record cost, kept by key, project and tag. The drain writes it in the transaction of the calls.

So it is exact whatever dies, and what a worker spent without reporting it (kill -9) is here as soon as its spool is
drained. Deleting calls gives no money back.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from loopwright.access.limits import Kind, window_of
from loopwright.kit.db import Connection, Database

_PERIODS: Final[tuple[tuple[str, Kind], ...]] = (("day", "usd_per_day"), ("month", "usd_per_month"))
_ADD: Final = b"""
    insert into spend as s (scope, scope_id, period, starts, holder, nano)
    select * from unnest(%s::text[], %s::int[], %s::text[], %s::bigint[], %s::uuid[], %s::bigint[])
    on conflict (scope, scope_id, period, starts, holder) do update set nano = s.nano + excluded.nano
"""
_TIDY: Final = (
    # Windows long closed: whose lease it was no longer matters, only what is on record.
    """delete from leases l using limits of where of.id = l.limit_id and l.starts > 0 and l.starts < extract(epoch from now())
       - case when of.kind like '%%minute' then 600 when of.kind = 'usd_per_day' then 4 * 86400 else 40 * 86400 end""",
    "delete from leases where starts = 0 and expires_at < now() - interval '1 day'",
    """with old as (
           delete from spend where holder <> %(nobody)s
           and starts < extract(epoch from now()) - case period when 'day' then 4 * 86400 else 40 * 86400 end
           returning *)
       insert into spend as s (scope, scope_id, period, starts, holder, nano)
       select scope, scope_id, period, starts, %(nobody)s, sum(nano) from old group by scope, scope_id, period, starts
       on conflict (scope, scope_id, period, starts, holder) do update set nano = s.nano + excluded.nano""",
    "delete from key_secrets where expires_at < now()",
)
Line = tuple[str, int, str, int, uuid.UUID]


class Costed(Protocol):
    """What this needs to know of a call on record."""

    @property
    def started_ns(self) -> int:
        """Unix nanoseconds: the window it counts in."""
        ...

    @property
    def project_id(self) -> int:
        """The tenant."""
        ...

    @property
    def key_id(self) -> int:
        """The key that made it."""
        ...

    @property
    def cost_nano(self) -> int | None:
        """Nanodollars; None is unpriced."""
        ...

    @property
    def tags(self) -> Mapping[str, str]:
        """Name to value."""
        ...

    @property
    def observed(self) -> bool:
        """It went elsewhere, and we were told of it: no budget here is spent by it."""
        ...


async def charge(connection: Connection, calls: Iterable[tuple[str, Costed]]) -> None:
    """Count `calls`, each with the id of the worker that answered it, in the transaction that stores them.

    Locks only lines of the workers named, so drains of several machines never wait for each other here.
    """
    costly = [(uuid.UUID(worker), call) for worker, call in calls if call.cost_nano and not call.observed]
    if not costly:
        return
    sums: defaultdict[Line, int] = defaultdict(int)
    for holder, call in costly:
        for period, kind in _PERIODS:
            starts, _ = window_of(kind, call.started_ns // 1_000_000_000)
            sums["key", call.key_id, period, starts, holder] += call.cost_nano or 0
            sums["project", call.project_id, period, starts, holder] += call.cost_nano or 0
    tagged = [(holder, call) for holder, call in costly if call.tags]
    if tagged:
        cursor = await connection.execute(
            b"select id, project_id, tag_name, tag_value, kind from limits where tag_name is not null"
            b" and kind in ('usd_per_day', 'usd_per_month')"
        )
        watched: defaultdict[tuple[int, str, str], list[tuple[int, Kind]]] = defaultdict(list)
        for row in await cursor.fetchall():
            watched[row["project_id"], row["tag_name"], row["tag_value"]].append((row["id"], row["kind"]))
        for holder, call in tagged:
            for name, value in call.tags.items():
                for limit_id, kind in watched.get((call.project_id, name, value), ()):
                    starts, _ = window_of(kind, call.started_ns // 1_000_000_000)
                    period = "day" if kind == "usd_per_day" else "month"
                    sums["limit", limit_id, period, starts, holder] += call.cost_nano or 0
    lines = sorted(sums)
    columns = tuple(list(column) for column in zip(*lines, strict=True))
    await connection.execute(_ADD, (*columns, [sums[line] for line in lines]))


async def tidy(db: Database) -> None:
    """Let go of leases and secrets that are over; join the spending of windows long closed. For an hourly job.

    Raises:
        Unavailable: the database cannot answer now.
    """
    async with db.transaction() as connection:
        for statement in _TIDY:
            await connection.execute(statement.encode(), {"nobody": uuid.UUID(int=0)})
