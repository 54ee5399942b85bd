"""Which keys the texts of spans and logs are sealed with, and sealing them anew with the first. Any number may run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

import msgspec

from loopwright.calls.erase import LOCK
from loopwright.calls.rows import day_of
from loopwright.kit.db import Connection, Database
from loopwright.kit.seal import Seal
from loopwright.telemetry.packing import Packer, Said, about

_BLOCKS: Final = 64
"""Blocks of a step: a few megabytes."""


async def keys_used(db: Database) -> Mapping[str | None, int]:
    """Blocks by the id of their key; None is not sealed.

    Raises:
        Unavailable: the database cannot answer now.
    """
    rows = await db.rows("select sealed_by, count(*) as blocks from span_texts group by sealed_by")
    return {row["sealed_by"]: row["blocks"] for row in rows}


async def reseal(db: Database, seal: Seal) -> int:
    """Seal some blocks with the first key; how many.

    Raises:
        Unavailable: the database cannot answer now.
        Sealed: one cannot be opened.
    """
    packer = Packer(seal)
    async with db.transaction() as connection:
        await connection.execute("select pg_advisory_xact_lock_shared(%s)", (LOCK,))
        cursor = await connection.execute(
            """select day, block, body, sealed_by from span_texts where sealed_by is distinct from %s
               order by day, block limit %s for update skip locked""",
            (seal.first, _BLOCKS),
        )
        rows = await cursor.fetchall()
        if not rows:
            return 0
        errors = await _errors(connection, [row for row in rows if row["sealed_by"] is None])
        bodies = await asyncio.to_thread(_sealed, rows, errors, packer)
        await connection.cursor().executemany(
            b"update span_texts set body = %s, sealed_by = %s where day = %s and block = %s",
            [(body, seal.first, row["day"], row["block"]) for row, body in zip(rows, bodies, strict=True)],
        )
        moved = [each["id"] for found in errors.values() for each in found]
        if moved:
            await connection.execute("update spans set error = null where id = any(%s)", (moved,))
    return len(rows)


async def _errors(connection: Connection, rows: Sequence[dict[str, Any]]) -> Mapping[tuple[date, int], list[Any]]:
    """What went wrong with spans of blocks that are not sealed yet, as their rows tell it; it moves to their texts."""
    found: dict[tuple[date, int], list[Any]] = {}
    days: dict[date, list[int]] = {}
    for row in rows:
        days.setdefault(row["day"], []).append(row["block"])
    for day, blocks in days.items():
        cursor = await connection.execute(
            """select id, block, slot, error from spans where error is not null
               and id >= calls_floor(%s) and id < calls_floor(%s + 1) and block = any(%s)""",
            (day, day, blocks),
        )
        for row in await cursor.fetchall():
            found.setdefault((day_of(str(row["id"])), row["block"]), []).append(row)
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
            said: list[Said | None] = packer.unpack(stored, place)
            for each in told:
                before = said[each["slot"]]
                if before is not None:
                    said[each["slot"]] = msgspec.structs.replace(before, error=each["error"])
            bodies.append(packer.pack([packer.encode(each) for each in said], place))
        else:
            bodies.append(packer.seal.seal(packer.seal.open(stored, place), place))
    return bodies
