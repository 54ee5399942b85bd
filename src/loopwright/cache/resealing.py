"""Which keys shared answers are sealed with, and sealing them anew with the first. Any number may run, at any time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from loopwright.cache.shared import closed, opened
from loopwright.kit.db import Database
from loopwright.kit.seal import Seal

_BATCH: Final = 64


async def keys_used(db: Database) -> Mapping[str | None, int]:
    """Answers by the id of their key; None is not sealed.

    Raises:
        Unavailable: the database cannot answer now.
    """
    rows = await db.rows("select sealed_by, count(*) as answers from cache_entries group by sealed_by")
    return {row["sealed_by"]: row["answers"] for row in rows}


async def reseal(db: Database, seal: Seal) -> int:
    """Seal some answers with the first key; how many, 0 when all are.

    Raises:
        Unavailable: the database cannot answer now.
        Sealed: one cannot be opened.
    """
    async with db.transaction() as connection:
        cursor = await connection.execute(
            """select key, body from cache_entries where sealed_by is distinct from %s
               order by key limit %s for update skip locked""",
            (seal.first, _BATCH),
        )
        rows = await cursor.fetchall()
        for row in rows:
            key = bytes(row["key"])
            body = closed(opened(bytes(row["body"]), key, seal), key, seal)
            # What questions meant cannot be sealed and searched: hits by likeness are off beside encryption.
            await connection.execute(
                "update cache_entries set body = %s, sealed_by = %s, guard = null, vector = null, partition = null"
                " where key = %s",
                (body, seal.first, key),
            )
        return len(rows)
