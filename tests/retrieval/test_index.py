import pytest

from loopwright.core.errors import BadRequest
from loopwright.kit.db import Database
from loopwright.kit.migrations import migrate
from loopwright.retrieval.segments import segments_of
from loopwright.rooms import ROOMS
from tests.retrieval.stocked import Doc, Shelf, Toy

pytestmark = pytest.mark.anyio


async def test_what_is_put_has_vectors_and_words_and_what_is_dropped_has_none(database_url: str) -> None:
    db = await Database.open(database_url, size=2)
    try:
        await migrate(db, ROOMS)
        shelf = Shelf(db)
        shelves = await shelf.collection("shelves")
        ids = await shelf.put(shelves, [Doc(name=f"{n}", texts=[f"text {n} a", f"text {n} b"]) for n in range(40)])
        count = await db.row("select count(*) as n, count(distinct document_id) as d from collection_vectors")
        assert count == {"n": 80, "d": 40}
        await shelf.drop(shelves, ids[:10])
        count = await db.row("select count(*) as n, count(distinct document_id) as d from collection_vectors")
        assert count == {"n": 60, "d": 30}
        async with db.transaction() as connection:
            [segment] = await segments_of(connection, shelves.id)
            assert segment.dead.tolist() == ids[:10]
        await shelf.index.settle(shelves.id)
        async with db.transaction() as connection:
            [segment] = await segments_of(connection, shelves.id)
            assert (segment.chunks, segment.dead.tolist()) == (60, [])
    finally:
        await db.close()


async def test_vectors_of_another_length_are_refused_whole(database_url: str) -> None:
    db = await Database.open(database_url, size=2)
    try:
        await migrate(db, ROOMS)
        shelf = Shelf(db)
        shelves = await shelf.collection("shelves")
        await shelf.put(shelves, [Doc(name="a", texts=["text"])])
        shelf.embedder = Toy(dimensions=16)
        with pytest.raises(BadRequest, match="have 32 dimensions, these 16"):
            await shelf.put(shelves, [Doc(name="b", texts=["text"])])
        assert await db.row("select count(*) as n from collection_documents") == {"n": 1}
    finally:
        await db.close()
