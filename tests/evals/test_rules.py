from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from tests.evals.evaluating import found


@pytest.mark.parametrize(
    ("args", "text", "value"),
    [
        ({"pattern": "b+"}, "abbbc", 1.0),
        ({"pattern": "^b"}, "abbbc", 0.0),
        ({"pattern": r"\d{3}", "match": "full"}, "123", 1.0),
        ({"pattern": r"\d{3}", "match": "full"}, "123\n", 0.0),
        ({"pattern": "a|b", "match": "full"}, "ab", 0.0),
        ({"pattern": "sorry", "match": "absent", "ignore_case": True}, "SORRY", 0.0),
        ({"pattern": "ä", "ignore_case": True}, "Ä", 1.0),
        ({"pattern": "a"}, "\ud800a", 1.0),
    ],
)
def test_a_pattern_matches(args: dict[str, Any], text: str, value: float) -> None:
    assert found({"kind": "regex", "args": args}, text).value == value


@pytest.mark.parametrize(
    ("args", "text", "expected", "value"),
    [
        ({"texts": ["Paris", "rome"]}, "paris and Rome", None, 1.0),
        ({"texts": ["Paris", "rome"], "ignore_case": False}, "paris and Rome", None, 0.0),
        ({"texts": ["Paris", "Rome"], "how": "any"}, "only Rome", None, 1.0),
        ({"texts": ["sorry"], "how": "none"}, "Sorry!", None, 0.0),
        ({"texts": "cat", "words": True}, "concatenate", None, 0.0),
        ({"texts": "cat", "words": True}, "concatenate a cat.", None, 1.0),
        ({"texts": "C++", "words": True}, "in C++.", None, 1.0),
        ({}, "It is Paris", "Paris", 1.0),
        ({}, "It is 42", 42, 1.0),
    ],
)
def test_texts_occur(args: dict[str, Any], text: str, expected: Any, value: float) -> None:
    score = found({"kind": "contains", "args": args}, text, expected)
    assert score.value == value
    assert score.passed is (value == 1.0)


def test_nothing_to_look_for_is_missing() -> None:
    assert "nothing to look for" in (found("contains", "x").missing or "")


@pytest.mark.parametrize(
    ("args", "value", "count"),
    [
        ({"unit": "characters", "most": 30}, 1.0, 26),
        ({"unit": "words", "least": 7}, 0.0, 6),
        ({"unit": "sentences", "least": 2, "most": 2}, 1.0, 2),
        ({"unit": "lines", "least": 2}, 1.0, 2),
        ({"unit": "tokens", "most": 6}, 0.0, 7),
    ],
)
def test_lengths_are_counted(args: dict[str, Any], value: float, count: int) -> None:
    score = found({"kind": "length", "args": args}, "Dr. Who came.\nHe was late.", output_tokens=7)
    assert (score.value, score.details["count"]) == (value, count)


def test_json_fits_its_schema_or_the_place_is_named() -> None:
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    spec = {"kind": "json_schema", "args": {"schema": schema}}
    assert found(spec, '{"n": 1}').value == 1.0
    assert "$.n" in found(spec, '{"n": "one"}').explanation
    assert found(spec, "", value={"n": 2}).value == 1.0
    fenced = 'Here:\n```json\n{"n": 1,}\n```'
    assert found(spec, fenced).value == 0.0
    assert found({"kind": "json_schema", "args": {"schema": schema, "lenient": True}}, fenced).value == 1.0
    assert found("json_schema", "null").value == 1.0
    assert found("json_schema", "[" * 100_000).value == 0.0


HOSTILE = """
import asyncio, sys
from loopwright.datasets.example import Example
from loopwright.evals.evaluator import Output
from loopwright.evals.evaluators import make
from loopwright.evals.ifeval_checks import CHECKS

N = 150_000
pieces = ["a", " ", "\\n", "[", "<<", "<<a>", "*", "*a", ".", ". ", "?!", "1. ", "{", "```", "the answer is ", "<think>",
          "1", "1,111", "select ", "with x ", "'", "\\\\boxed{", "A) ", "\\0", "word ", "p.", "n't", "1/", "(", "-"]
regex = lambda pattern: {"kind": "regex", "args": {"pattern": pattern}}
specs = [regex("(a+)+$x"), regex("(a|a)*b"), regex("(.*a){20}c"), regex(r"(\\w+\\s?)*$!"), "numeric_match",
         {"kind": "choice_match", "args": {"options": {"A": "the cat", "B": "a dog"}}},
         {"kind": "classification", "args": {"labels": ["good", "bad"]}},
         {"kind": "contains", "args": {"texts": ["aaab"], "words": True}},
         {"kind": "length", "args": {"unit": "sentences", "least": 1}},
         {"kind": "json_schema", "args": {"lenient": True}}, "token_f1",
         {"kind": "sql_match", "args": {"script": "create table t(a)", "timeout": 0.5}},
         {"kind": "grounded", "args": {"embedding": False}}]
dear = ["bleu", "chrf", "rouge", {"kind": "rouge", "args": {"type": "rougeLsum"}}]
kwargs = {"keywords": ["ab"], "keyword": "aab", "frequency": 3, "relation": "at least", "forbidden_words": ["aaab"],
          "letter": "a", "let_frequency": 3, "let_relation": "at least", "language": "en", "num_sentences": 3,
          "num_words": 4, "num_paragraphs": 3, "nth_paragraph": 1, "first_word": "a", "num_placeholders": 3,
          "postscript_marker": "P.S.", "num_bullets": 3, "num_highlights": 3, "section_spliter": "Section",
          "num_sections": 3, "prompt_to_repeat": "aa", "end_phrase": "a", "capital_frequency": 3,
          "capital_relation": "at least"}

async def main():
    cheap = [make(spec) for spec in specs] + [make("ifeval")]
    all_of_them = cheap + [make(spec) for spec in dear]
    for at, piece in enumerate(pieces):
        text = piece * (N // len(piece))
        example = Example(id="1", inputs={"context": text}, expected=text[:50_000],
                          metadata={"instruction_id_list": ["keywords:existence"], "kwargs": [kwargs]})
        for evaluator in all_of_them if at % 6 == 0 else cheap:
            score = await evaluator(example, Output(text=text))
            assert score.value is not None or score.missing, (evaluator.name, piece)
        for check in CHECKS.values():
            check(text[:100_000], kwargs)

asyncio.run(main())
"""


def test_no_answer_and_no_pattern_hangs() -> None:
    """What takes quadratic time, or worse, takes hours here; the limit only ends it."""
    done = subprocess.run([sys.executable, "-c", HOSTILE], capture_output=True, text=True, check=False, timeout=150)
    assert done.returncode == 0, done.stderr[-2000:]
