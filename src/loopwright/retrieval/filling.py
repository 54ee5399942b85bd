"""Embeds collections anew: chunk after chunk into a generation beside the one that is searched, then they change places.

What is filled is noted with each step, so it goes on where it stopped. Chunks that come meanwhile have higher ids and are
filled in their turn; the change of places is under the lock that every change of the collection holds.
"""

from __future__ import annotations

from typing import Any, Final

from loopwright.core.errors import NotFound
from loopwright.retrieval.collection import Collection
from loopwright.retrieval.embedded import Embeds, embeddable
from loopwright.retrieval.rows import chunk_of, opened_title
from loopwright.retrieval.store import Collections, locked

_CHUNKS: Final = """
    select c.*, d.title from collection_chunks c join collection_documents d on d.id = c.document_id
    where c.collection_id = %s and c.id > %s order by c.id limit %s
"""


class Filling:
    """Every method raises `Unavailable` while the database or the embedder cannot answer; the next step goes on."""

    def __init__(self, store: Collections, embed: Embeds, *, batch: int) -> None:
        """`batch` chunks a step."""
        self._store = store
        self._embed = embed
        self._batch = batch

    async def next(self) -> dict[str, Any] | None:
        """A generation that is being filled; None when none is."""
        return await self._store.db.row(
            "select id, collection_id, model, filled, problem from collection_embeddings where state = 'filling'"
            " order by id limit 1"
        )

    async def step(self, generation: dict[str, Any]) -> None:
        """Fill some more of it, or have it searched when nothing is left.

        Raises:
            LoopwrightError: its model does not embed; what it says is for people.
        """
        collection = await self._store.of_id(generation["collection_id"])
        if collection is None:
            return
        rows = await self._store.db.rows(_CHUNKS, (collection.id, generation["filled"], self._batch))
        if not rows:
            await self._finish(generation, collection)
            return
        seal = self._store.seal
        titles = {row["document_id"]: opened_title(row["title"], row["document_id"], seal) for row in rows}
        chunks = [chunk_of(row, seal) for row in rows]
        texts = [embeddable(titles[each.document_id], each.heading, each.text) for each in chunks]
        vectors = await self._embed(collection, generation["model"], texts)
        try:
            async with self._store.db.transaction() as connection:
                await locked(connection, collection.id)
                cursor = await connection.execute(
                    b"update collection_embeddings set filled = %s, problem = '' where id = %s and state = 'filling'",
                    (chunks[-1].id, generation["id"]),
                )
                if cursor.rowcount:
                    given = {chunk.id: vector for chunk, vector in zip(chunks, vectors, strict=True)}
                    await self._store.index.fill(connection, generation["id"], given)
        except NotFound:
            return

    async def _finish(self, generation: dict[str, Any], collection: Collection) -> None:
        # What was filled is indexed before anybody searches it.
        await self._store.index.settle(collection.id)
        try:
            async with self._store.db.transaction() as connection:
                version = await locked(connection, collection.id)
                cursor = await connection.execute(
                    b"select 1 from collection_embeddings e where e.id = %s and e.state = 'filling' and not exists"
                    b" (select 1 from collection_chunks c where c.collection_id = e.collection_id and c.id > e.filled)",
                    (generation["id"],),
                )
                if await cursor.fetchone() is not None:
                    await self._store.switch(connection, collection.id, generation["id"], version)
        except NotFound:
            return
        await self._store.discard_retired()
