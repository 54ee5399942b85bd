"""Labelled queries, asked in several ways: read, measured, kept sealed, the newest of them."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from loopwright.core.errors import BadRequest, NotFound, Unavailable
from loopwright.core.passage import Found, Query
from loopwright.core.who import Principal
from loopwright.kit.keyring import SealingKey
from loopwright.kit.seal import Seal
from loopwright.laboratory.retrieval_figures import rows_of, summary_of
from loopwright.retrieval.assessing import Answered, Assessing
from loopwright.retrieval.evaluations import Evaluations, ordered
from loopwright.retrieval.labelled import Judged, Plan, Way, judged_of, lines_of
from loopwright.retrieval.resealing import SEALED
from loopwright.retrieval.search import Searcher
from tests.retrieval.stocked import Doc, Shelf

pytestmark = pytest.mark.anyio
WHO = Principal(key_id=1, key_name="k", project_id=1, project="default")
WORDS = ("gravity apples fall", "violins wooden strings", "harbour ships cranes", "bread flour ovens")


def asked() -> list[Judged]:
    queries = [{"_id": str(at), "text": text.split()[1]} for at, text in enumerate(WORDS)]
    qrels = [{"query-id": str(at), "corpus-id": f"d{at}", "score": 2} for at in range(len(WORDS))]
    return judged_of([*queries, {"_id": "none", "text": "nobody knows"}], qrels)


async def stocked(shelf: Shelf, name: str) -> tuple[Searcher, Assessing]:
    made = await shelf.collection(name)
    await shelf.put(made, [Doc(name=f"d{at}", texts=[text, f"{text} again"]) for at, text in enumerate(WORDS)])
    search = Searcher(shelf.db, shelf.seal, embedder=lambda model: shelf.embedder if model == "toy" else None)
    return search, Assessing(search=search, collection=await shelf.get(made.id), who=WHO)


async def test_ways_are_compared_query_by_query(shelf: Shelf) -> None:
    _, assessing = await stocked(shelf, "compared")
    ways = [Way(name="lexical", options={"mode": "lexical"}), Way(name="none", options={"documents": []})]
    plan = Plan(queries=asked(), ways=ways, cutoffs=[3, 1]).checked()
    steps: list[tuple[int, int]] = []
    found = await assessing(plan, lambda done, of: steps.append((done, of)))
    assert steps[-1] == (4, 4)
    rows = rows_of([each for each in plan.queries if each.measurable], found, plan)
    assert rows[1].ways["lexical"].found == ["d1"]
    summary = summary_of(rows, plan)
    assert (summary["by"], summary["baseline"]) == ("ndcg@3", "lexical")
    lexical, none = summary["ways"]
    assert lexical["figures"]["ndcg@3"] == {"estimate": 1.0, "low": 1.0, "high": 1.0}
    assert none["figures"]["recall@1"]["estimate"] == 0.0
    [difference] = summary["differences"]
    assert (difference["estimate"], difference["worse"], difference["better"]) == (-1.0, 4, 0)
    assert difference["p_holm"] == pytest.approx(2 / 16)


async def test_measurements_are_kept_sealed_and_the_newest_stay(shelf: Shelf) -> None:
    first, second = SealingKey(id="a", secret=b"a" * 32), SealingKey(id="b", secret=b"b" * 32)
    shelf.seal = Seal([first])
    _, assessing = await stocked(shelf, "kept")
    plan = Plan(queries=asked(), ways=[Way(name="lexical", options={"mode": "lexical"})]).checked()
    rows = rows_of([q for q in plan.queries if q.measurable], await assessing(plan, lambda _done, _of: None), plan)
    collection = assessing.collection
    store = Evaluations(shelf.db, shelf.seal, most=2)
    made = await store.keep(collection, summary_of(rows, plan), rows, author="ada", note="first\x00")
    assert await store.rows(made) == rows
    assert (made.queries, made.note, made.version) == (4, "first", collection.version)
    [stored] = await shelf.db.rows("select details from collection_evaluations where id = %s", (made.id,))
    assert b"strings" not in bytes(stored["details"])
    both = Seal([second, first])
    assert await SEALED.keys_used(shelf.db)
    while await SEALED.reseal(shelf.db, both):
        pass
    assert await Evaluations(shelf.db, Seal([second])).rows(made) == rows
    for _ in range(2):
        last = await store.keep(collection, {}, rows[:1], author="ada", note="")
    page = await store.list(collection, limit=9)
    assert [page[0].id, len(page)] == [last.id, 2]
    with pytest.raises(NotFound):
        await store.get(collection, made.id)
    assert await store.missing(collection, ["d1", "gone"]) == 1


async def test_a_search_that_fails_now_and_then_is_told_and_always_ends_it(shelf: Shelf) -> None:
    _, assessing = await stocked(shelf, "failing")
    calls = 0

    async def flaky(query: Query, /) -> Found:
        nonlocal calls
        calls += 1
        if calls == 2 or query.options.get("mode") == "dense":
            raise Unavailable("asleep")
        return Found(passages=[])

    assessing = Assessing(search=flaky, collection=assessing.collection, who=WHO)
    plan = Plan(queries=asked(), ways=[Way(name="lexical", options={"mode": "lexical"})]).checked()
    found = await assessing(plan, lambda _done, _of: None)
    assert [each.failed for each in found["lexical"]] == ["", "asleep", "", ""]
    more = [*asked(), *(Judged(id=f"m{number}", text="x", grades={"d0": 1}) for number in range(4))]
    dense = Plan(queries=more, ways=[Way(name="dense", options={"mode": "dense"})]).checked()
    with pytest.raises(Unavailable):
        await assessing(dense, lambda _done, _of: None)


def test_the_worst_are_first() -> None:
    plan = Plan(queries=asked(), ways=[Way(name="a"), Way(name="b")], cutoffs=[1]).checked()
    queries = [each for each in plan.queries if each.measurable]

    def answers(*names: str) -> Sequence[Answered]:
        return [Answered(documents=[name], micros=1) for name in names]

    found = {"a": answers("d0", "d1", "x", "d3"), "b": answers("d0", "x", "x", "d3")}
    rows = rows_of(queries, found, plan)
    by = "ndcg@1"
    assert [row.id for row in ordered(rows, by=by, way="b", baseline="a", order="change")] == ["1", "2", "0", "3"]
    assert ordered(rows, by=by, way="a", baseline="a", order="worst")[0].id == "2"


def test_files_are_read_and_what_is_wrong_is_named() -> None:
    lines = [
        {"_id": 7, "text": "why", "relevant": {"a": 2, "b": 0}, "synthetic": True},
        {"id": "8", "query": "how", "relevant": ["c"]},
    ]
    [one, two] = judged_of(lines_of("\ufeff" + "\n\n".join(json.dumps(each) for each in lines), "q.jsonl"))
    assert (one.id, one.grades, one.synthetic, two.text, two.grades) == ("7", {"a": 2, "b": 0}, True, "how", {"c": 1})
    query = [{"_id": "1", "text": "x"}]
    for queries, qrels, said in (
        ([*query, *query], [], "another one"),
        ([{"_id": "1", "text": " "}], [], "text"),
        ([{"text": "x"}], [], "_id"),
        (query, [{"query-id": "2", "corpus-id": "d"}], "no query '2'"),
        (query, [{"query-id": "1", "corpus-id": "d", "score": "good"}], "a grade"),
        (query, [{"query-id": "1", "score": 1}], "corpus-id"),
        ([{"_id": "1", "text": "x", "relevant": 7}], [], "names of documents"),
    ):
        with pytest.raises(BadRequest, match=said):
            judged_of(queries, qrels)
    with pytest.raises(BadRequest, match="f:2: not JSON"):
        list(lines_of('{"a": 1}\n{', "f"))
    for plan, said in (
        (Plan(queries=judged_of(query)), "no query has"),
        (Plan(queries=asked(), ways=[Way(name="a"), Way(name="a")]), "a name of its own"),
        (Plan(queries=asked(), ways=[Way(name="a", options={"neighbours": 2})]), "documents are ranked"),
        (Plan(queries=asked(), ways=[Way(name="a", options={"mode": "best"})]), "mode"),
        (Plan(queries=asked(), cutoffs=[0]), "cutoffs"),
    ):
        with pytest.raises(BadRequest, match=said):
            plan.checked()
