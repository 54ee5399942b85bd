import csv
import io
import json
import math
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.errors import BadRequest
from loopwright.datasets.columns import Columns, Taking, example_of
from loopwright.datasets.draft import Problem
from loopwright.datasets.example import Example
from loopwright.datasets.exports import chat, evaluation, pieces, shown
from loopwright.datasets.formats import LONGEST, Format, format_of, rows

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
WORD = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=10)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
EXAMPLES = st.builds(
    Example,
    id=WORD,
    inputs=st.dictionaries(WORD, JSON, min_size=1, max_size=3),
    expected=JSON,
    split=st.sampled_from([None, "train", "validation", "test"]),
    slices=st.dictionaries(WORD, WORD, max_size=2),
    tags=st.lists(WORD, max_size=3, unique=True).map(tuple),
    metadata=st.dictionaries(TEXT, JSON, max_size=2),
    origin=st.sampled_from(["import", "call", "correction", "synthetic"]),
    call_id=st.none() | st.uuids().map(str),
)


async def written(examples: list[Example], form: Any) -> bytes:
    async def each() -> Any:
        for example in examples:
            yield example

    return b"".join([piece async for piece in pieces(each, form)])


def read(raw: bytes, form: Format) -> list[Any]:
    return list(rows(io.BytesIO(raw), form))


def good(raw: bytes, form: Format) -> list[dict[str, Any]]:
    found = read(raw, form)
    assert not [row for row in found if isinstance(row, Problem)], found
    return [row[1] for row in found]


@pytest.mark.anyio
@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
async def test_what_goes_out_comes_back_as_it_was(form: Format) -> None:
    seen: list[list[Example]] = []

    @settings(max_examples=60, deadline=None)
    @given(st.lists(EXAMPLES, min_size=1, max_size=5))
    def gather(examples: list[Example]) -> None:
        seen.append(examples)

    gather()
    for examples in seen:
        raw = await written(examples, form)
        assert [example_of(row) for row in good(raw, form)] == examples


@pytest.mark.anyio
async def test_no_cell_is_run_by_a_spreadsheet_and_all_come_back() -> None:
    seen: list[list[Example]] = []
    risky = st.builds(str.__add__, st.sampled_from([*"=+-@\t\r\n'", "''=", "\uff1d", '"=']), TEXT)
    examples = st.builds(
        Example,
        id=st.builds(str.__add__, st.sampled_from(["=", "@", "'", "a"]), WORD),
        inputs=st.dictionaries(st.sampled_from(["q", "=q", "defused"]), risky, min_size=1, max_size=3),
        expected=risky | st.integers(-9, -1),
        tags=st.lists(st.builds("={}".format, WORD), max_size=2, unique=True).map(tuple),
    )

    @settings(max_examples=60, deadline=None)
    @given(st.lists(examples, min_size=1, max_size=4))
    def gather(made: list[Example]) -> None:
        seen.append(made)

    gather()
    for made in seen:
        raw = await written(made, "csv")
        for row in csv.reader(io.StringIO(raw.decode(), newline="")):
            assert not [cell for cell in row if cell.startswith(tuple("=+-@\t\r\n\uff1d"))]
        assert [example_of(row) for row in good(raw, "csv")] == made
        named = Taking(columns=Columns(inputs={"id": "id"}))
        assert [named.example(row).inputs["id"] for row in good(raw, "csv")] == [each.id for each in made]


def test_cells_of_others_keep_their_apostrophes() -> None:
    raw = b'question,answer,defused\n\'=1,\'2,"[""question""]"\n'
    assert example_of(good(raw, "csv")[0]).inputs == {"question": "'=1", "defused": '["question"]'}
    with pytest.raises(BadRequest, match="defused"):
        example_of({"inputs.q": "'=1", "defused": "nothing"})


@pytest.mark.anyio
@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\u2028", "\x0b"])
async def test_every_end_of_a_line_in_a_text_comes_back(form: Format, end: str) -> None:
    example = Example(id="one", inputs={f"a{end}name": f"a{end}b", "other": end}, expected=f"{end}c")
    assert [example_of(row) for row in good(await written([example], form), form)] == [example]


@given(st.binary(max_size=200))
def test_no_bytes_break_the_readers(raw: bytes) -> None:
    for form in ("jsonl", "csv", "parquet"):
        try:
            found = read(raw, form)
        except BadRequest:
            continue
        for row in found:
            assert isinstance(row, Problem) or isinstance(row[1], dict)


@given(st.dictionaries(TEXT, JSON, max_size=5))
def test_a_row_is_an_example_or_says_why_not(row: dict[str, Any]) -> None:
    try:
        example = example_of(row)
    except BadRequest:
        return
    assert isinstance(example.inputs, dict)


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks_say_what_follows(coding: str) -> None:
    assert good('{"q": "Zürich ☂"}\n\n{"q": "2"}\n'.encode(coding), "jsonl") == [{"q": "Zürich ☂"}, {"q": "2"}]
    assert good("q,a\r\nZürich ☂,1\r\n".encode(coding), "csv") == [{"q": "Zürich ☂", "a": "1"}]


