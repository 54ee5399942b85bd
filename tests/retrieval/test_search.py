import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from loopwright.core.chat import Chat, Delta, Request
from loopwright.core.errors import BadRequest, Conflict, NotFound, Refused, Unavailable
from loopwright.core.passage import Found, Query
from loopwright.core.who import HOUSE, Principal
from loopwright.kit.keyring import SealingKey
from loopwright.kit.seal import Seal
from loopwright.retrieval import rehashing
from loopwright.retrieval.collection import Collection, Content
from loopwright.retrieval.resealing import SEALED
from loopwright.retrieval.rows import sealed_content
from loopwright.retrieval.search import Searcher
from tests.retrieval.stocked import Doc, Shelf, Toy

pytestmark = pytest.mark.anyio

WHO = replace(HOUSE, project_id=1, admin=False)
ANIMALS = [
    Doc(
        name="cats", texts=["cats sleep all day long", "a cat hunts mice at night"], metadata={"kind": "pet", "legs": 4}
    ),
    Doc(name="dogs", texts=["dogs bark at the mailman", "a dog guards the house"], metadata={"kind": "pet", "legs": 4}),
    Doc(name="birds", texts=["birds sing at dawn"], metadata={"kind": "wild", "legs": 2}, title="On birds"),
    Doc(name="memo", texts=["secret memo: the mailman is a spy"], labels=["board"], metadata={"kind": "memo"}),
]


async def search(
    shelf: Shelf,
    text: str,
    *names: str,
    who: Principal = WHO,
    k: int = 8,
    labels: frozenset[str] | None = None,
    chat: Chat | None = None,
    **options: Any,
) -> Found:
    embedders = {shelf.embedder.name: shelf.embedder}
    searcher = Searcher(shelf.db, shelf.seal, shelf.index, embedder=embedders.get, chat=chat)
    return await searcher(Query(text=text, collections=names, who=who, k=k, options=options, labels=labels))


async def stocked(shelf: Shelf, name: str, **options: Any) -> Collection:
    """A collection of animals; the one there is, where a case before made it."""
    row = await shelf.db.row("select id from collections where name = %s", (name,))
    if row is None:
        made = await shelf.collection(name, **options)
        await shelf.put(made, ANIMALS)
        row = {"id": made.id}
    return await shelf.get(row["id"])


@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
async def test_each_mode_finds_what_speaks_of_it(shelf: Shelf, mode: str) -> None:
    await stocked(shelf, f"animals-{mode}")
    found = await search(shelf, "cats that sleep", f"animals-{mode}", mode=mode)
    best = found.passages[0]
    assert (best.document, best.text, best.start) == ("cats", "cats sleep all day long", 0)
    assert best.metadata == {"kind": "pet", "legs": 4}
    assert found.queries == ["cats that sleep"]
    assert ("dense" in best.scores) == (mode != "lexical")
    assert ("lexical" in best.scores) == (mode != "dense")
    assert [each.score for each in found.passages] == sorted((each.score for each in found.passages), reverse=True)


async def test_titles_and_headings_are_words_of_a_chunk(shelf: Shelf) -> None:
    await stocked(shelf, "titled")
    found = await search(shelf, "on birds", "titled", mode="lexical")
    assert [each.title for each in found.passages][:1] == ["On birds"]


async def test_labels_hold_within_the_search(shelf: Shelf) -> None:
    await stocked(shelf, "labelled")
    for mode in ("hybrid", "dense", "lexical"):
        everyone = await search(shelf, "secret mailman", "labelled", mode=mode, who=replace(WHO, labels=frozenset()))
        assert "memo" not in {each.document for each in everyone.candidates}, mode
        board = await search(
            shelf, "secret mailman", "labelled", mode=mode, who=replace(WHO, labels=frozenset({"board"}))
        )
        assert board.passages[0].document == "memo", mode
        both = replace(WHO, labels=frozenset({"board", "staff"}))
        narrowed = await search(shelf, "secret mailman", "labelled", mode=mode, who=both, labels=frozenset({"staff"}))
        assert "memo" not in {each.document for each in narrowed.candidates}, mode
        unlimited = await search(shelf, "secret mailman", "labelled", mode=mode, labels=frozenset({"staff"}))
        assert "memo" not in {each.document for each in unlimited.candidates}, mode


async def test_a_collection_of_another_project_is_not_there(shelf: Shelf) -> None:
    await stocked(shelf, "theirs")
    with pytest.raises(NotFound, match="there is no collection 'theirs'"):
        await search(shelf, "cats", "theirs", who=replace(WHO, project_id=2))


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"filter": {"kind": "wild"}}, {"birds"}),
        ({"filter": {"legs": {"gte": 4}}}, {"cats", "dogs"}),
        ({"filter": {"not": {"kind": {"in": ["pet", "memo"]}}}}, {"birds"}),
        ({"filter": {"kind": "none of these"}}, set()),
        ({"documents": []}, set()),
    ],
)
async def test_filters_leave_only_what_they_say(shelf: Shelf, options: Mapping[str, Any], names: set[str]) -> None:
    await stocked(shelf, "filtered")
    for mode in ("hybrid", "dense", "lexical"):
        found = await search(shelf, "cats dogs birds mailman at", "filtered", mode=mode, **options)
        assert {each.document for each in found.candidates} == names, mode


