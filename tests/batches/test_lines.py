import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.batches.batch import Problem
from loopwright.batches.lines import MOST_PROBLEMS, Checked, check, lines

CHAT = "/v1/chat/completions"


def row(number: int = 1, **changes: Any) -> bytes:
    body = {"model": "m", "messages": []}
    return json.dumps({"custom_id": f"c{number}", "method": "POST", "url": CHAT, "body": body} | changes).encode()


def checked(raw: bytes, *, most: int = 100, longest: int = 1_000) -> Checked:
    def judge(model: str) -> Problem | None:
        return None if model == "m" else Problem(code="model_not_found", message=f"no {model}")

    return check(io.BytesIO(raw), CHAT, judge=judge, lines=most, longest=longest)


def test_a_file_in_order_is_counted_and_read_again() -> None:
    raw = b"\xef\xbb\xbf" + b"\r\n\r\n".join(row(n) for n in range(3)) + b"\n"
    found = checked(raw)
    assert (found.total, found.model, found.problems) == (3, "m", [])
    again = list(lines(io.BytesIO(raw), CHAT, longest=1_000, skip={3}))
    assert [(line.number, line.custom_id) for line in again] == [(1, "c0"), (5, "c2")]
    assert json.loads(again[0].body) == {"model": "m", "messages": []}


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "empty_file"),
        (b" \n\t\n", "empty_file"),
        (b"{", "invalid_json_line"),
        (b"\xff\xfe{\x00}\x00", "invalid_json_line"),
        (b"[" * 100_000, "line_too_long"),
        (b"[" * 900, "invalid_line"),
        (row(body=json.loads("[" * 100 + "]" * 100)), "invalid_line"),
        (b"[1]", "invalid_line"),
        (row(custom_id=""), "invalid_custom_id"),
        (row(custom_id=7), "invalid_line"),
        (row(custom_id="x" * 513), "invalid_custom_id"),
        (row(method="PUT"), "invalid_method"),
        (row(url="/v1/files"), "invalid_url"),
        (row(url="/v1/embeddings"), "mismatched_url"),
        (row(body={}), "invalid_line"),
        (row(body=[]), "invalid_line"),
        (row(body={"model": "other"}), "model_not_found"),
        (row(body={"model": "m", "stream": True}), "invalid_stream"),
        (row(body={"model": "m", "top_p": float("nan")}), "invalid_json_line"),
        (row().replace(b"c1", b"c\xff"), "invalid_json_line"),
        (row() + b"\n" + row(), "duplicate_custom_id"),
        (row(body={"model": "m", "prompt": "x" * 1_000}), "line_too_long"),
    ],
)
def test_each_mistake_has_its_code(raw: bytes, code: str) -> None:
    problems = checked(raw).problems
    assert [problem.code for problem in problems] == [code]
    assert problems[0].message


def test_a_line_nested_without_end_is_a_problem_and_no_crash() -> None:
    deep = b'{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"model":"m","x":' + b"[" * 200_000
    assert [problem.code for problem in checked(deep, longest=1_000_000).problems] == ["invalid_json_line"]


def test_too_many_lines_and_too_many_problems_end_the_reading() -> None:
    assert checked(b"\n".join(row(n) for n in range(9)), most=5).problems[-1].code == "too_many_lines"
    assert len(checked(b"x\n" * 500, most=1_000).problems) == MOST_PROBLEMS


@given(st.binary(max_size=400))
def test_nothing_makes_it_fail(raw: bytes) -> None:
    found = checked(raw, longest=50)
    assert found.problems or found.total


@given(st.lists(st.binary(max_size=80), max_size=8))
def test_lines_keep_their_numbers(rows: list[bytes]) -> None:
    rows = [each.replace(b"\n", b"") for each in rows]
    raw = b"\n".join([*rows, row(1)])
    numbers = {problem.line for problem in checked(raw, longest=10_000).problems}
    filled = {at for at, each in enumerate(rows, 1) if each.removeprefix(b"\xef\xbb\xbf" if at == 1 else b"").strip()}
    assert numbers == filled
