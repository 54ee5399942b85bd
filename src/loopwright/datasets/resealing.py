"""Where datasets lie sealed: examples, and what they know as boilerplate, whose own first bytes name the key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from loopwright.datasets.rows import about, about_boilerplate
from loopwright.kit.db import Database
from loopwright.kit.resealing import SealedTable, SealedTables
from loopwright.kit.seal import Seal, key_of

_EXAMPLES: Final = SealedTables(
    (
        SealedTable(
            name="dataset_examples",
            key=("dataset_id", "position"),
            needs=("sha",),
            texts={"content": lambda row: about(bytes(row["sha"]))},
        ),
    )
)


async def keys_used(db: Database) -> Mapping[str | None, int]:
    """Examples, and what datasets know as boilerplate, by the id of their key; None is not sealed.

    Raises:
        Unavailable: the database cannot answer now.
    """
    found = Counter(await _EXAMPLES.keys_used(db))
    heads = await db.rows("select substring(boilerplate for 256) as head from datasets where boilerplate is not null")
    found.update(key_of(bytes(row["head"])) for row in heads)
    return found


async def reseal(db: Database, seal: Seal) -> int:
    """Seal some examples with the first key; how many, 0 when all are.

    Raises:
        Unavailable: the database cannot answer now.
        Sealed: one cannot be opened.
    """
    return await _EXAMPLES.reseal(db, seal) or await _reseal_boilerplate(db, seal)


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
