"""Which documents may be found: counted where they are few, and not again at once where they were many."""

import pytest

from loopwright.core.passage import Query
from loopwright.retrieval.filters import condition_of
from loopwright.retrieval.options import Options
from loopwright.retrieval.restriction import FEW, Restriction, Wide
from loopwright.retrieval.search import Searcher
from tests.retrieval.stocked import Doc, Shelf
from tests.retrieval.test_search import WHO

pytestmark = pytest.mark.anyio


def test_keys_tell_restrictions_apart() -> None:
    pets, memos = (Options(filter=condition_of({"kind": kind})) for kind in ("pet", "memo"))
    keys = [
        Restriction.of(collection, options, labels).key()
        for collection in (1, 2)
        for options in (Options(), pets, memos, Options(documents=(1,)))
        for labels in (None, frozenset[str](), frozenset({"board"}))
    ]
    assert len(set(keys)) == len(keys)
    again = Restriction.of(1, Options(filter=condition_of({"kind": "pet"})), frozenset({"b", "a"}))
    assert again.key() == Restriction.of(1, pets, frozenset({"a", "b"})).key()


async def test_what_left_much_is_not_counted_again_at_once_and_what_it_leaves_now_is_found(shelf: Shelf) -> None:
    made = await shelf.collection("wide")
    [kept] = await shelf.put(made, [Doc(name="cats", texts=["cats sleep"], metadata={"kind": "pet"})])
    await shelf.put(made, [Doc(name="dogs", texts=["cats sleep on dogs"], metadata={"kind": "wild"})])
    await shelf.db.run(
        "insert into collection_documents (collection_id, name, origin, state, sha, size, said)"
        " select %s, 'filler ' || n, 'record', 'ready', '', 1, '{\"kind\": \"pet\"}' from generate_series(1, %s) n",
        (made.id, FEW),
    )
    now = 0.0
    wide = Wide(lambda: now)
    pets = Restriction.of(made.id, Options(filter=condition_of({"kind": "pet"})), None)
    searcher = Searcher(shelf.db, shelf.seal, shelf.index, embedder={shelf.embedder.name: shelf.embedder}.get)

    async def found(mode: str) -> list[int]:
        told = {"mode": mode, "filter": {"kind": "pet"}}
        answer = await searcher(Query(text="cats sleep", collections=["wide"], who=WHO, k=5, options=told))
        return [each.document_id for each in answer.passages]

    assert await found("hybrid") == [kept]
    async with shelf.db.snapshot() as connection:
        assert await wide.few(connection, pets) is None
    await shelf.db.run("delete from collection_documents where name like 'filler%%' and collection_id = %s", (made.id,))
    for mode in ("hybrid", "dense", "lexical"):
        assert await found(mode) == [kept]
    async with shelf.db.snapshot() as connection:
        assert await wide.few(connection, pets) is None
        now = 60.0
        few = await wide.few(connection, pets)
        assert few is not None
        assert few.documents.tolist() == [kept]
        now = 0.0
        assert await wide.few(connection, pets) is not None
