"""What waits for exporters: noted where calls are stored and where they are deleted, taken where they are sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from loopwright.calls.record import Record
from loopwright.calls.rows import clipped
from loopwright.calls.store import Charge
from loopwright.kit.db import Connection, Database
from loopwright.kit.ids import floor_of

_TOGETHER: Final = 1_000
"""Ids of a line."""
_LEFT: Final = "interval '15 minutes'"
"""After so long a deletion that never said that it was over is taken for one."""
_NOTE: Final = b"insert into export_due (name, ids) select name, %s::uuid[] from unnest(%s::text[]) as name"


def exporting(charge: Charge, names: Collection[str]) -> Charge:
    """`charge`, and a note of all calls for the exporters `names`."""
    if not names:
        return charge
    told = sorted(names)

    async def both(connection: Connection, calls: Sequence[tuple[str, Record]]) -> None:
        await charge(connection, calls)
        if calls:
            await connection.execute(_NOTE, ([record.id for _, record in calls], told))

    return both


@dataclass(slots=True)
class Waking:
    """A round that has the process that mirrors begin with the house, not with its next minute."""

    name: ClassVar[str] = "exports.waking"
    every: ClassVar[float] = 5.0
    wake: Callable[[], Awaitable[Any]]
    woken: bool = field(default=False, init=False)

    async def __call__(self) -> None:
        """Once."""
        if not self.woken:
            await self.wake()
            self.woken = True


@dataclass(frozen=True, slots=True)
class Leaving:
    """Traces of calls that are being deleted, told to exporters once they are."""

    db: Database
    names: Collection[str]

    async def note(
        self,
        *,
        project_id: int | None,
        call_id: str | None = None,
        key_id: int | None = None,
        session: str | None = None,
        tag: tuple[str, str] | None = None,
    ) -> list[int]:
        """Before calls are deleted: write down which traces they are of. What `over` takes."""
        if not self.names:
            return []
        rows = await self.db.rows(
            """
            with traces as (
                select distinct c.trace_id from calls c
                where (%(project)s::int is null or c.project_id = %(project)s)
                  and (%(call)s::uuid is null or c.id = %(call)s::uuid)
                  and (%(key)s::int is null or c.key_id = %(key)s)
                  and (%(session)s::text is null or c.session = %(session)s)
                  and (%(tag)s::jsonb is null or c.tags @> %(tag)s)
            ), numbered as (select trace_id, (row_number() over () - 1) / %(many)s as line from traces)
            insert into export_due (name, gone, ready, ids)
            select n.name, true, false, array_agg(t.trace_id) from numbered t cross join unnest(%(names)s::text[]) n (name)
            group by n.name, t.line returning id
            """,
            {
                "project": project_id,
                "call": call_id,
                "key": key_id,
                "session": None if session is None else clipped(session),
                "tag": None if tag is None else Jsonb({tag[0]: tag[1]}),
                "many": _TOGETHER,
                "names": sorted(self.names),
            },
        )
        return [row["id"] for row in rows]

    async def over(self, noted: Sequence[int]) -> None:
        """After they were deleted."""
        if noted:
            await self.db.run("update export_due set ready = true where id = any(%s)", (list(noted),))


async def first(db: Database, name: str) -> dict[str, Any] | None:
    """The oldest line of an exporter that can be worked off: `id`, `gone`, `ids`."""
    return await db.row(
        f"""select id, gone, ids from export_due
            where name = %s and (ready or came_at < now() - {_LEFT}) order by id limit 1""",  # noqa: S608
        (name,),
    )


async def done(db: Database, line: int, left: Sequence[UUID]) -> None:
    """A line is worked off, but for `left`."""
    if left:
        await db.run("update export_due set ids = %s where id = %s", (list(left), line))
    else:
        await db.run("delete from export_due where id = %s", (line,))


async def still_there(db: Database, name: str, traces: Sequence[UUID]) -> None:
    """Queue what is on record of traces that were deleted elsewhere."""
    await db.run(
        """insert into export_due (name, ids)
           select %s, array_agg(id) from calls where trace_id = any(%s) having count(*) > 0""",
        (name, list(traces)),
    )


async def queue(db: Database, name: str, since: datetime | None, until: datetime | None) -> int:
    """Queue calls on record for an exporter, oldest first; how many.

    Raises:
        Unavailable: the database cannot answer now.
    """
    row = await db.row(
        """
        with numbered as (
            select id, (row_number() over (order by id) - 1) / %(many)s as line from calls
            where (%(since)s::uuid is null or id >= %(since)s::uuid) and (%(until)s::uuid is null or id < %(until)s::uuid)
        ), queued as (
            insert into export_due (name, ids)
            select %(name)s, array_agg(id order by id) from numbered group by line order by line
            returning cardinality(ids) as calls
        ) select coalesce(sum(calls), 0)::bigint as calls from queued
        """,
        {
            "name": name,
            "many": _TOGETHER,
            "since": None if since is None else floor_of(since),
            "until": None if until is None else floor_of(until),
        },
    )
    return int(row["calls"]) if row else 0


async def waiting(db: Database) -> dict[str, int]:
    """Calls and traces that wait, by exporter."""
    rows = await db.rows("select name, sum(cardinality(ids))::bigint as ids from export_due group by name")
    return {row["name"]: int(row["ids"]) for row in rows}


async def drop_strangers(db: Database, names: Collection[str]) -> None:
    """Let go of what waits for exporters that are not in the settings any more."""
    for table in ("export_due", "export_states"):
        await db.run(f"delete from {table} where not name = any(%s)", (sorted(names),))  # noqa: S608