async def test_a_filter_of_a_collection_is_narrowed_never_replaced(shelf: Shelf) -> None:
    await stocked(shelf, "pets", filter={"kind": "pet"})
    found = await search(shelf, "mailman dawn", "pets", filter={"legs": {"lt": 9}})
    assert {each.document for each in found.candidates} == {"cats", "dogs"}


async def test_several_collections_are_searched_as_one(shelf: Shelf) -> None:
    await stocked(shelf, "one")
    two = await shelf.collection("two")
    await shelf.put(two, [Doc(name="whales", texts=["whales sing in the sea", "cats sleep all day long too"])])
    found = await search(shelf, "who sings in the sea", "one", "two")
    assert (found.passages[0].collection, found.passages[0].document) == ("two", "whales")
    assert {each.collection for each in found.passages} == {"one", "two"}


async def test_at_most_so_many_of_a_document(shelf: Shelf) -> None:
    await stocked(shelf, "limited")
    found = await search(shelf, "cats cat dogs dog", "limited", per_document=1, k=3)
    assert len({each.document for each in found.passages}) == 3


async def test_diversity_passes_over_what_says_the_same(shelf: Shelf) -> None:
    twins = await shelf.collection("twins")
    same = [Doc(name=f"twin{n}", texts=["cats sleep all day"]) for n in range(3)]
    await shelf.put(twins, [*same, Doc(name="other", texts=["cats hunt mice at night"])])
    best = await search(shelf, "cats sleep", "twins", k=2)
    assert [each.document for each in best.passages] == ["twin0", "twin1"]
    spread = await search(shelf, "cats sleep", "twins", k=2, diversity=0.7)
    assert [each.document for each in spread.passages] == ["twin0", "other"]


async def test_what_is_deleted_and_put_while_searched_is_there_or_is_not(shelf: Shelf) -> None:
    busy = await stocked(shelf, "busy")
    done = asyncio.Event()

    async def churn() -> None:
        for round_ in range(25):
            made = await shelf.put(busy, [Doc(name=f"more{round_}", texts=["cats purr", "cats play"])])
            await shelf.drop(busy, made)
            if round_ % 5 == 0:
                await shelf.index.settle(busy.id)
        done.set()

    async def look() -> None:
        while not done.is_set():
            found = await search(shelf, "cats sleep purr", "busy")
            assert found.passages[0].document.startswith(("cats", "more"))

    async with asyncio.TaskGroup() as group:
        group.create_task(churn())
        group.create_task(look())
        group.create_task(look())


async def test_a_collection_without_anything_finds_nothing(shelf: Shelf) -> None:
    await shelf.collection("empty")
    found = await search(shelf, "cats", "empty")
    assert (found.passages, found.candidates) == ([], [])


async def test_chunks_without_vectors_are_found_by_their_words(shelf: Shelf) -> None:
    bare = await shelf.collection("bare")
    await shelf.put(bare, [Doc(name="bare", texts=["cats sleep"])], dense=False)
    assert [each.document for each in (await search(shelf, "cats", "bare")).passages] == ["bare"]


async def test_another_model_behind_the_name_is_a_conflict(shelf: Shelf) -> None:
    await stocked(shelf, "changed")
    shelf.embedder = Toy(dimensions=16)
    with pytest.raises(Conflict, match="answers with 16 dimensions, and collection 'changed' has 32"):
        await search(shelf, "cats", "changed")
    assert (await search(shelf, "cats", "changed", mode="lexical")).passages


