"""Which keys the complaints of evaluators are sealed with, and sealing them anew with the first. Any number may run at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from loopwright.kit.db import Database
from loopwright.kit.seal import Seal
from loopwright.monitoring.books import fault_about

_BATCH: Final = 256


async def keys_used(db: Database) -> Mapping[str | None, int]:
    """Complaints by the id of their key; None is not sealed.

    Raises:
        Unavailable: the database cannot answer now.
    """
    rows = await db.rows("select sealed_by, count(*) as texts from monitor_faults group by sealed_by")
    return {row["sealed_by"]: row["texts"] for row in rows}


async def reseal(db: Database, seal: Seal) -> int:
    """Seal some with the first key; how many, 0 when all are.

    Raises:
        Unavailable: the database cannot answer now.
        Sealed: one cannot be opened.
    """
    async with db.transaction() as connection:
        cursor = await connection.execute(
            b"select project_id, task, name, what, said from monitor_faults where sealed_by is distinct from %s"
            b" order by project_id, task, name, what limit %s for update skip locked",
            (seal.first, _BATCH),
        )
        rows = await cursor.fetchall()
        for row in rows:
            named = (row["project_id"], row["task"], row["name"], row["what"])
            text = seal.seal(seal.open(bytes(row["said"]), fault_about(*named)), fault_about(*named))
            await connection.execute(
                b"update monitor_faults set said = %s, sealed_by = %s"
                b" where project_id = %s and task = %s and name = %s and what = %s",
                (text, seal.first, *named),
            )
        return len(rows)
