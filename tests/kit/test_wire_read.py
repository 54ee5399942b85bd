import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.chat import Delta
from loopwright.core.errors import UpstreamBroke
from loopwright.kit import wire_read
from loopwright.kit.wire_read import ChunkReader
from tests.kit.dialecting import answers, cut, events


@given(answers(), st.lists(st.integers(0, 10_000), max_size=12))
def test_chunks_are_the_same_however_the_bytes_are_cut(message: dict[str, Any], places: list[int]) -> None:
    raw = events(message)
    one = ChunkReader().take(Delta(raw=raw, done=True))
    reader = ChunkReader()
    many = [chunk for delta in cut(raw, places) for chunk in reader.take(delta)]
    assert many == one
    assert len(one) == raw.count(b"data: {")


@pytest.mark.parametrize("end", ["\n\n", "\r\n\r\n", "\r\r"])
def test_every_kind_of_line_end_and_an_end_without_one(end: str) -> None:
    raw = f': hello{end}event: x\ndata: {{"a": 1}}{end}data: [DONE]{end}data: {{"b": 2}}'.encode()
    reader = ChunkReader()
    assert [*reader.feed(raw), *reader.end()] == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize("data", [b"<html>", b'{"a"', b"[" * 100_000, b'"\xff"'])
def test_what_is_not_json_is_a_broken_stream(data: bytes) -> None:
    with pytest.raises(UpstreamBroke):
        ChunkReader().feed(b"data: " + data + b"\n\n")
    with pytest.raises(UpstreamBroke):
        wire_read.whole(data)


@pytest.mark.parametrize("data", [b"[]", b"1", b"null"])
def test_json_that_is_no_object_says_nothing_in_a_stream_and_is_no_answer(data: bytes) -> None:
    assert ChunkReader().feed(b"data: " + data + b"\n\n") == []
    with pytest.raises(UpstreamBroke):
        wire_read.whole(data)


def test_a_delta_without_bytes_reads_as_the_chunk_it_would_be() -> None:
    reader = ChunkReader()
    assert reader.take(Delta(text="hi", extra={"role": "assistant"}, index=1, finish="stop")) == [
        {"choices": [{"index": 1, "delta": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]}
    ]
    assert reader.take(Delta(speaks=False, done=True)) == [{"choices": []}]


def test_a_whole_answer_reads_as_one_chunk() -> None:
    message = {"content": "x", "tool_calls": [{"id": "a"}, {"id": "b"}]}
    chunk = wire_read.at_once({"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
    assert chunk["id"] == "c"
    assert chunk["choices"][0]["delta"]["tool_calls"] == [{"id": "a", "index": 0}, {"id": "b", "index": 1}]
    assert wire_read.choice_of(chunk) == chunk["choices"][0]


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["choices", "message", "delta", "tool_calls", "text", "index"]), inner)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["choices", "message", "delta"]), json_values))
def test_no_shape_of_answer_is_too_odd(body: dict[str, Any]) -> None:
    chunk = wire_read.at_once(wire_read.whole(json.dumps(body).encode()))
    assert all(isinstance(choice["delta"], dict) for choice in chunk["choices"])
    assert isinstance(wire_read.text(body.get("message")), str)