def test_bad_lines_are_named_and_the_others_read() -> None:
    raw = b'{"q": 1}\nnope\n[1]\n{"q": NaN}\n{"q": "\\ud800"}\n\n{"q": 2}\n' + b"[" * 100_000 + b"\n"
    found = read(raw, "jsonl")
    assert [row.row if isinstance(row, Problem) else row[0] for row in found] == [1, 2, 3, 4, 5, 7, 8]
    assert [isinstance(row, Problem) for row in found] == [False, True, True, True, True, False, True]


def test_a_line_without_end_is_not_held() -> None:
    def endless() -> Iterator[bytes]:
        yield b'{"q": "' + b"x" * LONGEST
        yield b"never read"

    [problem] = read(b"".join(endless()), "jsonl")
    assert problem.row == 1
    assert "over" in problem.what


def test_csv_counts_its_cells_and_lines() -> None:
    raw = b'q,a\n"two\nlines",1\nshort\nx,y,z\n\nlast,2\n'
    found = read(raw, "csv")
    assert found[0] == (2, {"q": "two\nlines", "a": "1"})
    assert [row.row for row in found if isinstance(row, Problem)] == [4, 5]
    assert found[-1] == (7, {"q": "last", "a": "2"})


def test_csv_may_be_separated_otherwise() -> None:
    assert good(b"q;a\n1;2\n", "csv") == [{"q": "1", "a": "2"}]
    assert good(b"q\ta\n1\t2\n", "csv") == [{"q": "1", "a": "2"}]


@pytest.mark.parametrize("raw", [b"", b"\n", b"a,a\n1,2\n"])
def test_csv_needs_names(raw: bytes) -> None:
    with pytest.raises(BadRequest):
        read(raw, "csv")


def test_an_open_quote_says_where() -> None:
    [problem] = read(b'q,a\n"open,1\n2,3\n', "csv")
    assert isinstance(problem, Problem)


def test_parquet_of_others() -> None:
    table = pa.table({"question": ["a", None], "n": [1, 2], "score": [0.5, math.nan], "tags": [["x"], []]})
    out = io.BytesIO()
    pq.write_table(table, out)
    found = good(out.getvalue(), "parquet")
    assert found[0] == {"question": "a", "n": 1, "score": 0.5, "tags": ["x"]}
    assert found[1]["score"] is None
    with pytest.raises(BadRequest, match="no Parquet"):
        read(b"PAR1" + b"\0" * 40 + b"PAR1", "parquet")


def test_openai_forms_are_known() -> None:
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Capital of France?"}]
    tuned = example_of({"messages": [*asked, {"role": "assistant", "content": "Paris"}]})
    assert tuned.inputs == {"messages": asked}
    assert tuned.expected == "Paris"
    assert chat(tuned) == {"messages": [*asked, {"role": "assistant", "content": "Paris"}]}
    evals = example_of({"input": asked, "ideal": ["Paris", "paris"], "sampling": 1})
    assert evals.expected == ["Paris", "paris"]
    assert evals.metadata == {"sampling": 1}
    assert evaluation(evals) == {"input": asked, "ideal": ["Paris", "paris"]}
    called = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function"}]}
    tools = example_of({"messages": [*asked, called], "tools": [{"type": "function"}]})
    assert tools.expected == called
    assert chat(tools)["messages"][-1] == called
    assert example_of({"prompt": asked, "completion": "Paris"}).expected == "Paris"


def test_columns_are_mapped() -> None:
    columns = Columns.read(
        '{"inputs": {"q": "Question"}, "expected": "Best Answer", "slices": ["Category"], "tags": "Type"}'
    )
    row = {"Question": "Why?", "Best Answer": "So.", "Category": "Myth", "Type": "a, b", "Source": "x"}
    example = Taking(columns=columns, split="test", tags=("all",)).example(row)
    assert shown(example) == {
        "id": "",
        "inputs": {"q": "Why?"},
        "expected": "So.",
        "split": "test",
        "tags": ["all", "a", "b"],
        "slices": {"Category": "Myth"},
        "metadata": {"Source": "x"},
    }
    with pytest.raises(BadRequest, match="no column 'Question'"):
        Taking(columns=columns).example({"Other": 1})
    for wrong in ("[]", "{", '{"input": ["x"]}', '{"inputs": 3}'):
        with pytest.raises(BadRequest):
            Columns.read(wrong)


def test_what_is_the_reference_is_not_guessed_between_two() -> None:
    assert example_of({"text": "a", "label": "b"}).expected == "b"
    with pytest.raises(BadRequest, match="name the columns"):
        example_of({"text": "a", "label": "b", "answer": "c"})


def test_formats_are_named_by_ending() -> None:
    assert [format_of(name) for name in ("a.JSONL", "b.tsv", "c.parquet")] == ["jsonl", "csv", "parquet"]
    assert format_of("noname", "csv") == "csv"
    for name, given_ in (("a.xlsx", None), ("a.csv", "xml")):
        with pytest.raises(BadRequest, match="format"):
            format_of(name, given_)


def test_json_lines_of_ours_are_whole() -> None:
    example = Example(id="1", inputs={"q": "x"}, expected=["a", "b"], metadata={"note": 1}, origin="synthetic")
    assert example_of(json.loads(json.dumps(shown(example)))) == example
