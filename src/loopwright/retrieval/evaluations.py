"""Measured searches as they are kept: figures, and sealed beside them each query with what was found for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
import zstandard
from psycopg.types.json import Jsonb

from loopwright.core.errors import NotFound
from loopwright.kit.db import Database, plain
from loopwright.kit.seal import PLAIN, Seal
from loopwright.retrieval.collection import Collection
from loopwright.retrieval.rows import about_evaluation

KEPT: Final = 200
"""Of a collection: the newest."""
_LARGEST: Final = 1 << 28
_LARGEST_ID: Final = 2**63 - 1
_COLUMNS: Final = "e.id, e.collection_id, e.version, e.embedder, e.documents, e.chunks, e.queries, e.summary, e.note, e.author, e.made_at"


class Outcome(msgspec.Struct, kw_only=True, frozen=True):
    """What one way did for one query."""

    found: list[str]
    """Names of documents, the best first, as deep as the deepest cutoff."""
    measures: dict[str, float]
    micros: int
    note: str = ""
    """What was done without, or why nothing was found."""


class Row(msgspec.Struct, kw_only=True, frozen=True):
    """One query."""

    id: str
    text: str
    grades: dict[str, float]
    ways: dict[str, Outcome]
    synthetic: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One measurement of a collection."""

    id: int
    collection_id: int
    version: int
    """The collection's, when it was made."""
    embedder: str
    documents: int
    chunks: int
    queries: int
    summary: Mapping[str, Any]
    note: str
    author: str
    made_at: datetime

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        named = {name: getattr(self, name) for name in self.__slots__ if name not in ("collection_id", "summary")}
        return {**named, "made_at": self.made_at.isoformat(), **self.summary}


class Evaluations:
    """Of all collections. Every method raises `Unavailable` while the database cannot answer."""

    def __init__(self, db: Database, seal: Seal = PLAIN, *, most: int = KEPT) -> None:
        """Of each collection the newest `most` are kept."""
        self.db = db
        self._seal = seal
        self._most = most

    async def keep(
        self, collection: Collection, summary: Mapping[str, Any], rows: Sequence[Row], *, author: str, note: str
    ) -> Evaluation:
        """Keep one, and let go of the oldest of too many.

        Raises:
            NotFound: the collection was deleted meanwhile.
        """
        packed = await asyncio.to_thread(_packed, rows)
        async with self.db.transaction() as connection:
            cursor = await connection.execute(
                b"insert into collection_evaluations as e"
                b" (collection_id, version, embedder, documents, chunks, queries, summary, note, author, details)"
                b" select %s, %s, %s, %s, %s, %s, %s, %s, %s, '' where exists (select 1 from collections where id = %s)"
                b" returning e.*",
                (
                    collection.id,
                    collection.version,
                    collection.embedder,
                    collection.documents,
                    collection.chunks,
                    len(rows),
                    Jsonb(dict(summary)),
                    plain(note, 2_000),
                    author,
                    collection.id,
                ),
            )
            row = await cursor.fetchone()
            if row is None:
                raise NotFound(f"collection {collection.name!r} was deleted just now", param="collection")
            await connection.execute(
                b"update collection_evaluations set details = %s, sealed_by = %s where id = %s",
                (self._seal.seal(packed, about_evaluation(row["id"])), self._seal.first, row["id"]),
            )
            await connection.execute(
                b"delete from collection_evaluations where collection_id = %s and id <= ("
                b"select id from collection_evaluations where collection_id = %s order by id desc offset %s limit 1)",
                (collection.id, collection.id, self._most),
            )
        return _evaluation(row)

    async def list(self, collection: Collection, *, before: int | None = None, limit: int = 50) -> Sequence[Evaluation]:
        """The newest first; `before` is the id of the last one seen."""
        rows = await self.db.rows(
            f"select {_COLUMNS} from collection_evaluations e where collection_id = %s and id < %s"  # noqa: S608 - ours
            " order by id desc limit %s",
            (collection.id, _LARGEST_ID if before is None else before, limit),
        )
        return [_evaluation(row) for row in rows]

    async def get(self, collection: Collection, evaluation_id: int) -> Evaluation:
        """One.

        Raises:
            NotFound: the collection has none of this id.
        """
        rows = await self.db.rows(
            f"select {_COLUMNS} from collection_evaluations e where collection_id = %s and id = %s",  # noqa: S608 - ours
            (collection.id, min(evaluation_id, _LARGEST_ID)),
        )
        if not rows:
            raise NotFound(f"collection {collection.name!r} has no evaluation {evaluation_id}", param="id")
        return _evaluation(rows[0])

    async def rows(self, evaluation: Evaluation) -> Sequence[Row]:
        """Its queries.

        Raises:
            NotFound: it was deleted meanwhile.
            Sealed: its key is not here.
        """
        found = await self.db.row("select details from collection_evaluations where id = %s", (evaluation.id,))
        if found is None:
            raise NotFound(f"evaluation {evaluation.id} was deleted just now", param="id")
        opened = self._seal.open(bytes(found["details"]), about_evaluation(evaluation.id))
        return await asyncio.to_thread(_unpacked, opened)

    async def missing(self, collection: Collection, names: Iterable[str]) -> int:
        """How many of these documents the collection does not have."""
        wanted = list(names)
        row = await self.db.row(
            "select count(*) as there from collection_documents"
            " where collection_id = %s and state = 'ready' and name = any(%s)",
            (collection.id, wanted),
        )
        return len(wanted) - (0 if row is None else int(row["there"]))

    async def delete(self, evaluation: Evaluation) -> None:
        """Remove one, for ever."""
        await self.db.run("delete from collection_evaluations where id = %s", (evaluation.id,))


def ordered(rows: Sequence[Row], *, by: str, way: str, baseline: str, order: str) -> list[Row]:
    """Queries in an order: `change` is what got worst against the baseline first, `worst` what is worst of all, `given`."""

    def value(row: Row, name: str) -> float:
        return row.ways[name].measures[by]

    if order == "given":
        return list(rows)
    if order == "worst":
        return sorted(rows, key=lambda row: value(row, way))
    return sorted(rows, key=lambda row: (value(row, way) - value(row, baseline), value(row, way)))


def _packed(rows: Sequence[Row]) -> bytes:
    return zstandard.compress(msgspec.msgpack.encode(list(rows)), 3)


def _unpacked(packed: bytes) -> list[Row]:
    return msgspec.msgpack.decode(zstandard.decompress(packed, max_output_size=_LARGEST), type=list[Row])


def _evaluation(row: Mapping[str, Any]) -> Evaluation:
    return Evaluation(**{name: row[name] for name in Evaluation.__slots__})
