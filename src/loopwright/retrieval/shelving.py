"""What becomes of documents that wait, one transaction each: leased, put where they can be found, or failed."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import msgspec
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
_FOUND: Final = 64_000
"""Bytes of JSON that a file may say of itself; more is not kept."""
_LEASE: Final = 60
"""Seconds after which what an ingester of another machine held is free again; renewed well before."""
_FRESH: Final = """
    with picked as (
        select id from collection_intake
        where attempts = 0 and (place is null or place = %(place)s) and (leased_until is null or leased_until < now())
        order by id limit %(limit)s for update skip locked)
    update collection_intake i set holder = %(place)s, leased_until = now() + %(lease)s * interval '1 second',
        attempts = attempts + 1
    from picked, collection_documents d where i.id = picked.id and d.id = i.document_id returning i.*, d.name
"""
_SUSPECT: Final = _FRESH.replace("attempts = 0", "attempts > 0").replace("limit %(limit)s", "limit 1")
_DOCUMENTS: Final = b"""
    update collection_documents d set state = 'ready', reason = n.reason, refused = null, origin = n.origin, sha = n.sha,
        recipe = %(recipe)s, size = n.size, media_type = n.media_type, pages = n.pages, chunks = n.chunks,
        labels = array(select jsonb_array_elements_text(n.labels)), said = n.said, found = n.found, title = n.title,
        content = n.content, sealed_by = %(sealed_by)s, author = n.author, added = %(added)s, changed_at = now()
    from unnest(%(id)s::bigint[], %(reason)s::text[], %(origin)s::text[], %(sha)s::bytea[], %(size)s::bigint[],
        %(media_type)s::text[], %(pages)s::int[], %(chunks)s::int[], %(labels)s::jsonb[], %(said)s::jsonb[],
        %(found)s::jsonb[], %(title)s::bytea[], %(content)s::bytea[], %(author)s::text[])
        as n (id, reason, origin, sha, size, media_type, pages, chunks, labels, said, found, title, content, author)
    where d.id = n.id
"""
_CHUNKS: Final = b"""
    insert into collection_chunks (collection_id, document_id, position, start, "end", page, suspicion, content, sealed_by)
    select %(collection)s, p.document, p.position, p.start, p.stop, p.page, p.suspicion, p.content, %(sealed_by)s
    from unnest(%(documents)s::bigint[], %(positions)s::int[], %(starts)s::int[], %(ends)s::int[], %(pages)s::int[],
        %(suspicions)s::real[], %(contents)s::bytea[])
        as p (document, position, start, stop, page, suspicion, content)
    order by p.document, p.position returning id, document_id, position
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
    """Times that reading it began, with this one."""
    blob: str | None
    told: Told


