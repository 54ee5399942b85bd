"""A stream as it passes: cut anywhere, it says the same; what is odd is understood or refused."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.chat import Delta
from loopwright.core.errors import LoopwrightError, UpstreamBroke, UpstreamError
from loopwright.core.money import Usage
from loopwright.kit.sse import Splitter
from loopwright.providers.openai_stream import Stream, usage_in

ROLE = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}
FINISH = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": None}
USED = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 0}}
USAGE = {"choices": [], "usage": USED}
DONE = b"data: [DONE]\n\n"


def word(text: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}


def event(chunk: Any, end: str = "\n", *, spaced: bool = False) -> bytes:
    separators = None if spaced else (",", ":")
    return f"data: {json.dumps(chunk, ensure_ascii=False, separators=separators)}{end}{end}".encode()


def fresh(*, keeps_usage: bool = True, done_optional: bool = False) -> Stream:
    return Stream(provider="p", model="m", keeps_usage=keeps_usage, done_optional=done_optional, secrets=("sk-1",))


def play(stream: Stream, pieces: list[bytes]) -> tuple[list[Delta], LoopwrightError | None]:
    """What the provider would yield, and raise."""
    splitter = Splitter()
    deltas: list[Delta | None] = []
    for piece in pieces:
        whole = splitter.feed(piece)
        if whole:
            deltas.append(stream.take(whole))
        if stream.done or stream.problem:
            break
    else:
        deltas.append(stream.end(splitter.rest))
    return [delta for delta in deltas if delta is not None], stream.problem


@given(
    words=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9), max_size=6),
    end=st.sampled_from(["\n", "\r\n"]),
    keeps=st.booleans(),
    spaced=st.booleans(),
    pings=st.booleans(),
    data=st.data(),
)
def test_cut_anywhere_it_is_the_same(
    *, words: list[str], end: str, keeps: bool, spaced: bool, pings: bool, data: st.DataObject
) -> None:
    ping = f": ping{end}{end}".encode() if pings else b""
    said = [event(ROLE, end, spaced=spaced), *(event(word(text), end, spaced=spaced) for text in words)]
    usage, done = event(USAGE, end, spaced=spaced), f"data: [DONE]{end}{end}".encode()
    body = ping.join([b"", *said, event(FINISH, end, spaced=spaced)])
    whole = body + usage + done
    places = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=15)))
    pieces = [whole[a:b] for a, b in zip([0, *places], [*places, len(whole)], strict=True)]
    deltas, problem = play(fresh(keeps_usage=keeps), pieces)
    assert problem is None
    assert b"".join(delta.raw for delta in deltas) == body + (usage if keeps else b"") + done
    assert deltas[-1].done
    assert deltas[-1].usage == Usage(input=9, output=4)
    assert (deltas[0].model, deltas[0].provider) == ("m", "p")
    assert any(delta.speaks for delta in deltas) is bool(words)


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_rubbish_never_passes_for_an_answer(pieces: list[bytes]) -> None:
    _, problem = play(fresh(), pieces)
    assert isinstance(problem, UpstreamBroke | UpstreamError)


@pytest.mark.parametrize(
    ("chunk", "speaks"),
    [
        (ROLE, False),
        (FINISH, False),
        (word("x"), True),
        (word(""), False),
        ({"choices": [{"delta": {"reasoning_content": "hm", "content": None}}]}, True),
        ({"choices": [{"delta": {"tool_calls": [{"index": 0}]}}]}, True),
        ({"choices": [{"delta": {"tool_calls": []}}]}, False),
        ({"choices": [{"text": "x"}]}, True),
        ({"choices": [{"text": ""}]}, False),
        ({"choices": []}, False),
    ],
)
def test_what_speaks(chunk: dict[str, Any], *, speaks: bool) -> None:
    delta = fresh().take(event(chunk))
    assert delta is not None
    assert delta.speaks is speaks


def test_text_that_looks_like_the_protocol_is_only_text() -> None:
    texts = ["[DONE]", "data: [DONE]\n\n", '"usage":{"prompt_tokens":1}', '"error"', "error", "usage"]
    events = [event(word(text)) for text in texts]
    deltas, problem = play(fresh(), [event(ROLE), *events, DONE])
    assert problem is None
    assert [delta.raw for delta in deltas[1:-1]] == events
    assert all(delta.usage is None for delta in deltas)


def test_usage_with_a_choice_is_handed_on_and_kept() -> None:
    chunk = event({**word("x"), "usage": USED})
    deltas, problem = play(fresh(keeps_usage=False), [event(ROLE), chunk, event(word("y")), DONE])
    assert problem is None
    assert (deltas[1].raw, deltas[1].usage) == (chunk, Usage(input=9, output=4))
    assert deltas[-1].usage == Usage(input=9, output=4)


def test_an_error_comes_after_what_was_said_before_it() -> None:
    failed = event({"error": {"message": "broken by sk-1", "code": 500}})
    deltas, problem = play(fresh(), [event(ROLE) + event(word("x")) + failed + event(word("y"))])
    assert [delta.raw for delta in deltas] == [event(ROLE) + event(word("x"))]
    assert isinstance(problem, UpstreamError)
    assert "broken by ***" in problem.message


@pytest.mark.parametrize(
    "first",
    [
        event({"error": {"message": "no"}}),
        event({"error": "no"}),
        b'event: error\ndata: {"message": "no"}\n\n',
        b'error: {"code":500,"message":"no"}\n\n',
    ],
)
def test_an_error_first_of_all(first: bytes) -> None:
    deltas, problem = play(fresh(), [first])
    assert deltas == []
    assert type(problem) is UpstreamError


@pytest.mark.parametrize("bad", [b"data: {\n\n", b"data: [1]\n\n", b"data: 7\n\n", b"<html>\n\n", b"data: {}}\n\n"])
@pytest.mark.parametrize("before", [b"", event(ROLE) + event(word("x"))])
def test_what_is_no_event_breaks(bad: bytes, before: bytes) -> None:
    deltas, problem = play(fresh(), [before + bad])
    assert b"".join(delta.raw for delta in deltas) == before
    assert type(problem) is UpstreamBroke


def test_usage_before_a_cut_is_not_lost() -> None:
    for keeps, raw in ((True, event(USAGE)), (False, b":\n\n")):
        deltas, problem = play(fresh(keeps_usage=keeps), [event(ROLE), event(word("x")), event(USAGE)])
        assert type(problem) is UpstreamBroke
        assert (deltas[-1].raw, deltas[-1].usage) == (raw, Usage(input=9, output=4))


def test_an_end_without_its_blank_line_is_an_end() -> None:
    deltas, problem = play(fresh(), [event(ROLE), event(word("x")), b"data: [DONE]\n"])
    assert problem is None
    assert (deltas[-1].raw, deltas[-1].done) == (DONE, True)


def test_done_is_optional_only_after_a_finish_reason() -> None:
    _, problem = play(fresh(done_optional=True), [event(ROLE), event(word("x"))])
    assert type(problem) is UpstreamBroke
    deltas, problem = play(fresh(done_optional=True), [event(ROLE), event(word("x")), event(FINISH)])
    assert problem is None
    assert (deltas[-1].raw, deltas[-1].done) == (DONE, True)


@pytest.mark.parametrize(
    ("wire", "usage"),
    [
        (
            {
                "prompt_tokens": 5,
                "completion_tokens": 3,
                "prompt_tokens_details": {"cached_tokens": 2},
                "completion_tokens_details": {"reasoning_tokens": 1},
            },
            Usage(input=5, output=3, cached=2, reasoning=1),
        ),
        ({"prompt_tokens": 5, "total_tokens": 5}, Usage(input=5)),
        (
            {"prompt_tokens": 5, "completion_tokens": 1, "prompt_cache_hit_tokens": 4},
            Usage(input=5, output=1, cached=4),
        ),
        ({"prompt_tokens": 5, "prompt_tokens_details": None}, Usage(input=5)),
        ({"prompt_tokens": -1, "completion_tokens": 2}, Usage(output=2)),
        ({}, None),
        ({"prompt_tokens": "many"}, None),
        (None, None),
        ([], None),
    ],
)
def test_usage(wire: Any, usage: Usage | None) -> None:
    assert usage_in(msgspec.Raw(json.dumps(wire).encode())) == usage
    assert usage_in(msgspec.UNSET) is None
