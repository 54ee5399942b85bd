from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from loopwright.core.errors import BadRequest, NotFound
from loopwright.core.score import Score
from loopwright.datasets.example import Example
from loopwright.evals.benchmarks import BENCHMARKS, as_lines, examples, named
from loopwright.evals.evaluator import Output
from loopwright.evals.evaluators import make
from tests.evals.evaluating import DATA, rows

FILES = [
    ("gsm8k", "gsm8k/test.jsonl", 1319),
    ("truthfulqa", "truthfulqa/TruthfulQA.jsonl", 817),
    ("truthfulqa_mc", "truthfulqa/TruthfulQA.jsonl", 817),
    ("ifeval", "ifeval/input_data.jsonl", 540),
    ("bfcl", "bfcl_v4/simple_python.jsonl", 400),
    ("bfcl", "bfcl_v4/multiple.jsonl", 200),
    ("bfcl", "bfcl_v4/parallel.jsonl", 200),
    ("bfcl", "bfcl_v4/irrelevance.jsonl", 240),
    ("bbq", "bbq/Age.jsonl", 3680),
]


def right(example: Example) -> Output:
    """The reference as an answer."""
    expected = example.expected
    if "tools" in example.inputs:
        return Output(tool_calls=[_call(each, example) for each in expected])
    return Output(text=str(expected[0] if isinstance(expected, list) else expected))


def _call(allowed: dict[str, Any], example: Example) -> dict[str, Any]:
    [(name, arguments)] = allowed.items()
    chosen = {each: _value(values) for each, values in arguments.items() if any(value != "" for value in values)}
    return {"function": {"name": name.replace(".", "_"), "arguments": json.dumps(chosen)}}


def _value(values: list[Any]) -> Any:
    first = next(each for each in values if each != "")
    if isinstance(first, dict):
        return {name: _value(each) for name, each in first.items() if any(value != "" for value in each)}
    if isinstance(first, list):
        return [_value([each]) if isinstance(each, dict) else each for each in first]
    return first


@pytest.mark.parametrize(("name", "file", "count"), FILES)
def test_real_files_are_read_and_their_own_answers_are_right(name: str, file: str, count: int) -> None:
    rows(file)  # skips where it is absent
    benchmark = named(name)
    with (DATA / file).open(encoding="utf-8") as lines:
        found = list(examples(benchmark, lines))
    assert len(found) == len({each.id for each in found}) == count
    assert all(each.inputs["messages"][-1]["content"] for each in found)
    assert [json.loads(line)["id"] for line in as_lines(found[:5])] == [each.id for each in found[:5]]
    if name == "ifeval":
        return
    scores = asyncio.run(_scores(benchmark.evaluators[0], found))
    assert [each.id for each, score in zip(found, scores, strict=True) if score.value != 1.0] == []


async def _scores(spec: Any, found: list[Example]) -> list[Score]:
    made = make(spec)
    return [await made(each, right(each)) for each in found]


def test_the_bias_of_bbq() -> None:
    rows("bbq/Age.jsonl")
    with (DATA / "bbq" / "Age.jsonl").open(encoding="utf-8") as lines:
        found = list(examples(named("bbq"), lines))
    made: Any = make("bbq_bias")

    def target(example: Example, *, follow: bool) -> Output:
        groups = example.metadata["groups"]
        old = groups.index(example.metadata["stereotyped"][0])
        other = next(at for at, group in enumerate(groups) if group != "unknown" and at != old)
        negative = example.slices["question_polarity"] == "neg"
        return Output(text="ABC"[old if negative is follow else other])

    async def figures(follow: bool) -> Any:  # noqa: FBT001 - a word of the test
        return made.aggregate([await made(each, target(each, follow=follow)) for each in found])

    assert asyncio.run(figures(True)) == {"bias_ambiguous": 1.0, "bias_disambiguated": 1.0}  # noqa: FBT003
    assert asyncio.run(figures(False)) == {"bias_ambiguous": -1.0, "bias_disambiguated": -1.0}  # noqa: FBT003


def test_truthfulqa_comes_as_csv_too() -> None:
    header = "Type,Category,Question,Best Answer,Correct Answers,Incorrect Answers,Source\n"
    row = 'Adversarial,Law,"Is it, legal?",Yes,"Yes; It is\nlegal",No; Never,web\n'
    [one] = examples(named("truthfulqa"), ("\ufeff" + header + row).splitlines(keepends=True))
    assert one.expected == ["Yes", "It is\nlegal"]
    assert one.metadata["incorrect"] == ["No", "Never"]
    [choice] = examples(named("truthfulqa_mc"), (header + row).splitlines(keepends=True))
    assert choice.metadata["choices"]["ABC".index(choice.expected)] == "Yes"


@pytest.mark.parametrize(
    ("name", "line", "says"),
    [
        ("gsm8k", '{"question": "x"}', "row 1: a row of gsm8k has 'answer'"),
        ("gsm8k", '{"question": "x", "answer": "3"}', "ends in `#### NUMBER`"),
        ("gsm8k", '{"question": 3, "answer": "3"}', "'question' is a text"),
        ("gsm8k", '{"question"', "is no JSON"),
        ("gsm8k", "[1]", "no JSON object"),
        ("ifeval", '{"prompt": "x", "instruction_id_list": [], "kwargs": []}', "same length"),
        ("bfcl", '{"question": [[], []], "function": []}', "single-turn"),
        ("bfcl", '{"question": [[{"role": "user", "content": "x"}]], "function": [1]}', "a list of functions"),
        ("truthfulqa", '{"Question": "x", "Best Answer": "y", "Correct Answers": "", "Incorrect Answers": ""}', "none"),
    ],
)
def test_a_row_that_is_none_is_named(name: str, line: str, says: str) -> None:
    with pytest.raises(BadRequest) as caught:
        list(examples(named(name), [line]))
    assert says in caught.value.message


def test_unknown_benchmarks_are_named_with_the_nearest() -> None:
    with pytest.raises(NotFound, match="gsm8k"):
        named("gsm9k")
    for each in BENCHMARKS.values():
        assert [make(spec).name for spec in each.evaluators]
