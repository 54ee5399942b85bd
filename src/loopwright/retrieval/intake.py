"""Takes documents in: what is new or other than it was waits to be read, everything else is left as it is.

The same name, bytes, labels and metadata, read and cut as they would be now, is unchanged. Other labels or metadata alone
change in place. Of anything else the next form waits beside the one that can be found. Small ones wait in the database,
large ones as files of this data folder, which then only an ingester of this data folder reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal, Self
from uuid import UUID, uuid4

import msgspec
from psycopg.types.json import Jsonb

from loopwright.core.errors import LoopwrightError, Spent, Unavailable
from loopwright.core.who import Principal
from loopwright.kit.blobs import Blobs
from loopwright.kit.db import Connection, Database
from loopwright.kit.jobs import Jobs
from loopwright.kit.seal import Seal
from loopwright.kit.settings import Settings
from loopwright.kit.settings_collections import CollectionSettings
from loopwright.retrieval.collection import Chunking, Collection, Origin
from loopwright.retrieval.fetching import Fetching
from loopwright.retrieval.index import Index
from loopwright.retrieval.rows import about_told
from loopwright.retrieval.store import Collections, Removed, changed, locked

FOLDER: Final = "documents"
"""Of the data folder: bytes that wait to be read."""
RUN: Final = "retrieval.ingest"
"""The job that reads what waits."""
COLLECT: Final = "retrieval.collect"
"""The job that lets go of what came in and was never taken."""
READING: Final = 1
"""Goes up when the same bytes come to read or be cut otherwise: then they count as changed."""
SMALL: Final = 64_000
"""Bytes of a document that waits in the database."""
Outcome = Literal["added", "changed", "relabelled", "unchanged", "refused"]
_EXISTING: Final = """
    select d.id, d.name, d.state, d.sha, d.recipe, d.labels, d.said, d.origin,
        i.id as waits, i.sha as next_sha, i.labels as next_labels, i.metadata as next_said, i.blob as next_blob
    from collection_documents d left join collection_intake i on i.document_id = d.id
    where d.collection_id = %s and d.name = any(%s)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A document as somebody brings it."""

    name: str
    """In its collection: a path, a URL, the id of a record. Data, never opened."""
    origin: Origin
    sha: bytes
    """SHA-256 of its bytes; of a record, of its title and text."""
    size: int
    labels: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    title: str = ""
    """Over what it says itself."""
    file: str = ""
    """A name that ends as what it is, where its own does not."""
    data: bytes | None = field(default=None, repr=False)
    """Its bytes, if few; `SMALL` at most."""
    blob: str = ""
    """Else the blob with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of an offer."""

    name: str
    outcome: Outcome
    id: int | None = None
    reason: str = ""

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {"name": self.name, "id": self.id, "outcome": self.outcome, "reason": self.reason or None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What waits beside the row: msgpack, sealed."""

    title: str
    file: str
    data: bytes | None


_told: Final = msgspec.msgpack.Decoder(Told)