async def test_a_model_that_is_not_here_is_said(shelf: Shelf) -> None:
    await stocked(shelf, "gone")
    shelf.embedder = Toy(name="another")
    with pytest.raises(Unavailable, match="model 'toy', whose vectors the collection has, is not configured"):
        await search(shelf, "cats", "gone")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "fuzzy"}, "mode: 'fuzzy' is none of"),
        ({"moode": "dense"}, "did you mean 'mode'"),
        ({"candidates": 0}, "candidates: a whole number from 1"),
        ({"diversity": 2}, "diversity: a number from 0 to 1"),
        ({"filter": ["kind"]}, "filter: an object is needed"),
        ({"filter": {"kind": {"like": "x"}}}, "'like' is none of"),
        ({"documents": ["1"]}, "documents: a list of"),
        ({"rerank": {"by": "chat"}}, "rerank.model: the name"),
        ({"rewrite": "task/answers"}, "a model is needed, not a task"),
        ({"language": "german"}, "decided when words are indexed"),
    ],
)
async def test_what_cannot_be_is_refused(shelf: Shelf, options: Mapping[str, Any], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        await search(shelf, "cats", *await _any(shelf), **options)


async def test_empty_and_endless_questions_are_refused(shelf: Shelf) -> None:
    names = await _any(shelf)
    for text, k in ((" ", 8), ("x" * 20_001, 8), ("cats", 0), ("cats", 201)):
        with pytest.raises(BadRequest):
            await search(shelf, text, *names, k=k)
    with pytest.raises(BadRequest, match="collections: 1 to 16"):
        await search(shelf, "cats")


async def _any(shelf: Shelf) -> list[str]:
    row = await shelf.db.row("select name from collections where name = 'any'")
    if row is None:
        await shelf.collection("any")
    return ["any"]


async def test_words_are_hashed_anew_under_another_key(shelf: Shelf) -> None:
    one, two = (SealingKey(id=name, secret=bytes([at]) * 32) for at, name in enumerate(("one", "two")))
    sealed = Shelf(shelf.db, Seal([one]))
    made = await stocked(sealed, "rotated")
    turned = Shelf(shelf.db, Seal([two, one]))
    while await SEALED.reseal(shelf.db, turned.seal):
        pass
    while await rehashing.reseal(shelf.db, turned.seal):
        pass
    alone = Shelf(shelf.db, Seal([two]))
    assert set(await rehashing.keys_used(shelf.db)) == {"two"}
    # What other tests stocked without a key is hashed under it now, too.
    found = await search(alone, "cats that sleep", made.name, mode="lexical")
    assert found.passages[0].text == "cats sleep all day long"


async def test_a_reranker_orders_the_best_anew_and_its_failure_changes_nothing(shelf: Shelf) -> None:
    await stocked(shelf, "reranked")
    plain = await search(shelf, "cats sleep", "reranked")

    async def backwards(request: Request) -> AsyncGenerator[Delta, None]:
        assert (request.operation, request.who) == ("rerank", WHO)
        texts = request.body["documents"]
        results = [{"index": at, "relevance_score": float(at)} for at in range(len(texts))]
        yield Delta(raw=msgspec.json.encode({"results": results}), done=True)

    found = await search(shelf, "cats sleep", "reranked", chat=backwards, rerank="ranker")
    assert [each.id for each in found.passages] == [each.id for each in plain.passages][::-1]
    assert found.passages[0].scores["reranked_rank"] == 1
    assert "rerank" in found.took_us
    for failing in (refusing, saying("nothing of use")):
        found = await search(shelf, "cats sleep", "reranked", chat=failing, rerank={"model": "ranker", "by": "chat"})
        assert [each.id for each in found.passages] == [each.id for each in plain.passages]
        assert found.warnings[0].startswith("not ranked again: ")


async def test_a_model_that_chats_gives_marks(shelf: Shelf) -> None:
    await stocked(shelf, "marked")
    chat = saying("[1] 2\n[2]: 9\n[77] 10\n[1] 10")
    plain = await search(shelf, "cats sleep", "marked")
    found = await search(shelf, "cats sleep", "marked", chat=chat, rerank={"model": "judge", "by": "chat"})
    assert [each.id for each in found.passages][:2] == [plain.passages[1].id, plain.passages[0].id]


async def test_a_question_is_rewritten_or_taken_apart_or_searched_as_it_is(shelf: Shelf) -> None:
    await stocked(shelf, "rewritten")
    chat = saying('1. "birds that sing"\n2) dogs bark\n\n- birds that sing\n***\n')
    for by in ("rewrite", "decompose"):
        how = {"model": "m", "by": by, "queries": 2}
        found = await search(shelf, "zzz", "rewritten", chat=chat, rewrite=how, mode="lexical")
        assert found.queries == ["zzz", "birds that sing", "dogs bark"]
        assert {each.document for each in found.passages[:2]} == {"birds", "dogs"}
    found = await search(shelf, "cats sleep", "rewritten", chat=refusing, rewrite="m")
    assert found.queries == ["cats sleep"]
    assert found.warnings == ["searched for the question as it is: no"]
    assert found.passages[0].document == "cats"


async def test_passages_are_shown_with_their_neighbours(shelf: Shelf) -> None:
    made = await shelf.collection("long")
    texts = [f"part {at} of the story" for at in range(5)]
    [document] = await shelf.put(made, [Doc(name="long", texts=texts)])
    content = sealed_content(Content(title="", text="\n".join(texts)), document, shelf.seal)
    await shelf.db.run("update collection_documents set content = %s where id = %s", (content, document))
    found = await search(shelf, "part 2", "long", k=1, mode="lexical", neighbours=1)
    assert found.passages[0].text == "\n".join(texts[1:4])
    assert found.passages[0].start == len(texts[0]) + 1


def saying(text: str) -> Chat:
    async def said(request: Request) -> AsyncGenerator[Delta, None]:
        assert request.body["messages"][0]["role"] == "user"
        body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}
        yield Delta(raw=msgspec.json.encode(body), done=True)

    return said


async def refusing(_request: Request) -> AsyncGenerator[Delta, None]:
    raise Refused("no")
    yield
