"""The triad: what was found, whether the answer stands on it, whether it answers; with a judge and without."""

from __future__ import annotations

from typing import Any

import pytest

from loopwright.core.errors import BadRequest
from loopwright.datasets.example import Example
from loopwright.evals.evaluator import Output, Tools
from loopwright.evals.evaluators import kinds, make
from loopwright.evals.measure import Measure
from tests.evals.test_judge import Priced, scripted
from tests.retrieval.stocked import Toy

pytestmark = pytest.mark.anyio
PASSAGES = (
    "Refunds are paid within fourteen days after the goods came back.",
    "The shop opens at nine in the morning.",
)
QUESTION = "Within how many days are refunds paid?"


def tools() -> Tools:
    toy = Toy(dimensions=256)
    return Tools(embedder=lambda _name: toy)


async def value(kind: str, text: str, *, passages: tuple[str, ...] = PASSAGES, **args: Any) -> float:
    example = Example(id="1", inputs={"question": QUESTION})
    score = await make({"kind": kind, "args": args}, tools())(example, Output(text=text, passages=passages))
    assert score.value is not None, score.missing
    return score.value


async def test_relevant_passages_count_more_than_others() -> None:
    both = await value("context_relevance", "x")
    first = await value("context_relevance", "x", passages=PASSAGES[:1])
    second = await value("context_relevance", "x", passages=PASSAGES[1:])
    assert first > 0.5 > second
    assert both == pytest.approx((first + second) / 2)


async def test_an_answer_stands_on_its_passages_or_does_not() -> None:
    assert await value("groundedness", PASSAGES[0]) > 0.9
    assert await value("groundedness", "Pigeons in Peru carry 7,000 letters.") < 0.3


async def test_an_answer_speaks_to_the_question_or_evades_it() -> None:
    assert await value("answer_relevance", "Refunds are paid within fourteen days.") > 0.5
    assert await value("answer_relevance", "The documents do not say.") == 0.0
    assert await value("answer_relevance", "I don't know within how many days refunds are paid.") == 0.0
    assert await value("answer_relevance", " ") == 0.0


async def test_what_cannot_be_measured_is_missing() -> None:
    example = Example(id="1", inputs={"messages": [{"role": "system", "content": "s"}]})
    for kind in ("context_relevance", "answer_relevance"):
        assert (await make(kind, tools())(example, Output(text="x", passages=PASSAGES))).missing
    asked = Example(id="1", inputs={"messages": [{"role": "user", "content": QUESTION}]})
    for kind in ("context_relevance", "groundedness"):
        assert (await make(kind, tools())(asked, Output(text="x"))).missing
    with pytest.raises(BadRequest, match="judged_by"):
        make("context_relevance", Tools())


async def test_a_judge_says_it_in_words_and_what_it_cost() -> None:
    example = Example(id="1", inputs={"question": QUESTION})
    output = Output(text="Within fourteen days.", passages=PASSAGES)
    chat = scripted(("opens at nine", '{"verdict": "no"}'), otherwise='{"verdict": "yes"}')
    judged = {"kind": "context_relevance", "args": {"judged_by": "m", "least": 0.4}}
    score = await make(judged, Tools(chat=chat))(example, output)
    assert (score.value, score.passed) == (0.5, True)
    assert score.details["passages"] == [1.0, 0.0]
    for kind in ("groundedness", "answer_relevance"):
        evaluator = make({"kind": kind, "args": {"judged_by": "m"}}, Tools(chat=Priced('{"verdict": "yes"}')))
        assert Measure(evaluator, 5.0, pair=False).method == "judge"
        score = await evaluator(example, output)
        assert (score.value, score.cost_nano) == (1.0, 70)
    score = await make({"kind": "groundedness", "args": {"judged_by": "m"}}, Tools(chat=Priced("hm")))(example, output)
    assert (score.value, score.cost_nano) == (None, 70)


def test_the_three_are_told_of() -> None:
    told = {kind.name: kind for kind in kinds()}
    assert {"context_relevance", "groundedness", "answer_relevance"} <= told.keys()
    assert "judged_by" in {each.name for each in told["groundedness"].args}
