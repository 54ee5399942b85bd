"""Vectors of chunks: written by COPY, a generation at a time, with an HNSW index where a generation is large.

The index of a generation is partial, over its rows alone, so that generations of any dimensions share one table and
one of them can be thrown away whole. Below some thousands of chunks every vector is compared: exact, and as fast.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from loopwright.core.errors import BadRequest
from loopwright.kit.db import Connection, Database

MOST: Final = 4000
"""Dimensions that pgvector can index as halfvec."""
LARGE: Final = 10_000
"""Chunks from which a generation has an index."""
_LINKS: Final = 24
_CONSTRUCTION: Final = 200
"""Of HNSW: links of a vector, and how many are looked at to find them. With 16 and 100, near-duplicates lay on islands."""
_CHUNK_BYTES: Final = 1_100
"""That building takes of memory for a vector, beside its own two bytes a dimension."""
_LEAST_MEMORY, _MOST_MEMORY = 64 << 20, 1 << 30
_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)

_log = logging.getLogger(__name__)

Matrix = NDArray[np.float32]


def matrix_of(vectors: Sequence[Sequence[float]], dimensions: int | None) -> Matrix:
    """Rows of unit length.

    Raises:
        BadRequest: they are not of one length, not of `dimensions`, too long, or hold what is no number.
    """
    lengths = {len(vector) for vector in vectors}
    wanted = dimensions or next(iter(lengths))
    if lengths != {wanted}:
        raise BadRequest(
            f"the collection's vectors have {wanted} dimensions, these {', '.join(map(str, sorted(lengths - {wanted})))}:"
            " its embedder has changed, so embed it anew"
        )
    if wanted > MOST:
        raise BadRequest(f"vectors of {wanted:,} dimensions cannot be indexed: at most {MOST:,}")
    rows: Matrix = np.asarray(vectors, dtype=np.float32)
    if not np.isfinite(rows).all():
        raise BadRequest("a vector holds what is no number: its embedder is broken")
    unit: Matrix = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-12))
    return unit


async def write(
    connection: Connection, embedding_id: int, chunk_ids: Sequence[int], document_ids: Sequence[int], rows: Matrix
) -> None:
    """Store a vector for each chunk."""
    dimensions = rows.shape[1]
    fields = [
        ("fields", ">i2"), ("a", ">i4"), ("chunk", ">i8"), ("b", ">i4"), ("embedding", ">i8"), ("c", ">i4"),
        ("document", ">i8"), ("d", ">i4"), ("dimensions", ">i2"), ("unused", ">i2"), ("vector", ">f2", (dimensions,)),
    ]  # fmt: skip
    table = np.zeros(len(rows), dtype=fields)
    table["fields"], table["a"], table["b"], table["c"], table["d"] = 4, 8, 8, 8, 4 + 2 * dimensions
    table["chunk"], table["embedding"], table["document"] = chunk_ids, embedding_id, document_ids
    table["dimensions"], table["vector"] = dimensions, rows
    cursor = connection.cursor()
    async with cursor.copy(
        b"copy collection_vectors (chunk_id, embedding_id, document_id, vector) from stdin (format binary)"
    ) as copy:
        await copy.write(_SIGNATURE + table.tobytes() + b"\xff\xff")


def index_of(embedding_id: int | None = None) -> str:
    """The name of a generation's index, or what all of them begin with."""
    return f"collection_vectors_hnsw_{'' if embedding_id is None else embedding_id}"


async def has_index(connection: Connection, embedding_id: int) -> bool:
    """Whether a generation has an index that can be asked."""
    cursor = await connection.execute(
        b"select i.indisvalid from pg_class c join pg_index i on i.indexrelid = c.oid"
        b" where c.relname = %s and pg_table_is_visible(c.oid)",
        (index_of(embedding_id),),
    )
    row = await cursor.fetchone()
    return row is not None and bool(row["indisvalid"])


async def build(db: Database, embedding_id: int, dimensions: int, chunks: int) -> None:
    """Make the index of a generation beside all other work; does nothing when it is there or somebody makes it.

    Raises:
        Unavailable: the database cannot answer now.
    """
    memory = min(max(chunks * (_CHUNK_BYTES + 2 * dimensions), _LEAST_MEMORY), _MOST_MEMORY)
    async with db.pool.connection() as connection:
        lock = (0x4C57_1DE0, embedding_id & 0x7FFF_FFFF)
        cursor = await connection.execute("select pg_try_advisory_lock(%s, %s) as mine", lock)
        row = await cursor.fetchone()
        if row is None or not row["mine"]:
            return
        try:
            if await has_index(connection, embedding_id):
                return
            name = sql.Identifier(index_of(embedding_id))
            # What broke off left one that is no good.
            await connection.execute(sql.SQL("drop index concurrently if exists {}").format(name))
            await connection.execute(sql.SQL("set maintenance_work_mem = {}").format(sql.Literal(f"{memory >> 10}kB")))
            await connection.execute(
                sql.SQL(
                    "create index concurrently {} on collection_vectors"
                    " using hnsw ((vector::halfvec({})) halfvec_ip_ops) with (m = {}, ef_construction = {})"
                    " where embedding_id = {}"
                ).format(name, *map(sql.Literal, (dimensions, _LINKS, _CONSTRUCTION, embedding_id)))
            )
        finally:
            if not connection.broken:
                await connection.execute("reset maintenance_work_mem")
                await connection.execute("select pg_advisory_unlock(%s, %s)", lock)


async def discard(connection: Connection, embedding_id: int) -> None:
    """Throw away the vectors of a generation. Its index goes with `sweep`: in a transaction all searches would wait."""
    await connection.execute(b"delete from collection_vectors where embedding_id = %s", (embedding_id,))


async def sweep(db: Database) -> None:
    """Throw away indexes of generations that are no more."""
    rows = await db.rows(
        "select relname from pg_class where relkind = 'i' and relname like 'collection\\_vectors\\_hnsw\\_%'"
        " and pg_table_is_visible(oid)"
        " and not exists (select 1 from collection_embeddings e where relname = 'collection_vectors_hnsw_' || e.id)"
    )
    for row in rows:
        try:
            async with db.pool.connection() as connection:
                await connection.execute(
                    sql.SQL("drop index concurrently if exists {}").format(sql.Identifier(row["relname"]))
                )
        except psycopg.OperationalError as error:
            _log.warning("index %s is of no collection and could not be dropped: %s", row["relname"], error)
