from __future__ import annotations

import math
import re
from collections import Counter

import pytest

from loopwright.core.privacy import Privacy
from loopwright.evals.evaluator import Tools
from tests.evals.evaluating import found

PASSAGE = (
    "Bonn is a city on the Rhine with 330,000 people. It was the capital of West Germany until 1990. "
    "Ludwig van Beethoven was born there in 1770."
)


class Letters:
    """An embedder of letters: near when the same are used as often."""

    name = "letters"
    dimensions = 26

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(self, texts: list[str], /, *, privacy: Privacy | None = None) -> list[list[float]]:
        del privacy
        self.asked += texts
        return [self._vector(text) for text in texts]

    def _vector(self, text: str) -> list[float]:
        counts = Counter(re.sub("[^a-z]", "", text.lower()) or "a")
        length = math.hypot(*counts.values())
        return [counts[chr(97 + at)] / length for at in range(26)]


def test_likeness_is_that_with_the_nearest_reference() -> None:
    embedder = Letters()
    tools = Tools(embedder=lambda _: embedder)
    same = found("similarity", "listen", ["other words", "silent"], tools=tools)
    assert same.value == pytest.approx(1.0)
    assert same.details["model"] == "letters"
    assert len(embedder.asked) == 3
    far = found({"kind": "similarity", "args": {"least": 0.9}}, "zzz", "silent", tools=tools)
    assert (far.value, far.passed) == (0.0, False)
    assert found("similarity", " ", "silent", tools=tools).value == 0.0
    assert found("similarity", "x", None, tools=tools).value is None
    found("similarity", "y" * 100_000, "x", tools=tools)
    assert max(map(len, embedder.asked)) == 8_000


def grounded(text: str, context: object = PASSAGE, *, embedding: bool = False) -> float:
    tools = Tools(embedder=lambda _: Letters())
    spec = {"kind": "grounded", "args": {"embedding": embedding}}
    return found(spec, text, inputs={"context": context}, tools=tools).value or 0.0


def test_what_stands_in_the_passages_counts_more_than_what_does_not() -> None:
    for embedding in (False, True):
        there = grounded("Beethoven was born in Bonn in 1770.", embedding=embedding)
        number = grounded("Beethoven was born in Bonn in 1780.", embedding=embedding)
        name = grounded("Mozart was born in Bonn in 1770.", embedding=embedding)
        away = grounded("Lions sleep under acacias by day.", embedding=embedding)
        assert there > number > away
        assert there > name > away
    assert grounded("Beethoven was born in Bonn in 1770.") == 1.0
    assert grounded("It was the capital.", [{"text": "x"}, {"content": PASSAGE}]) == 1.0


def test_the_least_supported_sentence_is_named() -> None:
    spec = {"kind": "grounded", "args": {"embedding": False, "least": 0.9}}
    score = found(spec, "Bonn is on the Rhine. Its mayor is an astronaut.", inputs={"context": PASSAGE})
    assert score.passed is False
    assert "astronaut" in score.explanation
    assert len(score.details["sentences"]) == 2
    assert "no passages" in (found(spec, "x").missing or "")
    assert "says nothing" in (found(spec, "the of and", inputs={"context": PASSAGE}).missing or "")
