"""Deletes spans and logs with the calls that they stand for, and with all of their trace: steps above repeat what was said."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any, Final
from uuid import UUID

from loopwright.calls.erase import LOCK
from loopwright.calls.rows import clipped, day_of
from loopwright.calls.touching import TRACED, touched
from loopwright.core.errors import BadRequest
from loopwright.kit.db import Connection, Database
from loopwright.kit.seal import PLAIN, Seal
from loopwright.telemetry.packing import Packer, about

_CHUNK: Final = 200
"""Traces of a transaction."""
_MOST: Final = 20_000
"""Spans of a transaction, of one trace perhaps."""
_CONDITIONS: Final = {
    "call_id": ("s.call_id = %(call)s::uuid", "c.id = %(call)s::uuid"),
    "key_id": ("s.key_id = %(key)s", "c.key_id = %(key)s"),
    "session": ("s.session = %(session)s", "c.session = %(session)s"),
    "tag": ("s.tags @> jsonb_build_object(%(name)s::text, %(value)s::text)", "c.tags @> jsonb_build_object(%(name)s::text, %(value)s::text)"),
    "trace_id": ("s.trace_id = %(trace)s::uuid", "c.trace_id = %(trace)s::uuid"),
}  # fmt: skip

_OF_LOGS: Final = {"key_id": "l.key_id = %(key)s", "trace_id": "l.trace_id = %(trace)s::uuid"}
_ALONE: Final = f"""
    delete from span_logs where id = any(array(
        select id from span_logs where key_id = %(key)s and trace_id is null
            and (%(project)s::int is null or project_id = %(project)s) limit {_MOST}))
    returning id, block, slot
"""  # noqa: S608


async def forget(
    db: Database,
    seal: Seal = PLAIN,
    *,
    project_id: int | None,
    call_id: str | None = None,
    key_id: int | None = None,
    session: str | None = None,
    tag: tuple[str, str] | None = None,
    trace_id: str | None = None,
) -> int:
    """Delete the traces that one of these is part of, within a project or everywhere; how many spans and logs.

    Calls are not deleted here: ask this first, for their traces are looked up by them.

    Raises:
        BadRequest: none of them is given, or more than one.
        Sealed: what remains of a block cannot be told from what is to go.
        Unavailable: the database cannot answer now; asking again goes on.
    """
    given = {"call_id": call_id, "key_id": key_id, "session": session, "tag": tag, "trace_id": trace_id}
    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1:
        raise BadRequest("say what to forget by exactly one of: a call's id, a key, a session, a tag, a trace")
    name, value = tag or (None, None)
    params = {
        "project": project_id,
        "before": int(datetime.now(UTC).timestamp() * 1e9),
        "call": call_id,
        "key": key_id,
        "session": None if session is None else clipped(session),
        "name": name,
        "value": value,
        "trace": trace_id,
    }
    find = _found_by(named[0])
    gone, packer = 0, Packer(seal)
    while True:
        async with db.transaction() as connection:
            # Alone, as deleting calls is: nobody puts spans meanwhile.
            await connection.execute("select pg_advisory_xact_lock(%s)", (LOCK,))
            cursor = await connection.execute(find.encode(), params)
            traces = [(row["project_id"], row["trace_id"]) for row in await cursor.fetchall()]
            some = 0
            if traces:
                some += await _remove(connection, "spans", traces, packer)
                some += await _remove(connection, "span_logs", traces, packer)
            if key_id is not None:
                cursor = await connection.execute(_ALONE.encode(), params)
                some += await _remove_places(connection, await cursor.fetchall(), packer)
        if not some:
            return gone
        gone += some


def _found_by(by: str) -> str:
    """Traces that are to go, some at a time."""
    spans, calls = _CONDITIONS[by]
    logs = _OF_LOGS.get(by, "false")
    return f"""
        with named as (
            select s.project_id, s.trace_id from spans s
            where {spans} and s.started_ns < %(before)s and (%(project)s::int is null or s.project_id = %(project)s)
            union
            select c.project_id, c.trace_id from calls c
            where {calls} and {TRACED} and (%(project)s::int is null or c.project_id = %(project)s)
            union
            select l.project_id, l.trace_id from span_logs l
            where {logs} and l.trace_id is not null and (%(project)s::int is null or l.project_id = %(project)s)
        )
        select n.project_id, n.trace_id from named n
        where exists (select from spans s where s.trace_id = n.trace_id and s.project_id = n.project_id)
           or exists (select from span_logs l where l.trace_id = n.trace_id and l.project_id = n.project_id)
        limit {_CHUNK}"""  # noqa: S608


async def _remove(connection: Connection, table: str, traces: Sequence[tuple[int, UUID]], packer: Packer) -> int:
    projects, ids = zip(*traces, strict=True)
    cursor = await connection.execute(
        f"""delete from {table} where id = any(array(
                select t.id from {table} t
                join unnest(%s::int[], %s::uuid[]) as w (project_id, trace_id)
                  on w.trace_id = t.trace_id and w.project_id = t.project_id
                limit {_MOST}))
            returning id, project_id, trace_id, block, slot""".encode(),  # noqa: S608
        (list(projects), list(ids)),
    )
    rows: list[dict[str, Any]] = await cursor.fetchall()
    await _remove_places(connection, rows, packer)
    if table == "spans" and rows:
        await touched(
            connection, {(row["project_id"], row["trace_id"]) for row in rows}, [str(row["id"]) for row in rows]
        )
    return len(rows)


async def _remove_places(connection: Connection, rows: Sequence[dict[str, Any]], packer: Packer) -> int:
    """The texts of deleted rows; how many rows."""
    slots: dict[tuple[date, int], set[int]] = {}
    for row in rows:
        if row["block"] is not None:
            slots.setdefault((day_of(str(row["id"])), row["block"]), set()).add(row["slot"])
    for (day, block), gone in slots.items():
        await _remove_texts(connection, day, block, gone, packer)
    return len(rows)


async def _remove_texts(connection: Connection, day: date, block: int, gone: set[int], packer: Packer) -> None:
    cursor = await connection.execute("select body from span_texts where day = %s and block = %s", (day, block))
    row = await cursor.fetchone()
    if row is None:
        return
    place = about(day, block)
    found = packer.unpack(bytes(row["body"]), place)
    kept = [None if slot in gone else said for slot, said in enumerate(found)]
    if any(said is not None for said in kept):
        body = packer.pack([packer.encode(said) for said in kept], place)
        await connection.execute(
            "update span_texts set body = %s, sealed_by = %s where day = %s and block = %s",
            (body, packer.seal.first, day, block),
        )
    else:
        await connection.execute("delete from span_texts where day = %s and block = %s", (day, block))
