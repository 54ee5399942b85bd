"""Which keys the definitions of tasks are sealed with, and sealing them anew with the first. Any number may run at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from loopwright.kit.db import Database
from loopwright.kit.seal import Seal
from loopwright.tasks.store import about, opened

_BATCH: Final = 64


async def keys_used(db: Database) -> Mapping[str | None, int]:
    """Definitions by the id of their key; None is not sealed.

    Raises:
        Unavailable: the database cannot answer now.
    """
    rows = await db.rows("select sealed_by, count(*) as texts from task_definitions group by sealed_by")
    return {row["sealed_by"]: row["texts"] for row in rows}


async def reseal(db: Database, seal: Seal) -> int:
    """Seal some definitions with the first key; how many, 0 when all are.

    Raises:
        Unavailable: the database cannot answer now.
        Sealed: one cannot be opened.
    """
    async with db.transaction() as connection:
        cursor = await connection.execute(
            b"select task_id, number, definition from task_definitions where sealed_by is distinct from %s"
            b" order by task_id, number limit %s for update skip locked",
            (seal.first, _BATCH),
        )
        rows = await cursor.fetchall()
        for row in rows:
            text = seal.seal(opened(row, seal), about(row["task_id"], row["number"]))
            await connection.execute(
                b"update task_definitions set definition = %s, sealed_by = %s where task_id = %s and number = %s",
                (text, seal.first, row["task_id"], row["number"]),
            )
        return len(rows)
