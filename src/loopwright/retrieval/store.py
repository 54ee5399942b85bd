"""The collections of all projects: made, changed, emptied, embedded anew, deleted. Reading them is in `reading.py`.

Whoever changes what can be found holds the row of the collection, so changes of one collection come one after the
other, ids of chunks rise in the order in which they can be seen, and every change has a version of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from loopwright.core.errors import BadRequest, Conflict, NotFound, Spent
from loopwright.kit.db import Connection, Database, plain
from loopwright.kit.seal import PLAIN, Seal
from loopwright.retrieval.collection import Chunking, Collection, check_name
from loopwright.retrieval.indexing import Indexing
from loopwright.retrieval.options import check
from loopwright.retrieval.reading import WHICH, Reading, Seen, Which
from loopwright.retrieval.rows import COLLECTION, VISIBLE, collection_of

CHANNEL: Final = "loopwright_collections"
"""Its payload is the id of the collection that changed."""
_STEP: Final = 500
"""Documents removed in one transaction."""
_DESCRIPTION: Final = 2_000
_SEARCH: Final = 20_000
"""Bytes of the options of a collection."""


_DOCUMENTS: Final = "select d.id, d.state, d.chunks from collection_documents d"


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What was taken out."""

    documents: int
    blobs: Sequence[str] = ()
    """Of bytes that waited for them."""


