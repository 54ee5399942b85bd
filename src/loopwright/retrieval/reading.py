"""Reads collections and their documents. Who has labels sees documents without any and those with one of theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from psycopg.types.json import Jsonb

from loopwright.core.errors import NotFound
from loopwright.kit.db import Database, plain
from loopwright.kit.nearest import hint
from loopwright.kit.seal import PLAIN, Seal
from loopwright.retrieval.collection import Chunk, Collection, Content, Document, Origin, State
from loopwright.retrieval.rows import (
    COLLECTION,
    DOCUMENT,
    VISIBLE,
    chunk_of,
    collection_of,
    document_of,
    opened_content,
)

Seen = frozenset[str] | None
"""The labels of who looks; None sees every document."""
_WAITS: Final = "exists (select 1 from collection_intake w where w.document_id = d.id)"
WHICH: Final = f"""
    d.collection_id = %(collection)s and {VISIBLE}
    and (%(state)s::text is null or d.state = %(state)s or %(state)s = 'waiting' and {_WAITS}
         or %(state)s = 'failed' and d.refused is not null)
    and (%(origin)s::text is null or d.origin = %(origin)s)
    and (%(label)s::text is null or %(label)s = any(d.labels))
    and (%(metadata)s::jsonb is null or d.metadata @> %(metadata)s)
    and starts_with(d.name, %(prefix)s)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Some documents of a collection: those that are all of this."""

    state: State | None = None
    """`waiting` is also what waits to be replaced, `failed` what could not be."""
    origin: Origin | None = None
    label: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Members that theirs has, with these values."""
    prefix: str = ""
    """Of their name."""

    @property
    def all(self) -> bool:
        """Whether it leaves nothing out."""
        return self == Which()

    def params(self, collection_id: int, seen: Seen) -> dict[str, Any]:
        """Of a statement with `WHICH`."""
        return {
            "collection": collection_id,
            "seen": None if seen is None else sorted(seen),
            "state": self.state,
            "origin": self.origin,
            "label": None if self.label is None else plain(self.label),
            "metadata": Jsonb(dict(self.metadata)) if self.metadata else None,
            "prefix": plain(self.prefix, 2_000),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """A generation of vectors that is being made beside the one that is searched."""

    id: int
    model: str
    done: int
    """Chunks."""
    of: int
    problem: str
    """Why it does not go on now."""

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {"model": self.model, "done": self.done, "of": self.of, "problem": self.problem or None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a collection is."""

    ready: int
    """Documents that can be found."""
    waiting: int
    """That wait to be read, new or changed."""
    waiting_bytes: int
    failed: int
    problem: str
    """Why reading does not go on now."""
    embedding: Embedding | None
    version: int

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "ready": self.ready,
            "waiting": self.waiting,
            "waiting_bytes": self.waiting_bytes,
            "failed": self.failed,
            "problem": self.problem or None,
            "embedding": None if self.embedding is None else self.embedding.shown(),
            "version": self.version,
        }


class Reading:
    """Every method raises `Unavailable` while the database cannot answer."""

    def __init__(self, db: Database, seal: Seal = PLAIN) -> None:
        self.db = db
        self.seal = seal

    async def get(self, project_id: int, name: str) -> Collection:
        """One collection.

        Raises:
            NotFound: the project has none of this name; names the nearest.
        """
        row = await self.db.row(f"{COLLECTION} where project_id = %s and name = %s", (project_id, plain(name)))
        if row is None:
            known = await self.db.rows("select name from collections where project_id = %s limit 1000", (project_id,))
            raise NotFound(
                f"there is no collection {name[:100]!r}{hint(name, [each['name'] for each in known])}",
                param="collection",
            )
        return collection_of(row)

    async def of_id(self, collection_id: int) -> Collection | None:
        """One collection of any project; None when it is gone."""
        row = await self.db.row(f"{COLLECTION} where c.id = %s", (collection_id,))
        return None if row is None else collection_of(row)

    async def list(self, project_id: int | None, *, after: str = "", limit: int = 200) -> Sequence[Collection]:
        """Collections by name; of all projects when None. `after` is the `place` of the last one seen."""
        name, _, number = plain(after).partition("/")
        rows = await self.db.rows(
            f"{COLLECTION} where (%(project)s::int is null or project_id = %(project)s)"
            " and (c.name, c.id) > (%(name)s, %(id)s) order by c.name, c.id limit %(limit)s",
            {
                "project": project_id,
                "name": name,
                "id": int(number) if number.isascii() and number.isdigit() and len(number) < 19 else 0,
                "limit": limit,
            },
        )
        return [collection_of(row) for row in rows]

    async def documents(
        self, collection: Collection, which: Which, seen: Seen, *, after: str = "", limit: int = 50
    ) -> Sequence[Document]:
        """Documents by name; `after` is the name of the last one seen."""
        rows = await self.db.rows(
            f"{DOCUMENT} where {WHICH} and d.name > %(after)s order by d.name limit %(limit)s",
            {**which.params(collection.id, seen), "after": plain(after, 2_000), "limit": limit},
        )
        return [document_of(row, self.seal) for row in rows]

    async def document(self, collection: Collection, document_id: int, seen: Seen) -> Document:
        """One document.

        Raises:
            NotFound: there is none of this id, or not for who looks.
        """
        row = await self.db.row(
            f"{DOCUMENT} where d.id = %(id)s and d.collection_id = %(collection)s and {VISIBLE}",
            {"id": document_id, "collection": collection.id, "seen": None if seen is None else sorted(seen)},
        )
        if row is None:
            raise NotFound(f"there is no document {document_id} in collection {collection.name!r}", param="id")
        return document_of(row, self.seal)

    async def named(self, collection: Collection, name: str, seen: Seen) -> Document:
        """One document by its name.

        Raises:
            NotFound: there is none of this name, or not for who looks.
        """
        row = await self.db.row(
            f"{DOCUMENT} where d.name = %(name)s and d.collection_id = %(collection)s and {VISIBLE}",
            {
                "name": plain(name, 2_000),
                "collection": collection.id,
                "seen": None if seen is None else sorted(seen),
            },
        )
        if row is None:
            raise NotFound(f"there is no document {name[:100]!r} in collection {collection.name!r}", param="document")
        return document_of(row, self.seal)

    async def content(self, document: Document) -> Content:
        """What a document says.

        Raises:
            NotFound: it was never read, or is gone.
        """
        row = await self.db.row("select content from collection_documents where id = %s", (document.id,))
        if row is None or row["content"] is None:
            why = {"waiting": "it waits to be read", "failed": document.reason}.get(document.state, "it is gone")
            raise NotFound(f"document {document.id} has no text: {why}", param="id")
        return opened_content(row["content"], document.id, self.seal)

    async def chunks(self, document: Document, start: int, end: int, *, limit: int = 1_000) -> Sequence[Chunk]:
        """The first `limit` pieces of a document that have some of its characters from `start` up to `end`, in order.

        Raises:
            Sealed: their key is not here.
        """
        rows = await self.db.rows(
            'select id, document_id, position, content, page, start, "end", suspicion from collection_chunks'
            ' where document_id = %s and "end" > %s and start < %s order by position limit %s',
            (document.id, start, end, limit),
        )
        return [chunk_of(row, self.seal) for row in rows]

    async def states(self, collection_ids: Sequence[int]) -> Mapping[int, Mapping[str, int]]:
        """Of each collection how many documents are `waiting` or `failed`, and `embedding`: 1 while it is embedded anew."""
        rows = await self.db.rows(
            "select c.id, (select count(*) from collection_intake i where i.collection_id = c.id) as waiting,"
            " (select count(*) from collection_documents d where d.collection_id = c.id"
            "   and (d.state = 'failed' or d.refused is not null)) as failed,"
            " (select count(*) from collection_embeddings e where e.collection_id = c.id and e.state = 'filling')"
            "   as embedding from collections c where c.id = any(%s)",
            ([*collection_ids],),
        )
        return {row["id"]: {name: row[name] for name in ("waiting", "failed", "embedding")} for row in rows}

    async def progress(self, collection: Collection) -> Progress:
        """How far a collection is."""
        row = await self.db.row(
            "select count(*) filter (where state = 'ready') as ready, count(*) filter (where state = 'failed' or refused is not null) as failed,"
            " (select count(*) from collection_intake where collection_id = %(id)s) as waiting,"
            " (select coalesce(sum(size), 0)::bigint from collection_intake where collection_id = %(id)s) as bytes,"
            " (select version from collections where id = %(id)s) as version,"
            " (select problem from collection_embeddings e join collections c on c.embedding_id = e.id"
            "   where c.id = %(id)s) as problem"
            " from collection_documents where collection_id = %(id)s",
            {"id": collection.id},
        )
        assert row is not None
        return Progress(
            ready=row["ready"],
            waiting=row["waiting"],
            waiting_bytes=row["bytes"],
            failed=row["failed"],
            problem=(row["problem"] or "") if row["waiting"] else "",
            embedding=await self._embedding(collection.id),
            version=row["version"] or 0,
        )

    async def _embedding(self, collection_id: int) -> Embedding | None:
        row = await self.db.row(
            "select e.id, e.model, e.problem,"
            " (select count(*) from collection_chunks c where c.collection_id = %(id)s) as chunks,"
            " (select count(*) from collection_chunks c where c.collection_id = %(id)s and c.id <= e.filled) as done"
            " from collection_embeddings e where e.collection_id = %(id)s and e.state = 'filling'",
            {"id": collection_id},
        )
        if row is None:
            return None
        return Embedding(id=row["id"], model=row["model"], done=row["done"], of=row["chunks"], problem=row["problem"])
