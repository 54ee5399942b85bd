"""Which keys the texts of prompts are sealed with, and sealing them anew with the first. Any number may run, at any time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from loopwright.kit.db import Database
from loopwright.kit.seal import Seal
from loopwright.prompts.store import about

_BATCH: Final = 64


async def keys_used(db: Database) -> Mapping[str | None, int]:
    """Definitions by the id of their key; None is not sealed.

    Raises:
        Unavailable: the database cannot answer now.
    """
    rows = await db.rows("select sealed_by, count(*) as texts from prompt_versions group by sealed_by")
    return {row["sealed_by"]: row["texts"] for row in rows}


async def reseal(db: Database, seal: Seal) -> int:
    """Seal some definitions with the first key; how many, 0 when all are.

    Raises:
        Unavailable: the database cannot answer now.
        Sealed: one cannot be opened.
    """
    async with db.transaction() as connection:
        cursor = await connection.execute(
            b"select id, prompt_id, sha, definition from prompt_versions where sealed_by is distinct from %s"
            b" order by id limit %s for update skip locked",
            (seal.first, _BATCH),
        )
        rows = await cursor.fetchall()
        for row in rows:
            place = about(row["prompt_id"], row["sha"])
            text = seal.seal(seal.open(bytes(row["definition"]), place), place)
            await connection.execute(
                b"update prompt_versions set definition = %s, sealed_by = %s where id = %s",
                (text, seal.first, row["id"]),
            )
        return len(rows)
