"""Deletes calls: from tables, full text and what still waits in a spool. Roll-ups keep counting them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Final
from uuid import UUID

import numpy as np

from loopwright.calls import postings
from loopwright.calls.groups import replace_group
from loopwright.calls.payloads import Packer, about
from loopwright.calls.record import Record
from loopwright.calls.rows import clipped, day_of
from loopwright.calls.slices import forget_slice
from loopwright.calls.touching import touched
from loopwright.core.errors import BadRequest
from loopwright.kit.db import Connection, Database
from loopwright.kit.seal import PLAIN, Seal

LOCK: Final = 0x65726173
"""Of Postgres's advisory locks: whoever adds calls or words shares it for a transaction, who deletes has it alone."""
_CHUNK: Final = 2000
GONE: Final = bytes(16)
"""Stands in the full-text queue for a call that was deleted."""


@dataclass(frozen=True, slots=True)
class Target:
    """What to delete: exactly one of the four, within a project or everywhere."""

    project_id: int | None
    call_id: str | None = None
    key_id: int | None = None
    session: str | None = None
    tag: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.call_id, self.key_id, self.session, self.tag) if value is not None]
        if len(given) != 1:
            raise BadRequest("say what to delete by exactly one of: a call's id, a key, a session, a tag")


@dataclass(slots=True)
class Marks:
    """What was named while calls may have waited in a spool. Read under the shared lock."""

    last: int = 0
    calls: dict[str, list[int | None]] = field(default_factory=dict)
    keys: dict[int, list[tuple[int | None, datetime]]] = field(default_factory=dict)
    sessions: dict[str, list[tuple[int | None, datetime]]] = field(default_factory=dict)
    tags: dict[tuple[str, str], list[tuple[int | None, datetime]]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.last > 0

    def covers(self, record: Record) -> bool:
        """Whether `record` is named, and began before that."""
        for project in self.calls.get(record.id, ()):
            if project in (None, record.project_id):
                return True
        marks = list(self.keys.get(record.key_id, ()))
        if record.session is not None:
            marks += self.sessions.get(clipped(record.session), ())
        if self.tags:
            for tag in record.tags.items():
                marks += self.tags.get(tag, ())
        return any(
            project in (None, record.project_id) and record.started_ns < before.timestamp() * 1e9
            for project, before in marks
        )

    def note(self, row: dict[str, Any]) -> None:
        """Take in a row of the table, the oldest first."""
        self.last = row["id"]
        mark = (row["project_id"], row["before"])
        if row["call_id"] is not None:
            self.calls.setdefault(str(row["call_id"]), []).append(row["project_id"])
        elif row["key_id"] is not None:
            self.keys.setdefault(row["key_id"], []).append(mark)
        elif row["session"] is not None:
            self.sessions.setdefault(row["session"], []).append(mark)
        else:
            self.tags.setdefault((row["tag_name"], row["tag_value"]), []).append(mark)


class Erasures(Marks):
    """What was deleted."""

    __slots__ = ()

    async def hold(self, connection: Connection) -> bool:
        """Share the lock until the transaction ends, and read what is new; whether there was anything."""
        known = self.last
        await connection.execute("select pg_advisory_xact_lock_shared(%s)", (LOCK,))
        cursor = await connection.execute("select * from call_erasures where id > %s order by id", (known,))
        for row in await cursor.fetchall():
            self.note(row)
        return self.last > known


async def delete(db: Database, target: Target, seal: Seal = PLAIN) -> int:
    """Delete what `target` names; how many calls were on record.

    Raises:
        BadRequest: the call id is none.
        Sealed: what remains of a block cannot be told from what is to go: its key is not here.
        Unavailable: the database cannot answer now; asking again goes on.
    """
    before = datetime.now(UTC)
    checked(target)
    async with db.transaction() as connection:
        await mark(connection, "call_erasures", target, before)
        if target.tag is not None:
            await forget_slice(connection, target.project_id, *target.tag)
    packer = Packer(seal)
    gone = 0
    while True:
        async with db.transaction() as connection:
            await connection.execute("select pg_advisory_xact_lock(%s)", (LOCK,))
            rows = await _next(connection, target, before)
            if rows:
                await _remove(connection, rows, packer)
        gone += len(rows)
        if len(rows) < _CHUNK:
            return gone


async def mark(connection: Connection, table: str, target: Target, before: datetime) -> int:
    """Name `target` in a table of marks; the number of the mark.

    Alone: whatever is drained after this commits sees the mark, whatever was drained before is seen by who goes on.
    """
    name, value = target.tag or (None, None)
    await connection.execute("select pg_advisory_xact_lock(%s)", (LOCK,))
    cursor = await connection.execute(
        f"""insert into {table} (project_id, call_id, key_id, session, tag_name, tag_value, before)
            values (%s, %s::uuid, %s, %s, %s, %s, %s) returning id""".encode(),  # noqa: S608  (our own tables)
        (target.project_id, target.call_id, target.key_id, _clipped(target.session), name, value, before),
    )
    row = await cursor.fetchone()
    assert row is not None
    number: int = row["id"]
    return number


async def _next(connection: Connection, target: Target, before: datetime) -> list[dict[str, Any]]:
    where, params = named(target, before)
    statement = f"select id, block, slot, project_id, trace_id from calls where {where} order by id limit {_CHUNK}"  # noqa: S608
    cursor = await connection.execute(statement.encode(), params)
    return await cursor.fetchall()


def named(target: Target, before: datetime) -> tuple[str, dict[str, Any]]:
    """Which rows of `calls` `target` names: a condition, and its parameters."""
    where = ["(%(project)s::int is null or project_id = %(project)s)"]
    if target.call_id is not None:
        where.append("id = %(call)s::uuid")
    else:
        where.append("started_at < %(before)s")
    if target.key_id is not None:
        where.append("key_id = %(key)s")
    if target.session is not None:
        where.append("session = %(session)s")
    if target.tag is not None:
        where.append("tags @> jsonb_build_object(%(name)s::text, %(value)s::text)")
    name, value = target.tag or (None, None)
    return " and ".join(where), {
        "project": target.project_id,
        "call": target.call_id,
        "before": before,
        "key": target.key_id,
        "session": _clipped(target.session),
        "name": name,
        "value": value,
    }


async def _remove(connection: Connection, rows: Sequence[dict[str, Any]], packer: Packer) -> None:
    ids = [row["id"] for row in rows]
    await connection.execute("delete from calls where id = any(%s)", (ids,))
    await touched(connection, {(row["project_id"], row["trace_id"]) for row in rows}, ids)
    days: dict[date, list[UUID]] = {}
    slots: dict[tuple[date, int], set[int]] = {}
    for row in rows:
        day = day_of(str(row["id"]))
        days.setdefault(day, []).append(row["id"])
        if row["block"] is not None:
            slots.setdefault((day, row["block"]), set()).add(row["slot"])
    for (day, block), gone in slots.items():
        await _remove_texts(connection, day, block, gone, packer)
    for day, members in days.items():
        await _remove_words(connection, day, [member.bytes for member in members])


async def _remove_texts(connection: Connection, day: date, block: int, gone: set[int], packer: Packer) -> None:
    cursor = await connection.execute("select body from call_payloads where day = %s and block = %s", (day, block))
    row = await cursor.fetchone()
    if row is None:
        return
    place = about(day, block)
    found = packer.unpack(bytes(row["body"]), place)
    payloads = [None if slot in gone else payload for slot, payload in enumerate(found)]
    if any(payload is not None for payload in payloads):
        await connection.execute(
            "update call_payloads set body = %s, sealed_by = %s where day = %s and block = %s",
            (packer.pack(payloads, place), packer.seal.first, day, block),
        )
    else:
        await connection.execute("delete from call_payloads where day = %s and block = %s", (day, block))


async def _remove_words(connection: Connection, day: date, gone: list[bytes]) -> None:
    wanted = set(gone)
    cursor = await connection.execute("select batch, ids from call_unindexed where day = %s", (day,))
    for row in await cursor.fetchall():
        members = _members(bytes(row["ids"]))
        if wanted.intersection(members):
            kept = b"".join(GONE if member in wanted else member for member in members)
            await connection.execute("update call_unindexed set ids = %s where batch = %s", (kept, row["batch"]))
    cursor = await connection.execute(
        "select group_id, ids, blind from call_groups where day = %s and first_id <= %s and last_id >= %s",
        (day, UUID(bytes=max(gone)), UUID(bytes=min(gone))),
    )
    for row in await cursor.fetchall():
        members = _members(bytes(row["ids"]))
        if wanted.intersection(members):
            await _rewrite(connection, day, row["group_id"], members, wanted, row["blind"])


async def _rewrite(
    connection: Connection, day: date, group_id: int, members: list[bytes], gone: set[bytes], blind: str | None
) -> None:
    cursor = await connection.execute(
        "select body from call_postings where day = %s and group_id = %s order by bucket", (day, group_id)
    )
    pairs = postings.unpack([bytes(row["body"]) for row in await cursor.fetchall()])
    keep = np.array([member not in gone for member in members])
    numbers = (pairs & np.uint64(0xFFFF_FFFF)).astype(np.int64)
    chosen = keep[numbers]
    renumbered = (np.cumsum(keep) - 1)[numbers[chosen]].astype(np.uint64)
    pairs = (pairs[chosen] >> np.uint64(32) << np.uint64(32)) | renumbered
    left = [member for member in members if member not in gone]
    await replace_group(connection, day, [group_id], left, pairs, blind)


def _members(ids: bytes) -> list[bytes]:
    return [ids[start : start + 16] for start in range(0, len(ids), 16)]


def _clipped(text: str | None) -> str | None:
    return None if text is None else clipped(text)


def checked(target: Target) -> None:
    """See that a call it names can be one.

    Raises:
        BadRequest: it cannot.
    """
    call_id = target.call_id
    if call_id is None:
        return
    try:
        day_of(call_id)
        UUID(call_id)
    except ValueError as error:
        raise BadRequest(str(error), param="id") from None
