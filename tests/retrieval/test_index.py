from dataclasses import replace

import numpy as np
import pytest

from loopwright.core.errors import BadRequest
from loopwright.core.passage import Query
from loopwright.core.who import HOUSE
from loopwright.kit.db import Database
from loopwright.kit.migrations import migrate
from loopwright.kit.seal import PLAIN
from loopwright.retrieval.index import Index
from loopwright.retrieval.looking import opened
from loopwright.retrieval.nearest import nearest
from loopwright.retrieval.options import Options
from loopwright.retrieval.restriction import Few, Restriction
from loopwright.retrieval.rows import sealed_chunk
from loopwright.retrieval.search import Searcher
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


async def test_a_large_generation_is_searched_by_an_index_until_it_is_discarded(database_url: str) -> None:
    db = await Database.open(database_url, size=3)
    try:
        await migrate(db, ROOMS)
        shelf = Shelf(db)
        shelf.index = Index(db, large=1500)
        shelves, drawn = await shelf.collection("large"), np.random.default_rng(3)
        await shelf.put(shelves, [Doc(name="few", texts=["cats sleep", "dogs bark"])])
        filler = drawn.normal(size=(1500, 32)).tolist()
        [document] = await shelf.put(shelves, [Doc(name="many", texts=["x"])])
        rows = await db.rows(
            'insert into collection_chunks (collection_id, document_id, position, start, "end", content)'
            " select %s, %s, n, 0, 0, %s from generate_series(1, %s) n returning id",
            (shelves.id, document, sealed_chunk("", "x", document, 0, PLAIN), 1500),
        )
        async with db.transaction() as connection:
            given = {row["id"]: vector for row, vector in zip(rows, filler, strict=True)}
            await shelf.index.fill(connection, shelves.embedding_id, given)
        await shelf.index.settle(shelves.id)
        await shelf.index.settle(shelves.id)
        names = "select count(*) as n from pg_class where relname like 'collection_vectors_hnsw_%'"
        assert await db.row(names) == {"n": 1}
        embedders = {"toy": shelf.embedder}
        searcher = Searcher(db, index=shelf.index, embedder=embedders.get)
        for told in ({}, {"documents": None}, {"filter": {"not": {"kind": "none"}}}):
            who = replace(HOUSE, project_id=1)
            query = Query(text="cats sleep", collections=["large"], who=who, k=1, options={"mode": "dense", **told})
            assert (await searcher(query)).passages[0].text == "cats sleep"
        asked = np.asarray(shelf.embedder.vector("cats sleep"), dtype=np.float32)
        everything, others = Restriction.of(shelves.id, Options(), None), np.array([each["id"] for each in rows[:3]])
        async with db.snapshot() as connection:
            now = await opened(connection, shelves.id)
            assert now is not None
            assert now[0].indexed
            # Said to be of many chunks, so that the index is walked with what is listed, and else all are compared.
            walked, compared = [
                await nearest(
                    connection, now[0], asked, 20, everything, Few(np.array([document]), chunks), others=others
                )
                for chunks in (100_000, 1500)
            ]
        assert len(walked) == 20
        mine = await db.rows("select id from collection_chunks where document_id = %s", (document,))
        assert set(walked.chunks.tolist()) <= {each["id"] for each in mine}
        assert len(set(walked.chunks.tolist()) & set(compared.chunks.tolist())) >= 18
        assert set(walked.others) == set(others.tolist())
        assert walked.others == pytest.approx(compared.others)
        async with db.transaction() as connection:
            await shelf.index.discard(connection, shelves.embedding_id)
            await connection.execute("update collections set embedding_id = null")
            await connection.execute("delete from collection_embeddings")
        await shelf.index.settle(shelves.id)
        assert await db.row(names) == {"n": 0}
    finally:
        await db.close()
