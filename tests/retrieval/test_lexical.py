import itertools
import json
import os
import random
from collections import Counter
from pathlib import Path

import bm25s
import numpy as np
import pytest

from loopwright.kit.keyring import SealingKey
from loopwright.kit.seal import Seal
from loopwright.retrieval.lexical import Weighed, Worths, weighing
from loopwright.retrieval.segments import Kept, segments_of
from loopwright.retrieval.terms import Analyzer, hash_of, words_of
from tests.retrieval.stocked import Doc, Shelf

pytestmark = pytest.mark.anyio

DATA = Path(os.environ.get("LOOPWRIGHT_TEST_DATA", "../shared/data"))
WORDS = [a + b for a, b in itertools.product(("ka", "lo", "mi", "ne", "pu", "ra"), ("tor", "ven", "zil", "bex", "dam"))]


def texts_of(count: int, seed: int) -> list[str]:
    """Texts of words that are as unequally common as those of a language."""
    drawn = random.Random(seed)
    weights = [1 / (rank + 1) for rank in range(len(WORDS))]
    return [" ".join(drawn.choices(WORDS, weights, k=drawn.randint(3, 60))) for _ in range(count)]


async def weighed(shelf: Shelf, collection_id: int, query: str, worths: Worths | None = None) -> Weighed:
    async with shelf.db.transaction() as connection:
        segments = await segments_of(connection, collection_id)
        layout = await shelf.index.layouts.of(connection, segments)
        words = {each.kind: shelf.index.analyzer(*each.kind).hashes(query) for each in segments}
        return await (await weighing(connection, segments, layout, words, worths)).weighed()


def others(texts: list[str], query: str) -> np.ndarray:
    """What bm25s gives each text, with our words."""
    analyzer = Analyzer()
    model = bm25s.BM25(k1=1.5, b=0.75, method="lucene")
    model.index([analyzer.terms(text) for text in texts], show_progress=False)
    known = [term for term in analyzer.terms(query) if term in model.vocab_dict]
    return model.get_scores(known) if known else np.zeros(len(texts), np.float32)


@pytest.mark.parametrize("sealed", [False, True])
async def test_scores_are_those_of_bm25s_whatever_was_added_merged_and_dropped(shelf: Shelf, sealed: bool) -> None:  # noqa: FBT001
    if sealed:
        shelf = Shelf(shelf.db, Seal([SealingKey(id="one", secret=bytes(range(32)))]))
    collection = await shelf.collection(f"compared-{sealed}")
    texts = texts_of(400, seed=1)
    ids: list[int] = []
    for batch in [texts[at : at + 8] for at in range(0, len(texts), 8)]:
        ids += await shelf.put(
            collection, [Doc(name=f"{len(ids) + at}", texts=[text]) for at, text in enumerate(batch)]
        )
    left = dict(zip(ids, texts, strict=True))
    worths: Worths = Kept(1 << 20)
    for step in range(3):
        if step == 1:
            gone = ids[::7]
            await shelf.drop(collection, gone)
            left = {each: text for each, text in left.items() if each not in gone}
        if step == 2:
            await shelf.index.settle(collection.id)
        for query in (" ".join(WORDS[:3]), f"{WORDS[20]} {WORDS[29]} {WORDS[20]}", "never heard", *texts[:3]):
            found = await weighed(shelf, collection.id, query)
            ours = dict(zip(found.documents.tolist(), found.scores.tolist(), strict=True))
            theirs = others(list(left.values()), query)
            assert np.allclose([ours[each] for each in left], theirs, rtol=1e-4, atol=1e-5)
            assert all(score == 0 for each, score in ours.items() if each not in left)
            # What was kept of other moments changes nothing, nor does what is kept now.
            for _ in range(2):
                again = await weighed(shelf, collection.id, query, worths)
                assert np.array_equal(again.scores, found.scores)
                assert (again.rarities, again.known) == (found.rarities, found.known)


async def test_a_document_that_was_cut_is_weighed_whole_as_well(shelf: Shelf) -> None:
    texts = texts_of(60, seed=2)
    cut, whole = await shelf.collection("cut"), await shelf.collection("whole")
    await shelf.put(whole, [Doc(name=f"{at}", texts=[text]) for at, text in enumerate(texts)])
    pieces = [text.split() for text in texts]
    await shelf.put(
        cut,
        [
            Doc(name=f"{at}", texts=[" ".join(words[:9]), " ".join(words[9:])] if len(words) > 9 else [" ".join(words)])
            for at, words in enumerate(pieces)
        ],
    )
    query = " ".join(WORDS[3:9])
    one, two = await weighed(shelf, cut.id, query), await weighed(shelf, whole.id, query)
    found = dict(zip(one.documents.tolist(), one.whole.tolist(), strict=True))
    assert np.allclose(list(found.values()), two.scores)
    worths: Worths = Kept(1 << 20)
    for _ in range(2):
        assert np.array_equal((await weighed(shelf, cut.id, query, worths)).whole, one.whole)


async def test_rankings_on_cranfield_are_those_of_bm25s(shelf: Shelf) -> None:
    folder = DATA / "cranfield"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}: set LOOPWRIGHT_TEST_DATA")
    lines = (folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    queries = [json.loads(line)["text"] for line in (folder / "queries.jsonl").read_text("utf-8").splitlines()[:25]]
    collection = await shelf.collection("cranfield")
    await shelf.put(collection, [Doc(name=f"{at}", texts=[text]) for at, text in enumerate(texts)], dense=False)
    analyzer = Analyzer()
    model = bm25s.BM25(k1=1.5, b=0.75, method="lucene")
    model.index([analyzer.terms(text) for text in texts], show_progress=False)
    for query in queries:
        found = await weighed(shelf, collection.id, query)
        theirs = model.get_scores([term for term in analyzer.terms(query) if term in model.vocab_dict])
        assert np.allclose(found.scores, theirs, rtol=1e-4, atol=1e-4)
        ranked = found.best(10).tolist()
        # Equal to rounding: whoever stands at a place has the score of whom they have there.
        assert np.allclose(theirs[ranked], np.sort(theirs)[::-1][:10], rtol=1e-4)


def test_words_are_folded_whole_and_of_any_script() -> None:
    assert words_of("The Ship's RUDDER-plate") == ["the", "ship", "rudder", "plate"]
    assert words_of("v3.14 costs 1,299.50 in 2024") == ["v3", "14", "costs", "1,299.50", "in", "2024"]
    assert words_of("max_retries getUserName mRNA") == [
        "max_retries", "max", "retries", "getusername", "get", "user", "name", "mrna",
    ]  # fmt: skip
    assert words_of("東京都は") == ["東京", "京都", "都は"]
    assert words_of("中") == ["中"]
    assert words_of("हिन्दी भाषा") == ["हिन्दी", "भाषा"]
    assert words_of("STRASSE Straße ﬁne") == ["strasse", "strasse", "fine"]
    assert words_of("\x00\ud800 --- !!!") == []


def test_endings_are_those_of_the_language() -> None:
    assert Analyzer("english").terms("the running runners") == ["run", "runner"]
    assert Analyzer("german").terms("die Häuser der Stadt") == ["haus", "stadt"]
    assert Analyzer("none").terms("the runners") == ["the", "runners"]


def test_hashes_say_nothing_without_the_secret() -> None:
    secret, words = bytes(range(32)), [f"word{n}" for n in range(500)]
    assert hash_of("cat") == hash_of("cat") != hash_of("cat", secret)
    assert max(Counter(hash_of(word, secret) for word in words).values()) == 1
