from __future__ import annotations

from decimal import Decimal

import pytest

from loopwright.evals import extraction
from tests.evals.evaluating import rows

AGE = {"A": "The grandfather", "B": "The grandson", "C": "Can't be determined"}


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("A", "A"),
        ("a", "A"),
        ("(B)", "B"),
        ("B.", "B"),
        ("**C**", "C"),
        ("B) The grandson", "B"),
        ("Answer: C", "C"),
        ("The correct answer is (B), since A is old.", "B"),
        ("The answer is B because the grandfather was not there.", "B"),
        ("Option C is right? No. I would choose option B.", "B"),
        ("A man was there. The answer is **C. Can't be determined**.", "C"),
        ("First I thought the answer is A.\nBut the final answer is B.", "B"),
        ("\\boxed{C}", "C"),
        ("The grandson", "B"),
        ("The grandson was not comfortable.", "B"),
        ("It was the grandson who struggled.", "B"),
        ("This cannot be said; it can't be determined.", "C"),
        ("<think>A or B? The answer is A.</think>\nB", "B"),
        ("A man and his grandchild.", None),
        ("Either A) or B)", None),
        ("A. The grandfather\nB. The grandson\nC. Can't be determined", None),
        ("A. The grandfather\nB. The grandson\n\nThe correct answer is B. The grandson.", "B"),
        ("A. The grandson", None),
        ("The correct answer is A. The grandson.", None),
        ("A. The grandfather of the boy.", "A"),
        ("The grandson or the grandfather.", None),
        ("I cannot help with that.", None),
        ("", None),
    ],
)
def test_a_choice(text: str, label: str | None) -> None:
    assert extraction.choice(text, AGE) == label


def test_a_choice_among_words() -> None:
    assert extraction.choice("The sentiment is Negative.", ["positive", "negative"]) == "negative"
    assert extraction.choice("not positive but negative", ["positive", "negative"]) is None
    assert extraction.choice("very positive", ["positive", "very positive"]) == "very positive"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("#### 1,234", "1234"),
        ("so 48\n#### 48\n#### 3\n#### 4", "48"),
        ("so 5 and 6.", "6"),
        ("The answer is $5.50. That is 3 more.", "5.50"),
        ("\\boxed{-7}", "-7"),
        ("x = \\frac{1}{4}", "0.25"),
        ("costs -$3", "-3"),
        ("\u22124", "-4"),
        ("10-4", "4"),
        ("1e3", "1E+3"),
        ("50%", "50"),
        ("v2.0.1", None),
        ("twelve", None),
        ("", None),
    ],
)
def test_a_number(text: str, value: str | None) -> None:
    assert extraction.number(text) == (None if value is None else Decimal(value))


def test_the_number_of_real_solutions_is_found_without_its_mark() -> None:
    """GSM8K's written solutions explain, then mark the answer. Without the mark it must be read from the words."""
    read = right = 0
    solutions = rows("gsm8k/test.jsonl")
    for row in solutions:
        words, _, answer = row["answer"].rpartition("####")
        plain = extraction.number("".join(part.rpartition(">>")[2] for part in words.split("<<")))
        read += plain is not None
        right += plain == Decimal(answer.strip().replace(",", ""))
    assert read / len(solutions) > 0.99
    assert right / len(solutions) > 0.9


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("SELECT a FROM t;", "SELECT a FROM t"),
        ("Sure:\n```sql\nselect a\nfrom t;\n```\nIt selects a.", "select a\nfrom t"),
        ("The query is `SELECT a FROM t`.", "SELECT a FROM t`."[:15]),
        ("WITH x AS (SELECT 1) SELECT * FROM x", "WITH x AS (SELECT 1) SELECT * FROM x"),
        ("SELECT ';' FROM t; DROP TABLE t", "SELECT ';' FROM t"),
        ("SELECT a FROM t\n\nThis selects a.", "SELECT a FROM t"),
        ("With pleasure, but I cannot.", None),
        ("DELETE FROM t", None),
    ],
)
def test_a_query(text: str, query: str | None) -> None:
    assert extraction.sql(text) == query


def test_lines_json_and_answers() -> None:
    assert extraction.first_line("\n a \nb") == "a"
    assert extraction.last_line("a\n b \n") == "b"
    assert extraction.answer("Well.\nThe answer is: **Bonn**.") == "Bonn"
    assert extraction.json('```json\n{"a": 1,}\n```') == {"a": 1}
    assert extraction.json("no") is None
    assert extraction.json('{"a": "' + "x" * 30_000 + '"}') == {"a": "x" * 30_000}
