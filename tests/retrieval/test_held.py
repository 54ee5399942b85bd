"""What is held between searches is never older than the search: documents, labels, vectors, words."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from loopwright.core.passage import Query
from loopwright.core.who import Principal
from loopwright.retrieval.collection import Collection
from loopwright.retrieval.filters import condition_of
from loopwright.retrieval.held import Held, Left
from loopwright.retrieval.looking import opened
from loopwright.retrieval.nearest import nearest
from loopwright.retrieval.options import Options
from loopwright.retrieval.restriction import FEW, Restriction
from loopwright.retrieval.search import Searcher
from tests.retrieval.stocked import Doc, Shelf
from tests.retrieval.test_search import ANIMALS, WHO

pytestmark = pytest.mark.anyio

PETS: Mapping[str, Any] = {"kind": "pet"}
MODES = ("hybrid", "dense", "lexical")


def searcher_of(shelf: Shelf) -> Searcher:
    return Searcher(shelf.db, shelf.seal, shelf.index, embedder={shelf.embedder.name: shelf.embedder}.get)


async def found(searcher: Searcher, name: str, mode: str, who: Principal = WHO, text: str = "cats sleep") -> list[str]:
    """Documents found with the filter, three times: as nothing is held, and as it is."""
    told = {"mode": mode, "filter": PETS}
    answers = [await searcher(Query(text=text, collections=[name], who=who, k=9, options=told)) for _ in range(3)]
    names = [[each.document for each in answer.passages] for answer in answers]
    assert names[0] == names[1] == names[2], mode
    return names[0]


async def left_of(shelf: Shelf, held: Held, collection: Collection, restriction: Restriction) -> Left | None:
    async with shelf.db.snapshot() as connection:
        found = await opened(connection, collection.id)
        assert found is not None
        generation, _ = found
        return await held.left(connection, generation, restriction)


async def bump(shelf: Shelf, collection: Collection) -> None:
    """As every change to what can be found does."""
    await shelf.db.run("update collections set version = version + 1 where id = %s", (collection.id,))


async def test_what_is_deleted_added_and_relabelled_holds_in_the_next_search(shelf: Shelf) -> None:
    made = await shelf.collection("stale")
    cats, _dogs, _birds, memo = await shelf.put(made, ANIMALS)
    searcher, staff = searcher_of(shelf), replace(WHO, labels=frozenset({"staff"}))
    for mode in MODES:
        assert set(await found(searcher, "stale", mode)) == {"cats", "dogs"} - (
            {"dogs"} if mode == "lexical" else set()
        )
    async with shelf.db.transaction() as connection:
        await connection.execute('update collection_documents set said = \'{"kind": "pet"}\' where id = %s', (memo,))
        await connection.execute("update collections set version = version + 1 where id = %s", (made.id,))
    for mode in MODES:
        assert "memo" in await found(searcher, "stale", mode, text="secret cats")
        assert "memo" not in await found(searcher, "stale", mode, who=staff, text="secret cats")
    await shelf.drop(made, [cats])
    for mode in MODES:
        assert "cats" not in await found(searcher, "stale", mode)
    await shelf.put(made, [Doc(name="kittens", texts=["kittens sleep like cats"], metadata=PETS)])
    for mode in MODES:
        assert (await found(searcher, "stale", mode))[0] == "kittens"
    async with shelf.db.transaction() as connection:
        await connection.execute("update collection_documents set labels = '{board}' where name = 'kittens'")
        await connection.execute("update collections set version = version + 1 where id = %s", (made.id,))
    for mode in MODES:
        assert "kittens" not in await found(searcher, "stale", mode, who=staff)
        assert "kittens" in await found(searcher, "stale", mode)


async def test_what_is_deleted_while_searches_run_is_in_none_that_begins_afterwards(shelf: Shelf) -> None:
    made = await shelf.collection("racing")
    ids = await shelf.put(
        made, [Doc(name=f"cat {n}", texts=[f"cats sleep {n} hours"], metadata=PETS) for n in range(12)]
    )
    searcher, gone = searcher_of(shelf), set[int]()

    async def searching(mode: str) -> None:
        while len(gone) < len(ids):
            before = set(gone)
            told = {"mode": mode, "filter": PETS}
            answer = await searcher(Query(text="cats sleep", collections=["racing"], who=WHO, k=20, options=told))
            assert not before & {each.document_id for each in answer.passages}

    async def deleting() -> None:
        for each in ids:
            await shelf.drop(made, [each])
            gone.add(each)

    await asyncio.gather(deleting(), *map(searching, MODES))


async def test_vectors_of_another_generation_are_not_compared(shelf: Shelf) -> None:
    made = await shelf.collection("moved")
    await shelf.put(made, ANIMALS)
    searcher = searcher_of(shelf)
    assert (await found(searcher, "moved", "dense"))[0] == "cats"
    async with shelf.db.transaction() as connection:
        other = await shelf.generation(connection, made.id, shelf.embedder.name, "filling")
        rows = await (
            await connection.execute("select id from collection_chunks where collection_id = %s", (made.id,))
        ).fetchall()
        # As if the model had come to find everything alike but dogs.
        like = {each["id"]: shelf.embedder.vector("dogs bark at the mailman") for each in rows[2:]}
        unlike = {each["id"]: [-x for x in shelf.embedder.vector("cats sleep")] for each in rows[:2]}
        await shelf.index.fill(connection, other, {**like, **unlike})
        await connection.execute(
            "update collections set embedding_id = %s, version = version + 1 where id = %s", (other, made.id)
        )
    assert (await found(searcher, "moved", "dense"))[0] == "dogs"


async def test_held_vectors_are_those_of_the_database_and_only_new_ones_are_read(shelf: Shelf) -> None:
    made = await shelf.collection("vectors")
    ids = await shelf.put(made, [Doc(name=f"{n}", texts=[f"cat {n}", f"dog {n}"], metadata=PETS) for n in range(30)])
    held, pets = Held(), Restriction.of(made.id, Options(filter=condition_of(PETS)), None)
    question = np.asarray(shelf.embedder.vector("cat 7"), dtype=np.float32)
    for step in range(3):
        async with shelf.db.snapshot() as connection:
            now = await opened(connection, made.id)
            assert now is not None
            generation, _ = now
            left = await held.left(connection, generation, pets)
            assert left is not None
            rows = await held.near(connection, generation, pets, left)
            if step == 0:
                assert rows is None
                rows = await held.near(connection, generation, pets, left)
            assert rows is not None
            assert rows is await held.near(connection, generation, pets, left)
            theirs = await nearest(connection, generation, question, 10, pets, left.few)
        ours = rows.nearest(question, 10)
        assert np.allclose(ours.cosines, theirs.cosines, atol=1e-3)
        assert set(ours.chunks[:1].tolist()) == set(theirs.chunks[:1].tolist())
        known = rows.cosines(question, np.array([0, *ours.chunks.tolist()]))
        assert list(known) == ours.chunks.tolist()
        assert np.allclose(list(known.values()), ours.cosines)
        if step == 0:
            await shelf.drop(made, ids[:5])
        if step == 1:
            await shelf.put(made, [Doc(name="more", texts=["cat 7 again"], metadata=PETS)])


async def fill(shelf: Shelf, collection: Collection, count: int) -> None:
    await shelf.db.run(
        "insert into collection_documents (collection_id, name, origin, state, sha, size, said)"
        " select %s, 'filler ' || n, 'record', 'ready', '', 1, '{\"kind\": \"pet\"}' from generate_series(1, %s) n",
        (collection.id, count),
    )


async def test_what_leaves_more_than_is_listed_is_not_counted_again_for_a_while(shelf: Shelf) -> None:
    made = await shelf.collection("vast")
    await fill(shelf, made, 21)
    now = 0.0
    held = Held(clock=lambda: now, listed=20)
    pets = Restriction.of(made.id, Options(filter=condition_of(PETS)), None)
    assert await left_of(shelf, held, made, pets) is None
    await shelf.db.run("delete from collection_documents where collection_id = %s and name <> 'filler 7'", (made.id,))
    await bump(shelf, made)
    assert await left_of(shelf, held, made, pets) is None
    now = 60.0
    left = await left_of(shelf, held, made, pets)
    assert left is not None
    assert len(left.few.documents) == 1


async def test_vectors_of_much_are_read_once_a_version_was_searched_with_it_often(shelf: Shelf) -> None:
    made = await shelf.collection("wide")
    await fill(shelf, made, FEW + 1)
    held, pets = Held(), Restriction.of(made.id, Options(filter=condition_of(PETS)), None)
    left = await left_of(shelf, held, made, pets)
    assert left is not None
    assert len(left.few.documents) == FEW + 1
    for version in range(2):
        async with shelf.db.snapshot() as connection:
            now = await opened(connection, made.id)
            assert now is not None
            left = await held.left(connection, now[0], pets)
            assert left is not None
            assert left is await held.left(connection, now[0], pets)
            for _ in range(4):
                assert await held.near(connection, now[0], pets, left) is None
            if not version:
                assert await held.near(connection, now[0], pets, left) is not None
        await bump(shelf, made)


async def test_no_more_is_held_than_there_is_room_for(shelf: Shelf) -> None:
    made = await shelf.collection("bounded")
    await shelf.put(made, ANIMALS)
    held, pets = Held(most=100), Restriction.of(made.id, Options(filter=condition_of(PETS)), None)
    others = Restriction.of(made.id, Options(filter=condition_of({"kind": "wild"})), None)
    async with shelf.db.snapshot() as connection:
        now = await opened(connection, made.id)
        assert now is not None
        generation, _ = now
        left = await held.left(connection, generation, pets)
        assert left is not None
        for _ in range(3):
            assert await held.near(connection, generation, pets, left) is None
        assert await held.left(connection, generation, others) is not None
        assert await held.left(connection, generation, pets) is not left
