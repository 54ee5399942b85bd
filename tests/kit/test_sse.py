"""Events come out whole and unchanged, however the bytes were cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import UpstreamBroke
from loopwright.kit.sse import Splitter, data_of, events, is_comment, name_of, rewritten

LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
TEXT = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=12).map(str.encode)
LINES = st.one_of(
    TEXT.map(lambda text: b"data: " + text),
    TEXT.map(lambda text: b"data:" + text),
    TEXT.map(lambda text: b": " + text),
    TEXT.map(lambda text: b"event: " + text),
    st.just(b"data"),
)


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    end = draw(LINE_ENDS)
    return [
        b"".join(line + end for line in lines) + end
        for lines in draw(st.lists(st.lists(LINES, min_size=1, max_size=4), max_size=6))
    ]


@st.composite
def cuts(draw: st.DrawFn, stream: bytes) -> list[bytes]:
    places = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    return [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]


@given(st.data())
def test_arbitrary_cuts_change_nothing(data: st.DataObject) -> None:
    expected = data.draw(streams())
    splitter = Splitter()
    out: list[bytes] = []
    for piece in data.draw(cuts(b"".join(expected))):
        whole = splitter.feed(piece)
        out += events(whole) if whole else []
    assert out == expected
    assert splitter.rest == b""


@given(streams())
def test_one_byte_at_a_time(expected: list[bytes]) -> None:
    splitter = Splitter()
    out = [splitter.feed(bytes([byte])) for byte in b"".join(expected)]
    assert [event for event in out if event] == expected


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_no_byte_is_ever_lost(pieces: list[bytes]) -> None:
    splitter = Splitter()
    whole = b"".join(splitter.feed(piece) for piece in pieces)
    assert whole + splitter.rest == b"".join(pieces)
    assert b"".join(events(whole)) == whole


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: x\n\n", b"x"),
        (b"data:x\n\n", b"x"),
        (b"data:  x\r\n\r\n", b" x"),
        (b"data: a\ndata: b\n\n", b"a\nb"),
        (b"data\n\n", b""),
        (b": ping\ndata: x\n\n", b"x"),
        (b"\xef\xbb\xbfdata: x\n\n", b"x"),
        (b"data: x\r\r", b"x"),
        ("data: a\u2028b\x85c\n\n".encode(), "a\u2028b\x85c".encode()),
        (b": ping\n\n", None),
        (b"event: x\n\n", None),
        (b"database: x\n\n", None),
    ],
)
def test_the_data_of_an_event(event: bytes, data: bytes | None) -> None:
    assert data_of(event) == data


def test_names_and_comments() -> None:
    assert name_of(b"event: error\ndata: {}\n\n") == "error"
    assert name_of(b"data: {}\n\n") == ""
    assert is_comment(b": OPENROUTER PROCESSING\n\n")
    assert is_comment(b"\n")
    assert not is_comment(b": x\ndata: y\n\n")


def test_an_endless_event_breaks() -> None:
    splitter = Splitter(limit=1000)
    for _ in range(10):
        splitter.feed(b"x" * 100)
    with pytest.raises(UpstreamBroke, match="1000 bytes"):
        splitter.feed(b"x" * 100)


def test_events_that_nobody_changes_stay_the_same_object() -> None:
    whole = b": comment\n\nevent: x\ndata: 1\n\ndata: [DONE]\n\n"
    assert rewritten(whole, lambda event, _data: event, lambda: b"") == whole
    started = whole.partition(b"data: [DONE]")[0]
    assert rewritten(started, lambda event, _data: event, lambda: b"never") is started


def test_what_is_left_is_said_before_the_end() -> None:
    said = rewritten(
        b"data: 1\n\ndata: 2\n\ndata: [DONE]\n\n",
        lambda event, data: b"data: two\n\n" if data == b"2" else event,
        lambda: b"data: rest\n\n",
    )
    assert said == b"data: 1\n\ndata: two\n\ndata: rest\n\ndata: [DONE]\n\n"
