"""The chunks nearest to a vector: by the HNSW index of their generation where it has one, else every vector compared.

Whatever leaves little is compared whole and so is exact. Where much is left, the index is walked until enough was found
that may be; should it give up before, every vector is compared after all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from loopwright.kit.db import Connection
from loopwright.retrieval.postings import Numbers
from loopwright.retrieval.restriction import Few, Restriction

WIDTH: Final = 120
"""`hnsw.ef_search`: candidates that the index keeps while it looks. Of 100,000 chunks 80 find 0.979, 120 to 300 find 0.990."""
WIDEST: Final = 1_000
"""That it can be."""
WALKED: Final = 60_000
"""Chunks the index goes through at most before all are compared."""
EXACT: Final = 5_000
"""Chunks up to which all are compared."""
_SHARE: Final = 0.02
"""Of a generation, up to which all are compared."""
Vector = NDArray[np.float32]
Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """The vectors that are searched."""

    id: int
    model: str
    dimensions: int | None
    chunks: int
    """Of the collection."""
    indexed: bool
    version: str
    """Of the collection, and the transaction that wrote it: what may be found of one version is always the same, also where a
    server took over that had not heard of the last ones."""


@dataclass(frozen=True, slots=True)
class Near:
    """Chunks and their cosines, the nearest first."""

    chunks: Numbers
    cosines: Scores
    others: Mapping[int, float] = field(default_factory=dict)
    """The cosines of chunks that were asked about beside; one that has no vector yet is left out."""

    def __len__(self) -> int:
        return len(self.chunks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Vectors of some chunks of a generation, held by this process, as they are at a version of the collection."""

    embedding_id: int
    version: str
    chunks: Numbers
    """Ids, rising."""
    matrix: NDArray[np.float32]

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return int(self.chunks.nbytes + self.matrix.nbytes)

    def nearest(self, vector: Vector, most: int) -> Near:
        """The `most` nearest of them."""
        scores = _dot(self.matrix, vector)
        chunks = self.chunks
        if len(scores) > most:
            # All that are as near as the last one, so that which of them are taken is not by chance.
            least = np.partition(scores, len(scores) - most)[len(scores) - most]
            chunks, scores = chunks[scores >= least], scores[scores >= least]
        order = np.lexsort((chunks, -scores))[:most]
        return Near(chunks[order], scores[order])

    def cosines(self, vector: Vector, chunks: Numbers) -> dict[int, float]:
        """The cosine of each of some chunks; those that are not among them are left out."""
        if not len(self.chunks):
            return {}
        places = np.minimum(np.searchsorted(self.chunks, chunks), len(self.chunks) - 1)
        places = places[self.chunks[places] == chunks]
        scores = _dot(self.matrix[places], vector)
        return dict(zip(self.chunks[places].tolist(), scores.tolist(), strict=True))


async def nearest(
    connection: Connection,
    generation: Generation,
    vector: Vector,
    most: int,
    restriction: Restriction,
    few: Few | None,
    others: Numbers | None = None,
) -> Near:
    """The `most` nearest chunks that `restriction` leaves; `few` when that is known. With the cosines of `others`."""
    asking = _Asking(connection, generation, {"vector": text_of(vector), "most": most, **restriction.params}, others)
    if few is not None:
        asking.params["left"] = few.told
    if few is not None and few.chunks <= max(EXACT, generation.chunks * _SHARE):
        return await asking.compared("v.document_id = any(%(left)s::bigint[])")
    allowed = "true" if restriction.none else _among(restriction)
    if not generation.indexed:
        return await asking.compared(allowed)
    # As a list in the statement itself, PostgreSQL hashes it once, and no document is read. `is true` keeps it from
    # being a reason to compare them all.
    listed = few is not None
    found = await asking.walked(
        "(v.document_id = any(%(left)s::bigint[])) is true" if listed else _each(restriction), anew=listed
    )
    if len(found) < min(most, generation.chunks) and not restriction.none:
        return await asking.compared(allowed)
    return found


@dataclass(frozen=True, slots=True)
class _Asking:
    """What is nearest, in one statement with the cosines of others."""

    connection: Connection
    generation: Generation
    params: dict[str, Any]
    others: Numbers | None

    async def walked(self, allowed: str, *, anew: bool) -> Near:
        """By the index; `anew` plans for these very values."""
        cosine = (
            f"v.vector::halfvec({self.generation.dimensions}) <#> %(vector)s::halfvec({self.generation.dimensions})"
        )
        return await self._found(cosine, allowed, cosine, anew=anew)

    async def compared(self, allowed: str) -> Near:
        """All that are allowed; that it is a sum keeps the index out of it."""
        return await self._found("(v.vector <#> %(vector)s::halfvec) + 0", allowed, "far")

    async def _found(self, cosine: str, allowed: str, by: str, *, anew: bool = False) -> Near:
        sql = (
            f"select v.chunk_id, {cosine} as far from collection_vectors v"  # noqa: S608 - parameters and numbers only
            f" where v.embedding_id = {self.generation.id:d} and {allowed} order by {by} limit %(most)s"
        )
        params = self.params
        if self.others is not None:
            sql = (
                f"select n.chunk_id, n.far, true as near from ({sql}) n union all"  # noqa: S608 - parameters and numbers only
                f" select chunk_id, vector <#> %(vector)s::halfvec, false from collection_vectors"
                f" where embedding_id = {self.generation.id:d} and chunk_id = any(%(others)s::bigint[])"
            )
            params = {**params, "others": self.others.tolist()}
        cursor = await self.connection.execute(sql.encode(), params, binary=True, prepare=False if anew else None)
        return _near(await cursor.fetchall())


