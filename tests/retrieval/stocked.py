"""Collections for tests of the search: rows made as ingestion makes them, vectors from a toy embedder."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg.types.json import Jsonb

from loopwright.core.privacy import Privacy
from loopwright.kit.db import Connection, Database
from loopwright.kit.seal import PLAIN, Seal
from loopwright.retrieval.collection import Chunk, Collection
from loopwright.retrieval.index import Index
from loopwright.retrieval.rows import COLLECTION, collection_of, sealed_chunk, sealed_title
from loopwright.retrieval.terms import words_of


@dataclass(slots=True)
class Toy:
    """Words hashed into a few dimensions: texts with the same words have the same vector."""

    name: str = "toy"
    dimensions: int = 32
    asked: list[str] = field(default_factory=list)

    async def __call__(self, texts: list[str], /, *, privacy: Privacy | None = None) -> list[list[float]]:  # noqa: ARG002
        self.asked += texts
        return [self.vector(text) for text in texts]

    def vector(self, text: str) -> list[float]:
        found = [1e-3] * self.dimensions
        for word in words_of(text):
            digest = hashlib.sha256(word.encode()).digest()
            for at in range(4):
                found[digest[at] % self.dimensions] += 1.0 if digest[at + 8] % 2 else -1.0
        length = math.sqrt(sum(value * value for value in found))
        return [value / length for value in found]


@dataclass(frozen=True, slots=True, kw_only=True)
class Doc:
    """A document: its name and the texts of its chunks."""

    name: str
    texts: Sequence[str]
    labels: Sequence[str] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    title: str = ""
    heading: str = ""


@dataclass(slots=True)
class Shelf:
    """Stocks collections of project 1."""

    db: Database
    seal: Seal = PLAIN
    embedder: Toy = field(default_factory=Toy)
    index: Index = field(init=False)

    def __post_init__(self) -> None:
        self.index = Index(self.db, self.seal)

    async def collection(self, name: str, *, project_id: int = 1, **search: Any) -> Collection:
        async with self.db.transaction() as connection:
            row = await _one(
                connection,
                "insert into collections (project_id, name, chunking, search) values (%s, %s, %s, %s) returning id",
                (project_id, name, Jsonb({"by": "recursive", "tokens": 200, "overlap": 20}), Jsonb(search)),
            )
            generation = await self.generation(connection, row["id"], self.embedder.name, "current")
            await connection.execute("update collections set embedding_id = %s where id = %s", (generation, row["id"]))
        return await self.get(row["id"])

    async def generation(self, connection: Connection, collection_id: int, model: str, state: str) -> int:
        made = await _one(
            connection,
            "insert into collection_embeddings (collection_id, model, state) values (%s, %s, %s) returning id",
            (collection_id, model, state),
        )
        return int(made["id"])

    async def get(self, collection_id: int) -> Collection:
        row = await self.db.row(f"{COLLECTION} where c.id = %s", (collection_id,))
        assert row is not None
        return collection_of(row)

    async def put(self, collection: Collection, docs: Sequence[Doc], *, dense: bool = True) -> list[int]:
        """Store and index documents in one transaction; their ids."""
        made = []
        async with self.db.transaction() as connection:
            chunks: list[Chunk] = []
            for doc in docs:
                row = await _one(
                    connection,
                    "insert into collection_documents (collection_id, name, origin, state, sha, size, chunks, labels,"
                    " said) values (%s, %s, 'record', 'ready', %s, 1, %s, %s, %s) returning id",
                    (collection.id, doc.name, b"", len(doc.texts), list(doc.labels), Jsonb(dict(doc.metadata))),
                )
                made.append(int(row["id"]))
                title = sealed_title(doc.title, made[-1], self.seal) if doc.title else b""
                await connection.execute("update collection_documents set title = %s where id = %s", (title, made[-1]))
                chunks += await self._chunks(connection, collection.id, made[-1], doc, dense=dense)
            await self.index.put(connection, collection, chunks)
            await connection.execute(
                "update collections set version = version + 1, documents = documents + %s, chunks = chunks + %s"
                " where id = %s",
                (len(docs), len(chunks), collection.id),
            )
        return made

    async def drop(self, collection: Collection, document_ids: Sequence[int]) -> None:
        async with self.db.transaction() as connection:
            await self.index.drop(connection, collection.id, document_ids)
            await connection.execute("delete from collection_documents where id = any(%s)", (list(document_ids),))
            await connection.execute(
                "update collections set version = version + 1, chunks = (select count(*) from collection_chunks"
                " where collection_id = %s) where id = %s",
                (collection.id, collection.id),
            )

    async def _chunks(
        self, connection: Connection, collection_id: int, document_id: int, doc: Doc, *, dense: bool
    ) -> list[Chunk]:
        found, start = [], 0
        for position, text in enumerate(doc.texts):
            row = await _one(
                connection,
                'insert into collection_chunks (collection_id, document_id, position, start, "end", content)'
                " values (%s, %s, %s, %s, %s, %s) returning id",
                (
                    collection_id,
                    document_id,
                    position,
                    start,
                    start + len(text),
                    sealed_chunk(doc.heading, text, document_id, position, self.seal),
                ),
            )
            found.append(
                Chunk(
                    id=row["id"],
                    document_id=document_id,
                    position=position,
                    text=text,
                    heading=doc.heading,
                    page=None,
                    start=start,
                    end=start + len(text),
                    vector=self.embedder.vector(text) if dense else (),
                )
            )
            start += len(text) + 1
        return found


async def _one(connection: Connection, sql: str, params: Sequence[object]) -> dict[str, Any]:
    cursor = await connection.execute(sql.encode(), params)
    row = await cursor.fetchone()
    assert row is not None
    return row