class Collections(Reading):
    """Every method raises `Unavailable` while the database cannot answer."""

    def __init__(self, db: Database, index: Indexing, seal: Seal = PLAIN, *, most: int = 1_000) -> None:
        """Collections in `db`; a project has at most `most`."""
        super().__init__(db, seal)
        self.index = index
        self._most = most

    async def create(
        self,
        project_id: int,
        name: str,
        *,
        embedder: str,
        description: str = "",
        chunking: Chunking | None = None,
        search: Mapping[str, Any] | None = None,
    ) -> Collection:
        """An empty collection, whose vectors will come from the model `embedder`.

        Raises:
            BadRequest: the name or an option is not usable.
            Conflict: there is one of this name.
            Spent: the project has too many.
        """
        check_name(name)
        try:
            async with self.db.transaction() as connection:
                cursor = await connection.execute(
                    b"select count(*) as made from collections where project_id = %s", (project_id,)
                )
                counted = await cursor.fetchone()
                if counted is not None and counted["made"] >= self._most:
                    raise Spent(f"the project has {self._most:,} collections, as many as it may: delete some")
                cursor = await connection.execute(
                    b"with made as (insert into collections (project_id, name, description, chunking, search)"
                    b" values (%s, %s, %s, %s, %s) returning id),"
                    b" embedding as (insert into collection_embeddings (collection_id, model, state)"
                    b" select id, %s, 'current' from made returning id, collection_id)"
                    b" select collection_id, id from embedding",
                    (
                        project_id,
                        name,
                        plain(description, _DESCRIPTION),
                        Jsonb((chunking or Chunking()).shown()),
                        _options(search or {}),
                        plain(embedder),
                    ),
                )
                row = await cursor.fetchone()
                assert row is not None
                await connection.execute(
                    b"update collections set embedding_id = %s where id = %s", (row["id"], row["collection_id"])
                )
        except psycopg.errors.UniqueViolation:
            raise Conflict(f"there is a collection {name!r} already", param="name") from None
        return await self.get(project_id, name)

    async def change(
        self,
        collection: Collection,
        *,
        name: str | None = None,
        description: str | None = None,
        chunking: Chunking | None = None,
        search: Mapping[str, Any] | None = None,
    ) -> Collection:
        """Change what is said of a collection. Chunking holds for what is read from now on.

        Raises:
            BadRequest: the name or an option is not usable.
            Conflict: another one has the name.
            NotFound: it is gone.
        """
        try:
            done = await self.db.run(
                "update collections set name = coalesce(%s, name), description = coalesce(%s, description),"
                " chunking = coalesce(%s, chunking), search = coalesce(%s, search) where id = %s",
                (
                    None if name is None else check_name(name),
                    None if description is None else plain(description, _DESCRIPTION),
                    None if chunking is None else Jsonb(chunking.shown()),
                    None if search is None else _options(search),
                    collection.id,
                ),
            )
        except psycopg.errors.UniqueViolation:
            raise Conflict(f"there is a collection {name!r} already", param="name") from None
        if done:
            await self.db.run("select pg_notify(%s, %s)", (CHANNEL, str(collection.id)))
        return await self.get(collection.project_id, collection.name if name is None else name)

    async def delete(self, collection: Collection) -> Removed:
        """Remove a collection with all that is in it, for ever.

        Raises:
            NotFound: it is gone.
        """
        async with self.db.transaction() as connection:
            await locked(connection, collection.id)
            blobs = await _blobs(connection, b"collection_id = %s", (collection.id,))
            cursor = await connection.execute(
                b"select id from collection_documents where collection_id = %s", (collection.id,)
            )
            documents = [row["id"] for row in await cursor.fetchall()]
            for start in range(0, len(documents), 10_000):
                await self.index.drop(connection, collection.id, documents[start : start + 10_000])
            cursor = await connection.execute(
                b"select id from collection_embeddings where collection_id = %s", (collection.id,)
            )
            for row in await cursor.fetchall():
                await self.index.discard(connection, row["id"])
            await connection.execute(b"delete from collections where id = %s", (collection.id,))
            await connection.execute(b"select pg_notify(%s, %s)", (CHANNEL, str(collection.id)))
        return Removed(documents=len(documents), blobs=blobs)

    async def remove(self, collection: Collection, document_ids: Sequence[int], seen: Seen) -> Removed:
        """Take documents out; those that are not there, or not for who asks, are passed over."""
        async with self.db.transaction() as connection:
            version = await locked(connection, collection.id)
            cursor = await connection.execute(
                f"{_DOCUMENTS} where d.collection_id = %(collection)s and d.id = any(%(ids)s) and {VISIBLE} for update".encode(),
                {
                    "collection": collection.id,
                    "ids": [*document_ids],
                    "seen": None if seen is None else sorted(seen),
                },
            )
            rows = await cursor.fetchall()
            if not rows:
                return Removed(documents=0)
            ids = [row["id"] for row in rows]
            blobs = await _blobs(connection, b"document_id = any(%s)", (ids,))
            await self.index.drop(connection, collection.id, ids)
            await connection.execute(b"delete from collection_documents where id = any(%s)", (ids,))
            ready = [row for row in rows if row["state"] == "ready"]
            await changed(
                connection, collection.id, version, documents=-len(ready), chunks=-sum(row["chunks"] for row in ready)
            )
        return Removed(documents=len(ids), blobs=blobs)

    async def remove_all(
        self, collection: Collection, which: Which, seen: Seen, *, keep: Sequence[str] = ()
    ) -> Removed:
        """Take out every document that `which` means but those named in `keep`, some hundred at a time."""
        gone, blobs, after = 0, list[str](), 0
        kept = [plain(name, 2_000) for name in keep]
        while True:
            rows = await self.db.rows(
                f"{_DOCUMENTS} where {WHICH} and d.id > %(after)s"
                " and not d.name = any(%(keep)s) order by d.id limit %(step)s",
                {**which.params(collection.id, seen), "after": after, "keep": kept, "step": _STEP},
            )
            if not rows:
                return Removed(documents=gone, blobs=blobs)
            after = rows[-1]["id"]
            removed = await self.remove(collection, [row["id"] for row in rows], seen)
            gone += removed.documents
            blobs.extend(removed.blobs)

    # ---- embedding anew ----

    async def embed(self, collection: Collection, model: str) -> Collection:
        """Begin to embed a collection anew with `model`; it is searched as it was until that is done.

        The model it has already ends an embedding that is under way; the one being filled goes on.

        Raises:
            NotFound: it is gone.
        """
        async with self.db.transaction() as connection:
            version = await locked(connection, collection.id)
            cursor = await connection.execute(
                b"select id, model from collection_embeddings where collection_id = %s and state = 'filling'",
                (collection.id,),
            )
            filling = await cursor.fetchone()
            if filling is None or filling["model"] != model:
                if filling is not None:
                    await self.index.discard(connection, filling["id"])
                    await connection.execute(b"delete from collection_embeddings where id = %s", (filling["id"],))
                if model != collection.embedder:
                    await self._begin_embedding(connection, collection, plain(model), version)
        return await self.get(collection.project_id, collection.name)

    async def _begin_embedding(self, connection: Connection, collection: Collection, model: str, version: int) -> None:
        if collection.chunks:
            await connection.execute(
                b"insert into collection_embeddings (collection_id, model, state) values (%s, %s, 'filling')",
                (collection.id, model),
            )
            return
        # Nothing is there: the next chunk makes the dimensions.
        cursor = await connection.execute(
            b"insert into collection_embeddings (collection_id, model, state) values (%s, %s, 'filling') returning id",
            (collection.id, model),
        )
        row = await cursor.fetchone()
        assert row is not None
        await self.switch(connection, collection.id, row["id"], version)

    async def switch(self, connection: Connection, collection_id: int, embedding_id: int, version: int) -> int:
        """Search a generation from now on, under the lock of its collection; the id of the one before, to be discarded."""
        cursor = await connection.execute(b"select embedding_id from collections where id = %s", (collection_id,))
        row = await cursor.fetchone()
        assert row is not None
        before: int = row["embedding_id"]
        await connection.execute(b"update collection_embeddings set state = 'retired' where id = %s", (before,))
        await connection.execute(
            b"update collection_embeddings set state = 'current', problem = '' where id = %s", (embedding_id,)
        )
        await connection.execute(
            b"update collections set embedding_id = %s where id = %s", (embedding_id, collection_id)
        )
        await changed(connection, collection_id, version)
        return before

    async def discard_retired(self) -> int:
        """Forget generations that nobody searches any more; how many."""
        rows = await self.db.rows("select id from collection_embeddings where state = 'retired'")
        for row in rows:
            async with self.db.transaction() as connection:
                await self.index.discard(connection, row["id"])
                await connection.execute(b"delete from collection_embeddings where id = %s", (row["id"],))
        return len(rows)


