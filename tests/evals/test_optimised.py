"""Optimisation without a network: budgets, candidates, and a proof that the search cannot spend."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from loopwright.core.errors import BadRequest
from loopwright.datasets.example import Example
from loopwright.evals.candidate import Candidate
from loopwright.evals.evaluator import Output
from loopwright.evals.evaluators import make
from loopwright.evals.few_shot import FewShot
from loopwright.evals.instructing import Instructions
from loopwright.evals.measure import Measure
from loopwright.evals.optimised import Method, Optimised, Parts, optimise
from loopwright.evals.trials import Purse, Trials
from loopwright.prompts.version import read
from loopwright.tasks.task import Shot

PROMPT = {
    "variables": {"n": "any"},
    "messages": [{"role": "system", "content": "Do it."}, {"role": "user", "content": "Number {{ n }}"}],
}


def examples(split: str, start: int, count: int) -> list[Example]:
    return [Example(id=f"{split}{at}", inputs={"n": at}, expected=str(2 * at)) for at in range(start, start + count)]


PARTS = Parts(train=examples("a", 0, 10), validation=examples("b", 100, 10), test=examples("c", 200, 30))


async def ask(messages: Sequence[Mapping[str, Any]]) -> Output:
    """Doubles when it is told to, or has seen how; every fifth number it gets right anyway."""
    number = int(messages[-1]["content"].split()[-1])
    told = "double" in messages[0]["content"] or len(messages) > 4
    return Output(text=str(2 * number if told or number % 5 == 0 else number), cost_nano=1_000)


def ran(method: Method, purse: Purse, parts: Parts = PARTS) -> Optimised:
    trials = Trials(ask=ask, measures=[Measure(make("exact_match"), 10.0)], purse=purse)
    return asyncio.run(optimise(Candidate(prompt=read(PROMPT, "p")), parts, trials, method))


def test_instructions_that_are_no_template_lose() -> None:
    written = iter(
        ["```\nNumber {{ nowhere }}\n```", "```\n{% for %}\n```", "no blocks at all", "```\nReturn the double.\n```"]
    )

    async def reflect(text: str) -> Output:
        assert "Score: 0." in text
        return Output(text=next(written, ""), cost_nano=5_000)

    purse = Purse(calls=500)
    found = ran(Instructions(reflect=reflect), purse)
    assert found.better
    assert found.best.candidate.instructions == {"messages[0]": "Return the double."}
    assert purse.spent >= 1_000 * (purse.used - 4) + 4 * 5_000


def test_the_search_never_spends_the_proof() -> None:
    for calls in (80, 81, 95, 120):
        purse = Purse(calls=calls)
        found = ran(FewShot(shots=4, sets=50), purse)
        assert purse.used <= calls
        assert found.stopped is not None
        if found.best.number:
            assert (len(found.before), len(found.after)) == (30, 30)
    with pytest.raises(BadRequest, match="80 are the least"):
        ran(FewShot(), Purse(calls=79))


def test_what_was_learnt_from_proves_nothing() -> None:
    with pytest.raises(BadRequest, match="two splits"):
        ran(FewShot(), Purse(calls=500), Parts(train=PARTS.train, validation=PARTS.validation, test=PARTS.train))
    with pytest.raises(BadRequest, match="test split has 2 examples"):
        ran(FewShot(), Purse(calls=500), Parts(train=PARTS.train, validation=PARTS.validation, test=PARTS.test[:2]))


def test_examples_are_shown_as_they_are_whatever_they_hold() -> None:
    start = Candidate(prompt=read(PROMPT, "p"))
    odd = Example(id="x", inputs={"n": "{{ n }} {% raw %} {# #} {{"}, expected=["{{ 1 }}", "other"])
    messages = start.with_examples([odd], "odd").messages({"n": 5})
    said = ["Do it.", "Number {{ n }} {% raw %} {# #} {{", "{{ 1 }}", "Number 5"]
    assert [each["content"] for each in messages] == said


def test_a_variant_that_shows_examples_gets_no_more() -> None:
    start = Candidate(prompt=read(PROMPT, "p"), shots=(Shot(input={"n": 1}, output={"a": 2}),))
    assert [each["content"] for each in start.messages({"n": 5})] == ["Do it.", "Number 1", '{"a": 2}', "Number 5"]
    trials = Trials(ask=ask, measures=[Measure(make("exact_match"), 10.0)], purse=Purse(calls=500))
    with pytest.raises(BadRequest, match="of its own"):
        asyncio.run(optimise(start, PARTS, trials, FewShot()))


def test_instructions_only_are_followed_by_the_input() -> None:
    bare = Candidate(prompt=read({"messages": [{"role": "system", "content": "Do."}]}, "p"), text_input="input")
    assert bare.messages({"input": "hello"})[-1] == {"role": "user", "content": "hello"}
    made = bare.with_examples([Example(id="x", inputs={"input": "a"}, expected="b")], "one")
    assert [each["content"] for each in made.messages({"input": "hello"})] == ["Do.", "a", "b", "hello"]
