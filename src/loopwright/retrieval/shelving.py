"""What becomes of documents that wait, one transaction each: leased, put where they can be found, or failed."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from loopwright.core.errors import NotFound
from loopwright.documents.document import Parsed, Piece
from loopwright.kit.db import Connection, plain
from loopwright.retrieval.collection import Chunk, Collection, Content
from loopwright.retrieval.intake import Told, opened_told, recipe_of
from loopwright.retrieval.rows import sealed_chunk, sealed_content, sealed_title
from loopwright.retrieval.store import Collections, changed, held

TRIES: Final = 3
"""Times that reading a document may end the process that reads it."""
_LEASE: Final = 60
"""Seconds after which what an ingester of another machine held is free again; renewed well before."""
_FRESH: Final = """
    with picked as (
        select id from collection_intake
        where attempts = 0 and (place is null or place = %(place)s) and (leased_until is null or leased_until < now())
        order by id limit %(limit)s for update skip locked)
    update collection_intake i set holder = %(place)s, leased_until = now() + %(lease)s * interval '1 second'
    from picked where i.id = picked.id returning i.*
"""
_SUSPECT: Final = _FRESH.replace("attempts = 0", "attempts > 0").replace("limit %(limit)s", "limit 1")
_CHUNKS: Final = b"""
    insert into collection_chunks (collection_id, document_id, position, start, "end", page, suspicion, content, sealed_by)
    select %(collection)s, %(document)s, p.position, p.start, p.stop, p.page, p.suspicion, p.content, %(sealed_by)s
    from unnest(%(positions)s::int[], %(starts)s::int[], %(ends)s::int[], %(pages)s::int[], %(suspicions)s::real[],
        %(contents)s::bytea[]) as p (position, start, stop, page, suspicion, content)
    order by p.position returning id, position
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A document that waits, leased."""

    id: int
    """Of what waits: another one when something newer came."""
    collection_id: int
    document_id: int
    name: str
    labels: Sequence[str]
    metadata: Mapping[str, Any]
    sha: bytes
    size: int
    origin: str
    author: str
    attempts: int
    blob: str | None
    told: Told


@dataclass(slots=True, kw_only=True)
class Cut:
    """A document that was read and cut; its vectors come one by one."""

    waiting: Waiting
    collection: Collection
    """As it was when the document was cut."""
    parsed: Parsed
    pieces: Sequence[Piece]
    suspicions: Sequence[float]
    vectors: list[array[float] | None] = field(default_factory=list)
    left: int = 0
    """Pieces without a vector."""

    def __post_init__(self) -> None:
        self.vectors = [None] * len(self.pieces)
        self.left = len(self.pieces)


class MovedError(Exception):
    """The collection has other vectors, or other settings, than the document was made ready for."""


class Shelving:
    """Every method raises `Unavailable` while the database cannot answer."""

    def __init__(self, store: Collections, place: UUID) -> None:
        """`place` is the data folder whose files are at hand."""
        self.store = store
        self._place = place

    async def waiting(self) -> int:
        """How many wait that can be read here."""
        row = await self.store.db.row(
            "select (select count(*) from collection_intake where place is null or place = %s)"
            " + (select count(*) from collection_embeddings where state <> 'current') as open",
            (self._place,),
        )
        return 0 if row is None else int(row["open"])

    async def take_over(self) -> None:
        """What an ingester of this data folder held when it ended is free: there is one at a time."""
        await self.store.db.run(
            "update collection_intake set holder = null, leased_until = null where holder = %s", (self._place,)
        )

    async def renew(self) -> None:
        """Go on holding what is held."""
        await self.store.db.run(
            "update collection_intake set leased_until = now() + %s * interval '1 second' where holder = %s",
            (_LEASE, self._place),
        )

    async def lease(self, limit: int, *, alone: bool) -> list[Waiting]:
        """Some that wait, oldest first. What was begun before and not ended is leased `alone`, one at a time."""
        rows = await self.store.db.rows(
            _SUSPECT if alone else _FRESH, {"place": self._place, "limit": limit, "lease": _LEASE}
        )
        if not rows:
            return []
        named = await self.store.db.rows(
            "select id, name from collection_documents where id = any(%s)", ([row["document_id"] for row in rows],)
        )
        names = {row["id"]: row["name"] for row in named}
        return [
            Waiting(
                id=row["id"],
                collection_id=row["collection_id"],
                document_id=row["document_id"],
                name=names[row["document_id"]],
                labels=row["labels"],
                metadata=row["metadata"],
                sha=bytes(row["sha"]),
                size=row["size"],
                origin=row["origin"],
                author=row["author"],
                attempts=row["attempts"],
                blob=row["blob"],
                told=opened_told(row, self.store),
            )
            for row in sorted(rows, key=lambda each: each["id"])
            if row["document_id"] in names
        ]

    async def begin(self, waiting: Waiting) -> bool:
        """Note that it is being read. False when something newer came, or it is gone."""
        return bool(
            await self.store.db.run("update collection_intake set attempts = attempts + 1 where id = %s", (waiting.id,))
        )

    async def release(self, waiting: Sequence[Waiting]) -> None:
        """Hand back what was not brought to an end, as if it had not been begun: nothing was wrong with it."""
        await self.store.db.run(
            "update collection_intake set holder = null, leased_until = null, attempts = greatest(attempts - 1, 0)"
            " where id = any(%s)",
            ([each.id for each in waiting],),
        )

    async def fail(self, waiting: Waiting, reason: str) -> None:
        """It cannot be read: nothing of it can be found, or what could be found stays as it was."""
        async with self.store.db.transaction() as connection:
            cursor = await connection.execute(b"delete from collection_intake where id = %s", (waiting.id,))
            if cursor.rowcount:
                await connection.execute(
                    b"update collection_documents set reason = %s, changed_at = now(),"
                    b" refused = case when state = 'ready' then %s::bytea end,"
                    b" state = case when state = 'ready' then state else 'failed' end where id = %s",
                    (plain(reason, 2_000), waiting.sha, waiting.document_id),
                )

    async def shelve(self, cut: Cut) -> bool:
        """Put a document where it can be found, in place of what it was. False when it is not wanted any more.

        Raises:
            MovedError: make it ready again.
            BadRequest: its vectors do not go with those of the collection.
        """
        waiting, store = cut.waiting, self.store
        async with store.db.transaction() as connection:
            try:
                collection = await held(connection, waiting.collection_id)
            except NotFound:
                return False
            cursor = await connection.execute(b"delete from collection_intake where id = %s", (waiting.id,))
            if not cursor.rowcount:
                return False
            if (collection.embedding_id, collection.chunking) != (cut.collection.embedding_id, cut.collection.chunking):
                raise MovedError
            cursor = await connection.execute(
                b"select state, chunks from collection_documents where id = %s for update", (waiting.document_id,)
            )
            before = await cursor.fetchone()
            assert before is not None  # what waits goes with its document
            replaced = before["state"] == "ready"
            if replaced:
                await store.index.drop(connection, collection.id, [waiting.document_id])
                await connection.execute(
                    b"delete from collection_chunks where document_id = %s", (waiting.document_id,)
                )
            await self._write(connection, cut, collection)
            await changed(
                connection,
                collection.id,
                collection.version,
                documents=0 if replaced else 1,
                chunks=len(cut.pieces) - (before["chunks"] if replaced else 0),
            )
        return True

    async def _write(self, connection: Connection, cut: Cut, collection: Collection) -> None:
        waiting, parsed, seal = cut.waiting, cut.parsed, self.store.seal
        number = waiting.document_id
        title = waiting.told.title or parsed.title
        content = Content(title=title, text=parsed.text, breaks=[page.start for page in parsed.pages])
        await connection.execute(
            b"update collection_documents set state = 'ready', reason = %s, refused = null, origin = %s, sha = %s,"
            b" recipe = %s, size = %s, media_type = %s, pages = %s, chunks = %s, labels = %s, said = %s, found = %s,"
            b" title = %s, content = %s, sealed_by = %s, author = %s, added = %s, changed_at = now() where id = %s",
            (
                plain("; ".join(parsed.warnings), 2_000),
                waiting.origin,
                waiting.sha,
                recipe_of(collection.chunking),
                waiting.size,
                plain(parsed.media_type),
                len(parsed.pages) or None,
                len(cut.pieces),
                [*waiting.labels],
                Jsonb(dict(waiting.metadata)),
                Jsonb(dict(parsed.metadata)),
                sealed_title(title, number, seal),
                sealed_content(content, number, seal),
                seal.first,
                waiting.author,
                collection.version + 1,
                number,
            ),
        )
        chunks = await self._insert(connection, cut, collection.id)
        await self.store.index.put(connection, collection, chunks)

    async def _insert(self, connection: Connection, cut: Cut, collection_id: int) -> list[Chunk]:
        number, pieces, seal = cut.waiting.document_id, cut.pieces, self.store.seal
        cursor = await connection.execute(
            _CHUNKS,
            {
                "collection": collection_id,
                "document": number,
                "sealed_by": seal.first,
                "positions": [*range(len(pieces))],
                "starts": [piece.start for piece in pieces],
                "ends": [piece.end for piece in pieces],
                "pages": [piece.page for piece in pieces],
                "suspicions": [*cut.suspicions],
                "contents": [
                    sealed_chunk(piece.heading, piece.text, number, at, seal) for at, piece in enumerate(pieces)
                ],
            },
        )
        ids = {row["position"]: row["id"] for row in await cursor.fetchall()}
        return [
            Chunk(
                id=ids[at],
                document_id=number,
                position=at,
                text=piece.text,
                heading=piece.heading,
                page=piece.page,
                start=piece.start,
                end=piece.end,
                suspicion=cut.suspicions[at],
                vector=cut.vectors[at] or (),
            )
            for at, piece in enumerate(pieces)
        ]

    async def say(self, embedding_ids: Sequence[int], problem: str) -> None:
        """Note why vectors do not come now; empty when they do."""
        await self.store.db.run(
            "update collection_embeddings set problem = %s where id = any(%s) and problem <> %s",
            (problem := plain(problem, 1_000), [*embedding_ids], problem),
        )
