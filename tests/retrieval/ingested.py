"""A collection that is ingested into: the real store, intake, ingester and index over a database; a toy embedder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from loopwright.core.errors import BadRequest, Unavailable
from loopwright.core.who import Principal
from loopwright.documents.document import Parsed
from loopwright.documents.limits import Limits
from loopwright.documents.reading import read
from loopwright.kit.db import Database
from loopwright.kit.migrations import migrate
from loopwright.kit.seal import PLAIN, Seal
from loopwright.kit.settings_collections import CollectionSettings
from loopwright.retrieval.collection import Collection
from loopwright.retrieval.index import Index
from loopwright.retrieval.ingesting import Ingester
from loopwright.retrieval.intake import Intake, Offer, Taken
from loopwright.retrieval.store import Collections
from tests.retrieval.stocked import Toy

ANN = Principal(key_id=1, key_name="ann", project_id=1, project="default")


@dataclass(slots=True)
class Here:
    """Reads in this very process."""

    asked: list[str] = field(default_factory=list)

    async def read(self, data: bytes, name: str, /) -> Parsed:
        self.asked.append(name)
        return read(data, name, limits=Limits())


@dataclass(slots=True)
class Moody:
    """A toy embedder that may be away, and that refuses some texts."""

    toys: dict[str, Toy] = field(default_factory=dict)
    away: bool = False
    refused: str = "\x00"
    batches: list[int] = field(default_factory=list)
    failures: int = 0

    async def __call__(self, collection: Collection, model: str, texts: list[str], /) -> list[list[float]]:
        assert collection.project_id
        if self.away:
            self.failures += 1
            raise Unavailable("nobody is there", retry_after=0.05)
        if any(self.refused in text for text in texts):
            raise BadRequest("too long")
        self.batches.append(len(texts))
        toy = self.toys.setdefault(model, Toy(name=model, dimensions=16 if model == "small" else 32))
        return await toy(texts)


@dataclass(slots=True, kw_only=True)
class House:
    """What takes documents in, over one database."""

    db: Database
    store: Collections
    intake: Intake
    home: Path
    reader: Here = field(default_factory=Here)
    embed: Moody = field(default_factory=Moody)
    woken: list[int] = field(default_factory=list)

    def ingester(self) -> Ingester:
        return Ingester(self.intake, self.reader, self.embed)

    async def work(self) -> None:
        """Until nothing waits."""
        async with asyncio.timeout(30):
            await self.ingester().run(once=True)

    async def take(
        self, collection: Collection, files: dict[str, str], *, by: Principal = ANN, **said: Any
    ) -> list[Taken]:
        return await self.intake.take(collection, [offer(name, text, **said) for name, text in files.items()], by)

    async def names(self, collection: Collection, text: str = "") -> Sequence[str]:
        rows = await self.db.rows(
            "select d.name from collection_chunks c join collection_documents d on d.id = c.document_id"
            " where c.collection_id = %s order by d.name, c.position",
            (collection.id,),
        )
        return [row["name"] for row in rows if text in row["name"]]

    async def whole(self) -> dict[str, Any]:
        """Figures that must agree with each other whatever happened."""
        row = await self.db.row(
            "select (select count(*) from collection_chunks) as chunks, (select count(*) from collection_vectors v join"
            " collections c on c.embedding_id = v.embedding_id) as vectors, (select coalesce(sum(chunks), 0)::int from"
            " collections) as counted, (select coalesce(sum(chunks), 0)::int from collection_documents where state ="
            " 'ready') as told, (select count(*) from collection_intake) as waiting, (select count(*) from"
            " collection_documents where state = 'ready') as ready, (select coalesce(sum(documents), 0)::int from"
            " collections) as documents"
        )
        assert row is not None
        assert row["chunks"] == row["vectors"] == row["counted"] == row["told"]
        assert row["ready"] == row["documents"]
        return row


def offer(name: str, text: str, **said: Any) -> Offer:
    data = text.encode("utf-8", "surrogateescape")
    return Offer(name=name, origin="file", sha=sha256(data).digest(), size=len(data), data=data, **said)


@asynccontextmanager
async def opened(
    url: str, home: Path, *, seal: Seal = PLAIN, settings: CollectionSettings | None = None
) -> AsyncIterator[House]:
    db = await Database.open(url, size=6)
    woken: list[int] = []

    async def wake() -> None:
        woken.append(1)

    try:
        await migrate(db, ["retrieval"])
        store = Collections(db, Index(db, seal), seal)
        intake = Intake(store, home, settings or CollectionSettings(), wake)
        yield House(db=db, store=store, intake=intake, home=home, woken=woken)
    finally:
        await db.close()