class Intake:
    """Takes documents into collections. Every method raises `Unavailable` while the database cannot answer."""

    def __init__(
        self, store: Collections, home: Path, settings: CollectionSettings, wake: Callable[[], Awaitable[object]]
    ) -> None:
        """`wake` is awaited when something waits to be read."""
        self.store = store
        self.settings = settings
        self.fetching = Fetching(settings)
        self.blobs = Blobs(home / FOLDER, store.seal)
        self.place = _place(home / FOLDER / "place")
        self._wake_up = wake

    @classmethod
    def of(cls, db: Database, settings: Settings, seal: Seal) -> Self:
        """Over every collection in `db`; what waits is read by the ingester beside the recorder.

        Raises:
            SettingsError: `collections.urls` cannot be read.
        """
        store = Collections(db, Index(db, seal), seal, most=settings.collections.project_collections)
        return cls(store, settings.home, settings.collections, waking(db))

    async def take(self, collection: Collection, offers: Sequence[Offer], by: Principal) -> list[Taken]:
        """Take documents in, all in one transaction; what became of each.

        Raises:
            Spent: the collection has as many documents as it may.
            Unavailable: bytes of one went meanwhile; send it again.
        """
        latest = list({offer.name: offer for offer in offers}.values())
        dropped = {offer.blob for offer in offers if offer.blob}
        try:
            async with self.store.db.transaction() as connection:
                taken = await self._take(connection, collection, latest, by, dropped)
        finally:
            for blob in dropped:
                await self.drop(blob)
        if any(each.outcome in ("added", "changed") for each in taken):
            await self.wake()
        return taken

    async def wake(self) -> None:
        """Have what waits read soon."""
        with suppress(Unavailable):  # then it begins a minute later, by the schedule
            await self._wake_up()

    async def lacking(self, collection: Collection, offers: Sequence[Offer], by: Principal) -> list[str]:
        """Names of those whose bytes are wanted: the others are here, or wait, as they would be. Nothing is changed."""
        rows = await self.store.db.rows(_EXISTING, (collection.id, [offer.name for offer in offers]))
        known = {row["name"]: row for row in rows}
        recipe = recipe_of(collection.chunking)
        return [
            offer.name
            for offer in offers
            if (row := known.get(offer.name)) is None or not _same(row, offer, recipe) or not _seen(row, by)
        ]

    async def let_go(self, removed: Removed) -> None:
        """Forget the bytes that waited for documents which are gone."""
        for blob in set(removed.blobs):
            await self.drop(blob)

    async def drop(self, blob: str) -> None:
        """Forget bytes, unless something waits with them."""
        async with self.store.db.transaction() as connection:
            await _lock(connection, blob)
            cursor = await connection.execute(b"select 1 from collection_intake where blob = %s limit 1", (blob,))
            if await cursor.fetchone() is None:
                await asyncio.to_thread(self.blobs.delete, blob)

    async def collect(self) -> int:
        """Remove files that nothing waits with, a day after they came: of uploads that broke off. How many."""
        rows = await self.store.db.rows("select distinct blob from collection_intake where blob is not null")
        kept: set[Any] = {row["blob"] for row in rows}
        return len(await asyncio.to_thread(self.blobs.collect, kept))

    # ---- one transaction ----

    async def _take(
        self, connection: Connection, collection: Collection, offers: Sequence[Offer], by: Principal, dropped: set[str]
    ) -> list[Taken]:
        await _lock(connection, f"intake of collection {collection.id}")
        await self._check_room(connection, collection.id, len(offers))
        cursor = await connection.execute(_EXISTING.encode(), (collection.id, [offer.name for offer in offers]))
        known = {row["name"]: row for row in await cursor.fetchall()}
        recipe, taken, relabelled = recipe_of(collection.chunking), list[Taken](), list[Offer]()
        for offer in sorted(offers, key=lambda each: each.blob):
            row = known.get(offer.name)
            if row is None:
                number = await self._add(connection, collection.id, offer, by)
                taken.append(Taken(name=offer.name, outcome="added", id=number))
            elif not _seen(row, by):
                why = f"there is a document of this name that key {by.key_name!r} may not see"
                taken.append(Taken(name=offer.name, outcome="refused", reason=why))
            elif _same(row, offer, recipe):
                taken.append(Taken(name=offer.name, outcome="unchanged", id=row["id"]))
            else:
                if row["next_blob"]:
                    dropped.add(row["next_blob"])
                await connection.execute(b"delete from collection_intake where document_id = %s", (row["id"],))
                outcome: Outcome = "changed"
                if row["state"] == "ready" and _as_read(row, offer, recipe):
                    relabelled.append(offer)
                    outcome = "relabelled"
                else:
                    await self._wait(connection, collection.id, row["id"], offer, by)
                taken.append(Taken(name=offer.name, outcome=outcome, id=row["id"]))
        if relabelled:
            await _relabel(connection, collection.id, relabelled, by)
        return taken

    async def _check_room(self, connection: Connection, collection_id: int, more: int) -> None:
        cursor = await connection.execute(
            b"select documents + (select count(*) from collection_intake where collection_id = %(id)s) as there"
            b" from collections where id = %(id)s",
            {"id": collection_id},
        )
        row = await cursor.fetchone()
        most = self.settings.documents
        if row is not None and row["there"] + more > most:
            raise Spent(f"the collection may have {most:,} documents (collections.documents): delete some")

    async def _add(self, connection: Connection, collection_id: int, offer: Offer, by: Principal) -> int:
        cursor = await connection.execute(
            b"insert into collection_documents (collection_id, name, origin, state, sha, size, labels, said, author,"
            b" sealed_by) values (%s, %s, %s, 'waiting', %s, %s, %s, %s, %s, %s) returning id",
            (
                collection_id,
                offer.name,
                offer.origin,
                offer.sha,
                offer.size,
                [*offer.labels],
                Jsonb(dict(offer.metadata)),
                by.key_name,
                self.store.seal.first,
            ),
        )
        row = await cursor.fetchone()
        assert row is not None
        number: int = row["id"]
        await self._wait(connection, collection_id, number, offer, by)
        return number

    async def _wait(
        self, connection: Connection, collection_id: int, document_id: int, offer: Offer, by: Principal
    ) -> None:
        if offer.blob:
            await _lock(connection, offer.blob)
            if offer.blob not in self.blobs:
                raise Unavailable("the file was deleted while it came in: send it again", retry_after=1.0)
        told = msgspec.msgpack.encode(Told(title=offer.title, file=offer.file, data=offer.data))
        await connection.execute(
            b"insert into collection_intake (collection_id, document_id, origin, sha, size, labels, metadata, told,"
            b" sealed_by, blob, place, author) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                collection_id,
                document_id,
                offer.origin,
                offer.sha,
                offer.size,
                [*offer.labels],
                Jsonb(dict(offer.metadata)),
                self.store.seal.seal(told, about_told(document_id)),
                self.store.seal.first,
                offer.blob or None,
                self.place if offer.blob else None,
                by.key_name,
            ),
        )
        # One that could not be read is tried again; who may see it is said by what waits, as nothing else is there.
        await connection.execute(
            b"update collection_documents set state = 'waiting', reason = '', labels = %s, said = %s, sha = %s, size = %s,"
            b" changed_at = now() where id = %s and state <> 'ready'",
            ([*offer.labels], Jsonb(dict(offer.metadata)), offer.sha, offer.size, document_id),
        )


