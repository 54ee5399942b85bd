"""Which keys the texts of calls are sealed with, and sealing them anew with the first. Any number may run, at any time.

A step is a transaction: what dies in between has either sealed some blocks anew or left them as they were.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

from loopwright.calls.erase import LOCK
from loopwright.calls.intake import carried_about
from loopwright.calls.payloads import Packer, Payload, about
from loopwright.calls.segments import Segment, names_in
from loopwright.core.errors import Sealed
from loopwright.kit.db import Connection, Database
from loopwright.kit.seal import Seal, key_of

_BLOCKS: Final = 64
"""Blocks of a step: a few megabytes."""

_TRIED: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far a run through the blocks has come; stands for itself in a URL."""

    day: date
    block: int

    def __str__(self) -> str:
        return f"{self.day.isoformat()}.{self.block}"

    @classmethod
    def parse(cls, text: str) -> Place:
        """Read `str(place)`.

        Raises:
            ValueError: it is none.
        """
        day, _, block = text.partition(".")
        return cls(day=date.fromisoformat(day), block=int(block))


_START: Final = Place(day=date(1970, 1, 1), block=-1)


async def texts_by_key(db: Database) -> Mapping[str | None, int]:
    """Blocks of texts by the id of their key; None is not sealed.

    Raises:
        Unavailable: the database cannot answer now.
    """
    rows = await db.rows("select sealed_by, count(*) as blocks from call_payloads group by sealed_by")
    return {row["sealed_by"]: row["blocks"] for row in rows}


async def opens(db: Database, seal: Seal, key_id: str) -> bool:
    """Whether the key of that id is the one that sealed: tried on a few texts; True when there are none.

    Raises:
        Unavailable: the database cannot answer now.
    """
    rows = await db.rows("select day, block, body from call_payloads where sealed_by = %s limit %s", (key_id, _TRIED))
    for row in rows:
        try:
            seal.open(bytes(row["body"]), about(row["day"], row["block"]))
        except Sealed:
            continue
        return True
    return not rows


async def words_by_key(db: Database) -> Mapping[str | None, int]:
    """Groups of the word index by the id of the key their words are hashed under; None is anybody's to guess.

    Raises:
        Unavailable: the database cannot answer now.
    """
    rows = await db.rows("select blind, count(*) as groups from call_groups group by blind")
    return {row["blind"]: row["groups"] for row in rows}


async def streams_by_key(db: Database) -> Mapping[str | None, int]:
    """Beginnings of streams that wait for their end, by the id of their key.

    Raises:
        Unavailable: the database cannot answer now.
    """
    return Counter(key_of(bytes(row["record"])) for row in await db.rows("select record from spool_opened"))


def spooled_by_key(folder: Path) -> Mapping[str | None, int]:
    """Spool files with calls, by the id of the key of their first: a process seals with one key only."""
    found: Counter[str | None] = Counter()
    for name in names_in(folder):
        try:
            segment = Segment.open(folder / name)
        except FileNotFoundError:
            continue
        try:
            frames = segment.read(0, most=65_536)[0].frames
        finally:
            segment.close()
        if frames:
            found[key_of(frames[0].body)] += 1
    return found


async def reseal_texts(db: Database, seal: Seal, after: Place | None) -> tuple[int, Place | None]:
    """Seal some blocks after `after` with the first key; how many, and where to go on: None at the end.

    Raises:
        Unavailable: the database cannot answer now.
        Sealed: one cannot be opened.
    """
    packer = Packer(seal)
    after = after or _START
    async with db.transaction() as connection:
        # Shared with who adds; who deletes from a block waits, or has it changed before it is read here.
        await connection.execute("select pg_advisory_xact_lock_shared(%s)", (LOCK,))
        cursor = await connection.execute(
            """select day, block, body, sealed_by from call_payloads
               where (day, block) > (%s, %s) and sealed_by is distinct from %s
               order by day, block limit %s for update skip locked""",
            (after.day, after.block, seal.first, _BLOCKS),
        )
        rows = await cursor.fetchall()
        if not rows:
            return 0, None
        errors = await _errors(connection, [row for row in rows if row["sealed_by"] is None])
        bodies = await asyncio.to_thread(_sealed, rows, errors, packer)
        await connection.cursor().executemany(
            b"update call_payloads set body = %s, sealed_by = %s where day = %s and block = %s",
            [(body, seal.first, row["day"], row["block"]) for row, body in zip(rows, bodies, strict=True)],
        )
        moved = [each["id"] for found in errors.values() for each in found]
        if moved:
            await connection.execute("update calls set error = null where id = any(%s)", (moved,))
    return len(rows), Place(day=rows[-1]["day"], block=rows[-1]["block"])


async def reseal_streams(db: Database, seal: Seal) -> int:
    """Seal the beginnings of streams with the first key; how many.

    Raises:
        Unavailable: the database cannot answer now.
        Sealed: one cannot be opened.
    """
    done = 0
    async with db.transaction() as connection:
        cursor = await connection.execute("select id, record from spool_opened for update skip locked")
        for row in await cursor.fetchall():
            stored, place = bytes(row["record"]), carried_about(str(row["id"]))
            if key_of(stored) != seal.first:
                body = seal.seal(seal.open(stored, place), place)
                await connection.execute("update spool_opened set record = %s where id = %s", (body, row["id"]))
                done += 1
    return done


async def drop_words(db: Database, seal: Seal) -> int:
    """Where words are indexed no more: take away groups whose words are not hashed under the first key; how many.

    Raises:
        Unavailable: the database cannot answer now.
    """
    async with db.transaction() as connection:
        await connection.execute("select pg_advisory_xact_lock_shared(%s)", (LOCK,))
        await connection.execute(
            """delete from call_postings p using call_groups g
               where g.day = p.day and g.group_id = p.group_id and g.blind is distinct from %s""",
            (seal.first,),
        )
        cursor = await connection.execute("delete from call_groups where blind is distinct from %s", (seal.first,))
        return max(cursor.rowcount, 0)


async def _errors(connection: Connection, rows: Sequence[dict[str, Any]]) -> Mapping[tuple[date, int], list[Any]]:
    """What went wrong with calls of blocks that are not sealed yet, as their rows tell it; it moves to their texts."""
    found: dict[tuple[date, int], list[Any]] = {}
    days: dict[date, list[int]] = {}
    for row in rows:
        days.setdefault(row["day"], []).append(row["block"])
    for day, blocks in days.items():
        cursor = await connection.execute(
            """select id, block, slot, error from calls where outcome <> 0 and error is not null
               and id >= calls_floor(%s) and id < calls_floor(%s + 1) and block = any(%s)""",
            (day, day, blocks),
        )
        for row in await cursor.fetchall():
            found.setdefault((day, row["block"]), []).append(row)
    return found


def _sealed(
    rows: Sequence[dict[str, Any]], errors: Mapping[tuple[date, int], list[Any]], packer: Packer
) -> list[bytes]:
    bodies = []
    for row in rows:
        place = about(row["day"], row["block"])
        stored = bytes(row["body"])
        told = errors.get((row["day"], row["block"]))
        if told:
            payloads: list[Payload | None] = packer.unpack(stored, place)
            for each in told:
                before = payloads[each["slot"]]
                if before is not None:
                    payloads[each["slot"]] = Payload(before.request, before.response, each["error"])
            bodies.append(packer.pack(payloads, place))
        else:
            # Compressed as it is: only the seal is made anew.
            bodies.append(packer.seal.seal(packer.seal.open(stored, place), place))
    return bodies
