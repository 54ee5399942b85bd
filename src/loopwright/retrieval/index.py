"""The index of collections: vectors of each generation and segments of words, kept in step with their chunks.

What is put, dropped or filled is in the transaction of whoever stores the chunks; `settle` does afterwards what would
hold that transaction up: merges segments, makes the HNSW index of a generation that has grown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from loopwright.core.errors import Sealed
from loopwright.kit.db import Connection, Database
from loopwright.kit.seal import PLAIN, Seal
from loopwright.retrieval import segments, vectors
from loopwright.retrieval.collection import Chunk, Collection
from loopwright.retrieval.embedded import embeddable
from loopwright.retrieval.layouts import Layouts
from loopwright.retrieval.postings import Postings, postings_of
from loopwright.retrieval.rows import opened_title
from loopwright.retrieval.segments import Head
from loopwright.retrieval.terms import LANGUAGE, Analyzer, check_language

MEMORY: Final = 200_000_000
"""Bytes that a process holds to search faster, unless it is told otherwise."""
_THREAD: Final = 64
"""Chunks from which words are counted in a thread."""


class Index:
    """Everything a search reads, but the texts. Every method raises `Unavailable` while the database cannot answer."""

    def __init__(self, db: Database, seal: Seal = PLAIN, *, large: int = vectors.LARGE, memory: int = MEMORY) -> None:
        """`large`: chunks from which a generation has an HNSW index; `memory`: bytes that searches hold, half of them here."""
        self.large = large
        self.db = db
        self.seal = seal
        self.layouts = Layouts(memory // 3)

    async def put(self, connection: Connection, collection: Collection, chunks: Sequence[Chunk]) -> None:
        """Index chunks whose rows are stored in the same transaction; those without a vector only by their words.

        Raises:
            BadRequest: the vectors are not such as the collection has.
        """
        if not chunks:
            return
        dimensions = await _lock(connection, collection)
        with_vector = [chunk for chunk in chunks if len(chunk.vector)]
        if with_vector:
            rows = vectors.matrix_of([chunk.vector for chunk in with_vector], dimensions)
            if dimensions is None:
                await self.begin(connection, collection.embedding_id, rows.shape[1])
            await vectors.write(
                connection,
                collection.embedding_id,
                [chunk.id for chunk in with_vector],
                [chunk.document_id for chunk in with_vector],
                rows,
            )
        language = check_language(collection.search.get("language", LANGUAGE))
        await self.count(connection, collection.id, language, chunks)
        for group in segments.due(await segments.segments_of(connection, collection.id), small=True):
            await segments.merge(connection, collection.id, group)

    async def count(self, connection: Connection, collection_id: int, language: str, chunks: Sequence[Chunk]) -> None:
        """Make a segment of the words of chunks. The collection is locked."""
        if not chunks:
            return
        titles = await self._titles(connection, chunks)
        kind = language, self.seal.first
        analyzer = self.analyzer(*kind)
        if len(chunks) >= _THREAD:
            head, postings = await asyncio.to_thread(_counted, analyzer, chunks, titles)
        else:
            head, postings = _counted(analyzer, chunks, titles)
        await segments.write(connection, collection_id, kind, head, postings)

    async def drop(self, connection: Connection, collection_id: int, document_ids: Sequence[int]) -> None:
        """Take documents out."""
        if not document_ids:
            return
        await connection.execute(b"select 1 from collections where id = %s for no key update", (collection_id,))
        await connection.execute(
            b"delete from collection_vectors v using collection_embeddings e"
            b" where e.collection_id = %s and v.embedding_id = e.id and v.document_id = any(%s)",
            (collection_id, list(document_ids)),
        )
        await segments.bury(connection, collection_id, document_ids)

    async def begin(self, connection: Connection, embedding_id: int, dimensions: int) -> None:
        """A generation's vectors will have so many dimensions."""
        await connection.execute(
            b"update collection_embeddings set dimensions = %s where id = %s and dimensions is distinct from %s",
            (dimensions, embedding_id, dimensions),
        )

    async def fill(self, connection: Connection, embedding_id: int, given: Mapping[int, Sequence[float]]) -> None:
        """Store vectors of chunks by their ids, again if need be; chunks that are gone are left out.

        Raises:
            BadRequest: the vectors are not such as the generation has.
        """
        if not given:
            return
        cursor = await connection.execute(
            b"select dimensions from collection_embeddings where id = %s", (embedding_id,)
        )
        generation = await cursor.fetchone()
        if generation is None:
            return
        ids = list(given)
        await connection.execute(
            b"delete from collection_vectors where embedding_id = %s and chunk_id = any(%s)", (embedding_id, ids)
        )
        cursor = await connection.execute(
            b"select id, document_id from collection_chunks where id = any(%s) order by id for key share", (ids,)
        )
        found = await cursor.fetchall()
        if not found:
            return
        rows = vectors.matrix_of([given[row["id"]] for row in found], generation["dimensions"])
        if generation["dimensions"] is None:
            await self.begin(connection, embedding_id, rows.shape[1])
        await vectors.write(
            connection, embedding_id, [row["id"] for row in found], [row["document_id"] for row in found], rows
        )

    async def discard(self, connection: Connection, embedding_id: int) -> None:
        """Throw a generation's vectors away."""
        await vectors.discard(connection, embedding_id)

    async def settle(self, collection_id: int) -> None:
        """Do what is better done after many puts; any number may run at once, and nothing is lost when one breaks off."""
        async with self.db.transaction() as connection:
            await connection.execute(b"select 1 from collections where id = %s for no key update", (collection_id,))
            for group in segments.due(await segments.segments_of(connection, collection_id), small=False):
                await segments.merge(connection, collection_id, group)
        generations = await self.db.rows(
            "select e.id, e.dimensions, (select count(*) from (select 1 from collection_vectors v"
            " where v.embedding_id = e.id limit %s) few) as chunks, c.chunks as all from collection_embeddings e"
            " join collections c on c.id = e.collection_id"
            " where e.collection_id = %s and e.state in ('current', 'filling') and e.dimensions is not null",
            (self.large, collection_id),
        )
        for each in generations:
            if each["chunks"] >= self.large:
                await vectors.build(self.db, each["id"], each["dimensions"], max(each["all"], each["chunks"]))
        await vectors.sweep(self.db)

    def analyzer(self, language: str, hashed_by: str | None) -> Analyzer:
        """What cuts texts into the words of segments of a kind.

        Raises:
            Sealed: they are hashed under a key that is not here.
        """
        if hashed_by is None:
            return Analyzer(language)
        secret = self.seal.blind(hashed_by)
        if secret is None:
            raise Sealed(hashed_by)
        return Analyzer(language, secret)

    async def _titles(self, connection: Connection, chunks: Sequence[Chunk]) -> dict[int, str]:
        cursor = await connection.execute(
            b"select id, title from collection_documents where id = any(%s)",
            (list({chunk.document_id for chunk in chunks}),),
        )
        return {row["id"]: opened_title(row["title"], row["id"], self.seal) for row in await cursor.fetchall()}


async def _lock(connection: Connection, collection: Collection) -> int | None:
    """Keep others from changing the index of a collection until the transaction ends; the dimensions of its vectors."""
    await connection.execute(b"select 1 from collections where id = %s for no key update", (collection.id,))
    cursor = await connection.execute(
        b"select dimensions from collection_embeddings where id = %s", (collection.embedding_id,)
    )
    row = await cursor.fetchone()
    return None if row is None else row["dimensions"]


def _counted(analyzer: Analyzer, chunks: Sequence[Chunk], titles: Mapping[int, str]) -> tuple[Head, Postings]:
    hashes = [
        analyzer.hashes(embeddable(titles.get(chunk.document_id, ""), chunk.heading, chunk.text)) for chunk in chunks
    ]
    head = Head(
        np.array([chunk.id for chunk in chunks], dtype=np.int64),
        np.array([chunk.document_id for chunk in chunks], dtype=np.int64),
        np.array([len(words) for words in hashes], dtype=np.int64),
    )
    return head, postings_of(hashes)
