import pytest

from loopwright.evals.judge_verdict import read

PAIR = ("A", "B", "tie")
SCALE = ("5", "4", "3", "2", "1")


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ('{"verdict": "A"}', "A"),
        ('{"explanation": "Verdict: B would be wrong", "verdict": "A"}', "A"),
        ('```json\n{"verdict": "tie"}\n```', "tie"),
        ('{"verdict": "b"}', "B"),
        ("Verdict: B", "B"),
        ("The first is vague.\n\n**Verdict: A**", "A"),
        ("My verdict is tie.", "tie"),
        ('"verdict": "B"', "B"),
        ("B", "B"),
        ("(A).", "A"),
        ("<think>A or B? Verdict: A maybe</think>Verdict: B", "B"),
        ("Verdict: Answer B", "B"),
        ('It is so: {"verdict": "tie"}', "tie"),
    ],
)
def test_verdicts_are_found(text: str, verdict: str) -> None:
    assert read(text, PAIR).label == verdict


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "nothing"),
        ("   \n", "nothing"),
        ("Both have merits, it is hard to tell.", "no verdict"),
        ("Verdict: A\nOn reflection, verdict: B", "several"),
        ('It says {"verdict": "B"}. Verdict: A', "several"),
        ('{"verdict": "C"}', "none of those"),
        ('{"verdict": null}', "none of those"),
        ('{"verdict": ["A"]}', "none of those"),
        ("NaN", "no verdict"),
        ("A" * 200_000, "no verdict"),
    ],
    ids=["empty", "blank", "prose", "two", "quoted", "stranger", "null", "list", "nan", "endless"],
)
def test_what_cannot_be_told_is_missing_and_says_why(text: str, why: str) -> None:
    found = read(text, PAIR)
    assert found.label is None
    assert found.missing is not None
    assert why in found.missing


def test_numbers_are_verdicts_like_others() -> None:
    assert read("Verdict: 4", SCALE).label == "4"
    assert read('{"verdict": 4}', SCALE).label == "4"
    assert read("Verdict: 10", SCALE).label is None
    assert read("4/5 points, verdict: 3", SCALE).label == "3"


def test_an_explanation_is_kept_and_bounded() -> None:
    assert read('{"explanation": "because", "verdict": "A"}', PAIR).explanation == "because"
    assert len(read(f'{{"explanation": "{"x" * 9000}", "verdict": "A"}}', PAIR).explanation) == 4000
    assert read("A", PAIR).explanation == ""
