from __future__ import annotations

from typing import Any

import pytest

from tests.evals.evaluating import found


@pytest.mark.parametrize(
    ("args", "text", "expected", "value"),
    [
        ({}, " Paris \n", "Paris", 1.0),
        ({}, "paris", "Paris", 0.0),
        ({"normalise": "case"}, "paris", "Paris", 1.0),
        ({"normalise": "squad"}, "The  Paris!", ["Rome", "paris"], 1.0),
        ({"part": "answer"}, "Let me think.\nThe answer is **Paris**.", "Paris", 1.0),
        ({"part": "first_line"}, "Paris\nbecause", "Paris", 1.0),
        ({"part": "last_line"}, "So:\nParis", "Paris", 1.0),
        ({}, "42", 42, 1.0),
        ({}, "42", 42.0, 1.0),
        ({}, "true", True, 1.0),
        ({}, '{"b": [1, 2.0], "a": null}', {"a": None, "b": [1.0, 2]}, 1.0),
        ({}, '{"a": 1}', {"a": True}, 0.0),
        ({}, "not json", {"a": 1}, 0.0),
        ({}, "[[1]]", [[1]], 1.0),
    ],
)
def test_exact(args: dict[str, Any], text: str, expected: Any, value: float) -> None:
    assert found({"kind": "exact_match", "args": args}, text, expected).value == value


def test_without_a_reference_there_is_no_finding() -> None:
    for kind in ("exact_match", "numeric_match", "token_f1", "bleu", "chrf", "rouge", "classification", "tool_calls"):
        score = found(kind, "x")
        assert score.value is None, kind
        assert "expect" in (score.missing or ""), kind


@pytest.mark.parametrize(
    ("text", "expected", "value"),
    [
        ("She makes 9 * 2 = $18 every day.\n#### 18", "18", 1.0),
        ("It costs $1,200.50 in all", 1200.5, 1.0),
        ("The answer is 3 * 4 = 12 apples, out of 40.", 12, 1.0),
        ("about 33.3333333", "33.333333333", 1.0),
        ("17", "18", 0.0),
        ("eighteen", "18", 0.0),
        ("\\boxed{\\frac{3}{4}} of 8 is 6", 0.75, 1.0),
        ("so 3/4", 0.75, 1.0),
        ("1e400", 3, 0.0),
        ("12", ["11", "12"], 1.0),
    ],
)
def test_numbers(text: str, expected: Any, value: float) -> None:
    assert found("numeric_match", text, expected).value == value


def test_an_answer_without_an_answer_is_wrong_and_counted_or_missing() -> None:
    wrong = found("numeric_match", "no idea", 3)
    assert (wrong.value, wrong.label) == (0.0, "unread")
    spec = {"kind": "numeric_match", "args": {"unread": "missing"}}
    assert found(spec, "no idea", 3).missing == "the answer holds no number"
    assert found({"kind": "numeric_match", "args": {"tolerance": 0.5}}, "3.4", 3).value == 1.0


def test_choices() -> None:
    options = {"A": "The grandfather", "B": "The grandson", "C": "Can't be determined"}
    spec = {"kind": "choice_match", "args": {"options": options}}
    for text in ("C", "(C)", "C. Can't be determined", "It can't be determined from this.", "**C**"):
        assert found(spec, text, "C").value == 1.0, text
    assert found(spec, "C", 2).value == 1.0
    assert found(spec, "C", "can't be determined").value == 1.0
    assert found(spec, "A or B", "C").label == "unread"
    assert found(spec, "A", "D").missing == "the expected value is none of the options"
    given = {"choices": ["red", "green"]}
    assert found("choice_match", "It is green.", "green", metadata=given).label == "B"
    assert found("choice_match", "It is green.", 1, inputs=given).value == 1.0
    assert "no options" in (found("choice_match", "x", "A").missing or "")


def test_words_shared() -> None:
    assert found("token_f1", "the cat sat", "a cat sat down").value == pytest.approx(0.8)
    assert found({"kind": "token_f1", "args": {"least": 0.9}}, "cat", ["dog", "cat"]).passed is True
    assert found("token_f1", "", "").value == 1.0