async def locked(connection: Connection, collection_id: int) -> int:
    """Hold a collection to the end of the transaction; its version.

    Raises:
        NotFound: it is gone.
    """
    cursor = await connection.execute(b"select version from collections where id = %s for update", (collection_id,))
    row = await cursor.fetchone()
    if row is None:
        raise NotFound("the collection was deleted meanwhile", param="collection")
    version: int = row["version"]
    return version


async def held(connection: Connection, collection_id: int) -> Collection:
    """As `locked`: the collection as it is now.

    Raises:
        NotFound: it is gone.
    """
    await locked(connection, collection_id)
    cursor = await connection.execute(f"{COLLECTION} where c.id = %s".encode(), (collection_id,))
    row = await cursor.fetchone()
    assert row is not None
    return collection_of(row)


async def changed(
    connection: Connection, collection_id: int, version: int, *, documents: int = 0, chunks: int = 0
) -> int:
    """Note a change of a collection that is `locked`, with so many documents and chunks more; its new version."""
    await connection.execute(
        b"update collections set version = %s, documents = documents + %s, chunks = chunks + %s where id = %s",
        (version + 1, documents, chunks, collection_id),
    )
    await connection.execute(b"select pg_notify(%s, %s)", (CHANNEL, str(collection_id)))
    return version + 1


async def _blobs(connection: Connection, where: bytes, params: Sequence[object]) -> list[str]:
    """Files of what waits."""
    cursor = await connection.execute(b"select blob from collection_intake where blob is not null and " + where, params)
    return [row["blob"] for row in await cursor.fetchall()]


def _options(search: Mapping[str, Any]) -> Jsonb:
    try:
        told = msgspec.json.encode(search)
    except (msgspec.MsgspecError, UnicodeError, OverflowError, RecursionError, TypeError) as error:
        raise BadRequest(f"search: it holds what cannot be stored: {str(error)[:200]}", param="search") from None
    if len(told) > _SEARCH or b"\\u0000" in told:
        raise BadRequest(f"search: {_SEARCH:,} bytes of JSON without NUL at most", param="search")
    check(search, collection=True)
    return Jsonb(dict(search))
