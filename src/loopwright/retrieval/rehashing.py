"""Under which keys the words of collections are hashed, and hashing them anew under the first. Any number may run.

A hash does not tell its word, so a segment is counted again from the texts of its chunks.
"""

from __future__ import annotations

from collections.abc import Mapping

from loopwright.kit.db import Connection, Database
from loopwright.kit.seal import Seal
from loopwright.retrieval.index import Index
from loopwright.retrieval.rows import chunk_of
from loopwright.retrieval.segments import discard, segment_of


async def keys_used(db: Database) -> Mapping[str | None, int]:
    """Segments by the id of the key under which their words are hashed; None is without.

    Raises:
        Unavailable: the database cannot answer now.
    """
    rows = await db.rows("select hashed_by, count(*) as segments from collection_segments group by hashed_by")
    return {row["hashed_by"]: row["segments"] for row in rows}


async def reseal(db: Database, seal: Seal) -> int:
    """Hash the words of a segment anew under the first key; 1, or 0 when all are.

    Raises:
        Unavailable: the database cannot answer now.
        Sealed: a text of it cannot be opened.
    """
    async with db.transaction() as connection:
        found = await _next(connection, seal.first)
        if found is None:
            return 0
        collection_id, segment_id = found
        # As everybody who changes an index: one after the other. Meanwhile it may have been merged into another.
        await connection.execute(b"select 1 from collections where id = %s for no key update", (collection_id,))
        segment = await segment_of(connection, segment_id)
        if segment is not None and segment.hashed_by != seal.first:
            cursor = await connection.execute(
                b"select c.* from collection_chunks c where c.collection_id = %s and c.id = any(%s) order by c.id",
                (collection_id, await discard(connection, segment)),
            )
            chunks = [chunk_of(row, seal) for row in await cursor.fetchall()]
            await Index(db, seal).count(connection, collection_id, segment.language, chunks)
    return 1


async def _next(connection: Connection, first: str | None) -> tuple[int, int] | None:
    cursor = await connection.execute(
        b"select collection_id, id from collection_segments where hashed_by is distinct from %s order by id limit 1",
        (first,),
    )
    row = await cursor.fetchone()
    return None if row is None else (row["collection_id"], row["id"])