async def cosines(connection: Connection, generation: Generation, vector: Vector, chunks: Numbers) -> dict[int, float]:
    """The cosine of each of some chunks; one that has no vector yet is left out."""
    cursor = await connection.execute(
        b"select chunk_id, vector <#> %s::halfvec as far from collection_vectors"
        b" where embedding_id = %s and chunk_id = any(%s)",
        (text_of(vector), generation.id, chunks.tolist()),
        binary=True,
    )
    return {row["chunk_id"]: -row["far"] for row in await cursor.fetchall()}


async def vectors_of(connection: Connection, generation: Generation, chunks: Sequence[int]) -> dict[int, Vector]:
    """The vectors of some chunks, of unit length; one that has none yet is left out."""
    cursor = await connection.execute(
        b"select chunk_id, halfvec_send(vector) as vector from collection_vectors"
        b" where embedding_id = %s and chunk_id = any(%s)",
        (generation.id, list(chunks)),
        binary=True,
    )
    return {
        row["chunk_id"]: np.frombuffer(row["vector"], dtype=">f2", offset=4).astype(np.float32)
        for row in await cursor.fetchall()
    }


async def rows_of(connection: Connection, generation: Generation, few: Few, before: Rows | None) -> Rows:
    """The vectors of a few documents; those that `before` has of the same generation are not read again."""
    told = generation.id, few.told
    if before is None:
        chunks, matrix = await _read(connection, generation, b"document_id = any(%s::bigint[])", told)
    else:
        cursor = await connection.execute(
            b"select string_agg(int8send(chunk_id), ''::bytea) as ids from collection_vectors"
            b" where embedding_id = %s and document_id = any(%s::bigint[])",
            told,
            binary=True,
        )
        chunks = np.sort(_numbers((await cursor.fetchone() or {}).get("ids")))
        known = np.isin(chunks, before.chunks)
        missing, read = await _read(
            connection, generation, b"chunk_id = any(%s)", (generation.id, chunks[~known].tolist())
        )
        matrix = np.empty((len(chunks), generation.dimensions or 0), np.float32)
        matrix[known] = before.matrix[np.searchsorted(before.chunks, chunks[known])]
        matrix[np.searchsorted(chunks, missing)] = read
    return Rows(embedding_id=generation.id, version=generation.version, chunks=chunks, matrix=matrix)


async def _read(
    connection: Connection, generation: Generation, which: bytes, params: tuple[object, ...]
) -> tuple[Numbers, NDArray[np.float32]]:
    """(ids, vectors) of some chunks, by rising ids."""
    cursor = await connection.execute(
        b"select string_agg(int8send(chunk_id), ''::bytea) as ids, string_agg(halfvec_send(vector), ''::bytea) as vectors"
        b" from (select chunk_id, vector from collection_vectors where embedding_id = %s and "
        + which
        + b" order by chunk_id) found",
        params,
        binary=True,
    )
    row = await cursor.fetchone() or {}
    kind = [("dimensions", ">i2"), ("unused", ">i2"), ("vector", ">f2", (generation.dimensions or 0,))]
    vectors = np.frombuffer(row.get("vectors") or b"", dtype=kind)["vector"]
    # First into the order of bytes of this machine: both steps at once take ten times as long.
    return _numbers(row.get("ids")), vectors.astype(np.float16).astype(np.float32)


def _numbers(stored: bytes | None) -> Numbers:
    return np.frombuffer(stored or b"", dtype=">i8").astype(np.int64)


def _dot(matrix: NDArray[np.float32], vector: Vector) -> Scores:
    """The cosine of each row with a vector as PostgreSQL has it."""
    # By `@` threads of BLAS would wait for each other: on busy cores ten times the CPU.
    halved = vector.astype(np.float16).astype(np.float32)
    scores: Scores = np.einsum("ij,j->i", matrix, halved).astype(np.float64)
    return scores


def text_of(vector: Vector) -> str:
    """As PostgreSQL reads it."""
    # By one format: a call for each number takes half as long again.
    return f"[{('%.6g,' * len(vector) % tuple(vector.tolist()))[:-1]}]"


def _among(restriction: Restriction) -> str:
    return f"v.document_id in (select d.id from collection_documents d where {restriction.sql})"  # noqa: S608 - parameters only


def _each(restriction: Restriction) -> str:
    """Asked of each chunk as the index comes to it: as a join, the planner may prefer to sort all that are left."""
    if restriction.none:
        return "true"
    return f"(select {restriction.sql} from collection_documents d where d.id = v.document_id)"  # noqa: S608 - parameters only


def _near(rows: Sequence[Mapping[str, Any]]) -> Near:
    near = [row for row in rows if row.get("near", True)]
    chunks = np.array([row["chunk_id"] for row in near], dtype=np.int64)
    scores = np.array([-row["far"] for row in near], dtype=np.float64)
    order = np.lexsort((chunks, -scores))
    others = {row["chunk_id"]: -row["far"] for row in rows if not row.get("near", True)}
    return Near(chunks[order], scores[order], others)
