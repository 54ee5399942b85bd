from __future__ import annotations

from typing import Any

import pytest

from loopwright.core.score import Score
from loopwright.evals.evaluators import make
from loopwright.evals.ifeval import follows, loosened
from loopwright.evals.ifeval_checks import CHECKS, Malformed
from tests.evals.evaluating import found, rows


def test_it_agrees_with_the_reference_on_real_answers() -> None:
    """540 answers of GPT-4; the verdicts are those of the reference implementation."""
    asked, answered = rows("ifeval/input_data.jsonl"), rows("ifeval/input_response_data_gpt4.jsonl")
    ruled = rows("ifeval/eval_results_strict_gpt4.jsonl")
    same = total = whole = 0
    for prompt, answer, verdict in zip(asked, answered, ruled, strict=True):
        ours = follows(answer["response"], prompt["instruction_id_list"], prompt["kwargs"])
        same += sum(one == other for one, other in zip(ours, verdict["follow_instruction_list"], strict=True))
        total += len(ours)
        whole += all(ours) == verdict["follow_all_instructions"]
    assert len(asked) == 540
    assert same / total >= 0.99
    assert whole / 540 >= 0.99


def test_there_are_25_kinds() -> None:
    assert len(CHECKS) == 25


CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("keywords:existence", {"keywords": ["blue", "sky"]}, "The SKY is blue.", "The sea is blue."),
    ("keywords:frequency", {"keyword": "ox", "frequency": 2, "relation": "at least"}, "ox and box", "ox"),
    ("keywords:forbidden_words", {"forbidden_words": ["cat"]}, "concatenate", "a Cat."),
    ("keywords:letter_frequency", {"letter": "Q", "let_frequency": 2, "let_relation": "less than"}, "a q", "qQ"),
    ("language:response_language", {"language": "de"}, "Das Wetter ist heute wirklich schön.", "It is a nice day today."),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}, "One. Two.", "Dr. One"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "one\n***\ntwo", "one\n***\n***\ntwo"),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, "two words", "one two three"),
    ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Then"},
     "a\n\n'then, b", "a\n\nb then"),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a] and [b]", "[a and b]"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye\nP. S. one more", "PS one more"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "p.p.s: x", "p.s. x"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n  - b", "* a\n** b"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 1}, "*\nnext", "*"),
    ("detectable_format:constrained_response", {}, "Well. My answer is no.", "My answer is never."),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* and **b**", "* a\n* b"),
    ("detectable_format:multiple_sections", {"section_spliter": "SECTION", "num_sections": 2},
     "SECTION 1\na\nSECTION 2\nb", "SECTION A"),
    ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', "{'a': 1}"),
    ("detectable_format:title", {}, "<<poem of joy>>\nx", "<<>> <poem>"),
    ("combination:two_responses", {}, "a\n******\nb", "a\n******\na"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say hi."}, "say hi. Hi!", "Hi! Say hi."),
    ("startend:end_checker", {"end_phrase": "The end."}, 'x "the END."', "The end. Not."),
    ("startend:quotation", {}, ' "quoted" ', '"quoted'),
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": "at least"}, "DON'T", "ONE-TWO no"),
    ("change_case:english_capital", {}, "THIS IS AN ENGLISH SENTENCE.", "THIS is AN ENGLISH SENTENCE."),
    ("change_case:english_lowercase", {}, "this is an english sentence.", "dies ist ein deutscher satz mit wörtern."),
    ("punctuation:no_comma", {}, "a b", "a, b"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kwargs", "kept", "broken"), CASES)
def test_each_kind_tells_kept_from_broken(name: str, kwargs: dict[str, Any], kept: str, broken: str) -> None:
    assert follows(kept, [name], [kwargs]) == [True]
    assert follows(broken, [name], [kwargs]) == [False]
    assert follows(" \n", [name], [kwargs]) == [False]


def test_every_kind_is_among_the_cases() -> None:
    assert {name for name, *_ in CASES} == set(CHECKS)


def test_loose_forgives_a_preface_and_asterisks() -> None:
    text = "Sure, here it is:\n*this is lowercase text in english*"
    assert follows(text, ["change_case:english_lowercase"], [{}]) == [False]
    assert follows(text, ["change_case:english_lowercase"], [{}], loose=True) == [True]
    assert len(loosened("a\n*b*\nc")) == 8


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("keywords:existance", {}),
        ("keywords:existence", {}),
        ("keywords:existence", {"keywords": "x"}),
        ("keywords:frequency", {"keyword": "x", "frequency": True, "relation": "at least"}),
        ("keywords:frequency", {"keyword": "x", "frequency": 1, "relation": "about"}),
        ("keywords:letter_frequency", {"letter": "ab", "let_frequency": 1, "let_relation": "at least"}),
        ("language:response_language", {"language": "English please"}),
        ("punctuation:no_comma", [1]),
    ],
)
def test_instructions_nobody_can_check_are_missing(name: str, kwargs: Any) -> None:
    with pytest.raises(Malformed):
        follows("a text", [name], [kwargs])
    score = found("ifeval", "a text", metadata={"instruction_id_list": [name], "kwargs": [kwargs]})
    assert score.value is None
    assert name.partition(":")[0] in (score.missing or "")


def test_figures_by_prompt_and_by_instruction() -> None:
    metadata = {"instruction_id_list": ["punctuation:no_comma", "startend:quotation"], "kwargs": [{}, {}]}
    scores = [found("ifeval", text, metadata=metadata) for text in ('"a"', "a")]
    assert [score.value for score in scores] == [1.0, 0.0]
    assert scores[1].explanation == "not followed: startend:quotation"
    made: Any = make("ifeval")
    gone = Score(name="ifeval", value=None, missing="x")
    assert made.aggregate([*scores, gone]) == {"prompt_accuracy": 0.5, "instruction_accuracy": 0.75}
    assert made.aggregate([gone]) == {}
