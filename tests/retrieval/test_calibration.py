"""Evidence: weighed by what was fitted to a collection, and said not to be known where nothing was."""

from __future__ import annotations

import random

import numpy as np
import pytest

from loopwright.core.errors import BadRequest
from loopwright.core.passage import Found, Passage, Query
from loopwright.core.who import Principal
from loopwright.kit.db import Database
from loopwright.kit.migrations import migrate
from loopwright.retrieval.calibration import Asked, Calibrations
from loopwright.retrieval.collection import Collection
from loopwright.retrieval.evidence import fit_of, fitted
from loopwright.retrieval.known_items import Excerpt, carrying, known_items
from loopwright.retrieval.search import Searcher
from loopwright.rooms import ROOMS
from tests.retrieval.stocked import Doc, Shelf

pytestmark = pytest.mark.anyio
WHO = Principal(key_id=1, key_name="k", project_id=1, project="default")


def words(number: int, count: int) -> list[str]:
    """Words of one document, which no other has."""
    drawn = random.Random(number)
    return ["".join(drawn.choices("bcdfghklmnprstvz", k=3)) + f"{number}{at}" for at in range(count)]


def doc(number: int) -> Doc:
    listed = words(number, 24)
    return Doc(name=f"d{number}", texts=[f"{' '.join(listed[:12])}. {' '.join(listed[12:])}."])


async def stocked(url: str) -> tuple[Database, Collection, Calibrations]:
    db = await Database.open(url, size=3)
    await migrate(db, ROOMS)
    shelf = Shelf(db)
    made = await shelf.collection("shelves")
    await shelf.put(made, [doc(number) for number in range(30)])
    search = Searcher(db, embedder=lambda name: shelf.embedder if name == "toy" else None)
    return db, await shelf.get(made.id), Calibrations(db, search)


async def test_questions_with_an_answer_are_told_from_those_without(database_url: str) -> None:
    db, collection, calibrations = await stocked(database_url)
    try:
        made = await calibrations.calibrate(collection)
        assert (made.source, made.documents) == ("own", 30)
        assert made.fits["hybrid"].missed <= 0.05
        assert made.fits["hybrid"].passed <= 0.2

        async def weighed(text: str, mode: str) -> bool:
            query = Query(text=text, collections=["shelves"], who=WHO, options={"mode": mode})
            evidence = await calibrations(query, await calibrations.search(query))
            assert evidence.value is not None
            assert evidence.threshold is not None
            return evidence.value >= evidence.threshold

        for mode in ("hybrid", "lexical"):
            assert await weighed(" ".join(words(3, 24)[:6]), mode) is True
            assert await weighed("nothing here speaks about gravity", mode) is False
        assert await calibrations.due() == []
    finally:
        await db.close()


async def test_labelled_questions_count_instead(database_url: str) -> None:
    db, collection, calibrations = await stocked(database_url)
    try:
        asked = [Asked(query=" ".join(words(number, 24)[:5]), answered=True) for number in range(15)]
        asked += [Asked(query=" ".join(words(1000 + number, 6)), answered=False) for number in range(15)]
        made = await calibrations.calibrate(collection, asked=asked)
        assert (made.source, made.queries) == ("file", 30)
        assert made.fits["lexical"].passed == 0.0
        with pytest.raises(BadRequest, match="too few"):
            await calibrations.calibrate(collection, asked=asked[:12])
        with pytest.raises(BadRequest, match="miss"):
            await calibrations.calibrate(collection, miss=0.9)
    finally:
        await db.close()


async def test_what_is_not_calibrated_or_not_there_is_not_weighed(database_url: str) -> None:
    db, collection, calibrations = await stocked(database_url)
    try:
        [due] = await calibrations.due()
        assert due.id == collection.id
        query = Query(text="x", collections=["shelves", "gone"], who=WHO)
        found = Found(passages=[])
        assert (await calibrations(query, found)).value is None
    finally:
        await db.close()


def test_more_of_either_is_never_less_evidence() -> None:
    drawn = np.random.default_rng(7)
    answered = np.column_stack([drawn.normal(0.5, 0.1, 80), drawn.normal(1.2, 0.3, 80)])
    unanswered = np.column_stack([drawn.normal(0.52, 0.1, 80), drawn.normal(0.5, 0.3, 80)])
    fits = fitted(answered, unanswered, miss=0.1)
    assert fits["hybrid"].weights[0] >= 0
    assert fits["hybrid"].weights[1] > 0
    assert fits["lexical"].missed == pytest.approx(0.1, abs=0.02)
    assert fits["lexical"].passed < 0.5 < fits["dense"].passed
    fit = fits["lexical"]
    assert fit.value(0, 2.0) > fit.threshold > fit.value(0, 0.1)
    assert fit_of(fit.shown()).shown() == fit.shown()
    with pytest.raises(ValueError, match="too few"):
        fitted(answered[:5], unanswered)


def test_questions_are_made_of_sentences() -> None:
    text = "The observatory on the northern ridge was completed by engineers during winter. Short."
    excerpts = [Excerpt(chunk_id=1, document_id=2, start=0, end=len(text), text=text)]
    [item] = known_items(excerpts, most=5, seed=1)
    assert set(item.meaning.split()) <= set(carrying(text))
    assert len(item.words.split()) == len(item.meaning.split()) == 6
    assert [item] == known_items(excerpts, most=5, seed=1)
    assert known_items([Excerpt(chunk_id=1, document_id=2, start=0, end=3, text="abc")], most=5, seed=1) == []


def test_a_passage_without_scores_is_no_evidence() -> None:
    passage = Passage(id=1, collection="c", document_id=1, document="d", title="", text="t")
    fit = fitted(np.array([[0.5, 1.0]] * 12), np.array([[0.1, 0.2]] * 12))["hybrid"]
    assert fit.value(0.0, 0.0) < fit.threshold
    assert passage.scores == {}