def opened_told(row: Mapping[str, Any], store: Collections) -> Told:
    """What waits beside a row of `collection_intake`.

    Raises:
        Sealed: its key is not here.
    """
    return _told.decode(store.seal.open(bytes(row["told"]), about_told(row["document_id"])))


def recipe_of(chunking: Chunking) -> bytes:
    """A hash of how documents are read and cut now."""
    return sha256(msgspec.json.encode([READING, chunking.by, chunking.tokens, chunking.overlap])).digest()


def _same(row: Mapping[str, Any], offer: Offer, recipe: bytes) -> bool:
    """Whether a document is here as it is offered, or waits to be."""
    if row["waits"] is not None:
        return (
            bytes(row["next_sha"]) == offer.sha
            and set(row["next_labels"]) == set(offer.labels)
            and row["next_said"] == offer.metadata
        )
    return (
        row["state"] == "ready"
        and _as_read(row, offer, recipe)
        and set(row["labels"]) == set(offer.labels)
        and row["said"] == offer.metadata
    )


def _as_read(row: Mapping[str, Any], offer: Offer, recipe: bytes) -> bool:
    return bytes(row["sha"]) == offer.sha and bytes(row["recipe"]) == recipe


def _seen(row: Mapping[str, Any], by: Principal) -> bool:
    return by.labels is None or not row["labels"] or not by.labels.isdisjoint(row["labels"])


async def _relabel(connection: Connection, collection_id: int, offers: Sequence[Offer], by: Principal) -> None:
    version = await locked(connection, collection_id)
    for offer in offers:
        await connection.execute(
            b"update collection_documents set labels = %s, said = %s, author = %s, added = %s, refused = null,"
            b" reason = case when refused is null then reason else '' end, changed_at = now() where collection_id = %s and name = %s",
            (
                [*offer.labels],
                Jsonb(dict(offer.metadata)),
                by.key_name,
                version + 1,
                collection_id,
                offer.name,
            ),
        )
    await changed(connection, collection_id, version)


async def _lock(connection: Connection, what: str) -> None:
    await connection.execute(b"select pg_advisory_xact_lock(hashtextextended(%s, 0))", (what,))


def _place(file: Path) -> UUID:
    """What this data folder is called among those of one database."""
    with suppress(OSError, ValueError):
        return UUID(file.read_text("ascii").strip())
    # Whoever comes first names it, whole.
    made = uuid4()
    written = file.with_name(f"place-{made}")
    written.write_text(str(made), "ascii")
    with suppress(FileExistsError):
        file.hardlink_to(written)
    written.unlink()
    return UUID(file.read_text("ascii").strip())


def enlist(jobs: Jobs, run: Callable[[], Awaitable[None]]) -> None:
    """Register the job that reads what waits: beside the recorder to do it, elsewhere to have it done."""
    # By the schedule too, for documents whose ingester ended; see `batches.store.enlist`.
    jobs.register(RUN, run, schedule="* * * * *", lock=RUN)


def waking(db: Database) -> Callable[[], Awaitable[object]]:
    """What has the job done soon, from a process that does not do it."""
    jobs = Jobs(db)
    enlist(jobs, _elsewhere)
    return lambda: jobs.defer(RUN)


async def _elsewhere() -> None:
    raise LoopwrightError("documents are read beside the recorder")