@dataclass(slots=True, kw_only=True, eq=False)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelved:
    """What became of documents that were to be put."""

    done: Sequence[Cut]
    """Can be found; or nobody wanted them any more."""
    moved: Sequence[Cut]
    """Were made ready for other vectors or settings than the collection has now."""


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
        return [
            Waiting(
                id=row["id"],
                collection_id=row["collection_id"],
                document_id=row["document_id"],
                name=row["name"],
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
        ]

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

    async def shelve(self, cuts: Sequence[Cut]) -> Shelved:
        """Put documents of one collection where they can be found, in place of what they were: all in one transaction.

        Raises:
            BadRequest: their vectors do not go with those of the collection; nothing was put.
        """
        async with self.store.db.transaction() as connection:
            try:
                collection = await held(connection, cuts[0].collection.id)
            except NotFound:
                return Shelved(done=cuts, moved=())
            kind = collection.embedding_id, collection.chunking
            fit = [cut for cut in cuts if (cut.collection.embedding_id, cut.collection.chunking) == kind]
            cursor = await connection.execute(
                b"delete from collection_intake where id = any(%s) returning id", ([cut.waiting.id for cut in fit],)
            )
            wanted = {row["id"] for row in await cursor.fetchall()}
            if putting := [cut for cut in fit if cut.waiting.id in wanted]:
                await self._put(connection, collection, putting)
        return Shelved(done=fit, moved=[cut for cut in cuts if cut not in fit])

    async def _put(self, connection: Connection, collection: Collection, cuts: Sequence[Cut]) -> None:
        cursor = await connection.execute(
            b"select id, chunks from collection_documents where id = any(%s) and state = 'ready' order by id for update",
            ([cut.waiting.document_id for cut in cuts],),
        )
        before = {row["id"]: row["chunks"] for row in await cursor.fetchall()}
        if before:
            await self.store.index.drop(connection, collection.id, [*before])
            await connection.execute(b"delete from collection_chunks where document_id = any(%s)", ([*before],))
        rows = [self._row(cut) for cut in cuts]
        shared = {
            "recipe": recipe_of(collection.chunking),
            "sealed_by": self.store.seal.first,
            "added": collection.version + 1,
        }
        await connection.execute(_DOCUMENTS, {**shared, **{name: [row[name] for row in rows] for name in rows[0]}})
        chunks = await self._insert(connection, cuts, collection.id)
        await self.store.index.put(connection, collection, chunks)
        await changed(
            connection,
            collection.id,
            collection.version,
            documents=len(cuts) - len(before),
            chunks=len(chunks) - sum(before.values()),
        )

    def _row(self, cut: Cut) -> dict[str, object]:
        waiting, parsed, seal = cut.waiting, cut.parsed, self.store.seal
        number, title = waiting.document_id, waiting.told.title or parsed.title
        content = Content(title=title, text=parsed.text, breaks=[page.start for page in parsed.pages])
        return {
            "id": number,
            "reason": plain("; ".join(parsed.warnings), 2_000),
            "origin": waiting.origin,
            "sha": waiting.sha,
            "size": waiting.size,
            "media_type": plain(parsed.media_type),
            "pages": len(parsed.pages) or None,
            "chunks": len(cut.pieces),
            "labels": Jsonb([*waiting.labels]),
            "said": Jsonb(dict(waiting.metadata)),
            "found": Jsonb(_storable(parsed.metadata)),
            "title": sealed_title(title, number, seal),
            "content": sealed_content(content, number, seal),
            "author": waiting.author,
        }

    async def _insert(self, connection: Connection, cuts: Sequence[Cut], collection_id: int) -> list[Chunk]:
        seal = self.store.seal
        every = [(cut, at, piece) for cut in cuts for at, piece in enumerate(cut.pieces)]
        cursor = await connection.execute(
            _CHUNKS,
            {
                "collection": collection_id,
                "sealed_by": seal.first,
                "documents": [cut.waiting.document_id for cut, _, _ in every],
                "positions": [at for _, at, _ in every],
                "starts": [piece.start for _, _, piece in every],
                "ends": [piece.end for _, _, piece in every],
                "pages": [piece.page for _, _, piece in every],
                "suspicions": [cut.suspicions[at] for cut, at, _ in every],
                "contents": [
                    sealed_chunk(piece.heading, piece.text, cut.waiting.document_id, at, seal)
                    for cut, at, piece in every
                ],
            },
        )
        ids = {(row["document_id"], row["position"]): row["id"] for row in await cursor.fetchall()}
        return [
            Chunk(
                id=ids[cut.waiting.document_id, at],
                document_id=cut.waiting.document_id,
                position=at,
                text=piece.text,
                heading=piece.heading,
                page=piece.page,
                start=piece.start,
                end=piece.end,
                suspicion=cut.suspicions[at],
                vector=cut.vectors[at] or (),
            )
            for cut, at, piece in every
        ]

    async def say(self, embedding_ids: Sequence[int], problem: str) -> None:
        """Note why vectors do not come now; empty when they do."""
        await self.store.db.run(
            "update collection_embeddings set problem = %s where id = any(%s) and problem <> %s",
            (problem := plain(problem, 1_000), [*embedding_ids], problem),
        )


def _storable(found: Mapping[str, Any]) -> dict[str, Any]:
    """What a file says of itself, as PostgreSQL can keep it: files are made by strangers."""
    told = msgspec.json.encode(found, enc_hook=str).replace(b"\\u0000", b"\\ufffd")
    return dict(msgspec.json.decode(told)) if len(told) <= _FOUND else {}
