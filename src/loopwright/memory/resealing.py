"""Which keys memory is sealed with, and sealing it anew with the first. Any number may run, at any time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from loopwright.kit.db import Database
from loopwright.kit.seal import Seal
from loopwright.memory.entry import Lesson, about, marks
from loopwright.memory.store import tell

_BATCH: Final = 64


async def keys_used(db: Database) -> Mapping[str | None, int]:
    """Entries by the id of their key; None is not sealed.

    Raises:
        Unavailable: the database cannot answer now.
    """
    rows = await db.rows("select sealed_by, count(*) as entries from memory_entries group by sealed_by")
    return {row["sealed_by"]: row["entries"] for row in rows}


async def reseal(db: Database, seal: Seal) -> int:
    """Seal some entries with the first key, and hash them under it; how many, 0 when all are.

    Raises:
        Unavailable: the database cannot answer now.
        Sealed: one cannot be opened.
    """
    async with db.transaction() as connection:
        cursor = await connection.execute(
            b"select id::text, project_id, task, content from memory_entries where sealed_by is distinct from %s"
            b" order by id limit %s for update skip locked",
            (seal.first, _BATCH),
        )
        rows = await cursor.fetchall()
        changed: dict[tuple[int, str], list[str]] = {}
        for row in rows:
            place, key = about(row["id"]), (row["project_id"], row["task"])
            content = seal.open(bytes(row["content"]), place)
            inputs, output, note = msgspec.json.decode(content)
            shas = marks(seal, seal.first, key, Lesson(inputs=inputs, output=output, note=note))
            await connection.execute(
                b"update memory_entries set content = %s, sealed_by = %s, sha = %s, output_sha = %s,"
                b" changed = nextval('memory_changes') where id = %s::uuid",
                (seal.seal(content, place), seal.first, *shas, row["id"]),
            )
            changed.setdefault(key, []).append(row["id"])
        for (project_id, task), ids in changed.items():
            await tell(connection, project_id, task, ids)
    return len(rows)
