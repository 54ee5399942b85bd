"""Which keys datasets are sealed with, and sealing them anew with the first. Any number may run, at any time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from loopwright.datasets.rows import about, about_boilerplate
from loopwright.kit.db import Database
from loopwright.kit.seal import Seal, key_of

_BATCH: Final = 256


async def keys_used(db: Database) -> Mapping[str | None, int]:
    """Examples, and what datasets know as boilerplate, by the id of their key; None is not sealed.

    Raises:
        Unavailable: the database cannot answer now.
    """
    rows = await db.rows("select sealed_by, count(*) as examples from dataset_examples group by sealed_by")
    found: Counter[str | None] = Counter({row["sealed_by"]: row["examples"] for row in rows})
    heads = await db.rows("select substring(boilerplate for 256) as head from datasets where boilerplate is not null")
    found.update(key_of(bytes(row["head"])) for row in heads)
    return found


async def reseal(db: Database, seal: Seal) -> int:
    """Seal some examples with the first key; how many, 0 when all are.

    Raises:
        Unavailable: the database cannot answer now.
        Sealed: one cannot be opened.
    """
    async with db.transaction() as connection:
        cursor = await connection.execute(
            b"select dataset_id, position, sha, content from dataset_examples where sealed_by is distinct from %s"
            b" order by dataset_id, position limit %s for update skip locked",
            (seal.first, _BATCH),
        )
        rows = await cursor.fetchall()
        for row in rows:
            place = about(bytes(row["sha"]))
            content = seal.seal(seal.open(bytes(row["content"]), place), place)
            await connection.execute(
                b"update dataset_examples set content = %s, sealed_by = %s where dataset_id = %s and position = %s",
                (content, seal.first, row["dataset_id"], row["position"]),
            )
    return len(rows) or await _reseal_boilerplate(db, seal)


async def _reseal_boilerplate(db: Database, seal: Seal) -> int:
    done = 0
    async with db.transaction() as connection:
        cursor = await connection.execute(
            b"select id, boilerplate from datasets where boilerplate is not null order by id for update skip locked"
        )
        for row in await cursor.fetchall():
            stored = bytes(row["boilerplate"])
            if key_of(stored) == seal.first:
                continue
            place = about_boilerplate(row["id"])
            await connection.execute(
                b"update datasets set boilerplate = %s where id = %s",
                (seal.seal(seal.open(stored, place), place), row["id"]),
            )
            done += 1
    return done
