import json
import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.chat import Operation, Request
from loopwright.core.errors import BadRequest
from loopwright.core.who import HOUSE
from loopwright.kit import wire

ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


def parse(body: object, operation: Operation = "chat", **more: Any) -> Request:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return wire.parse(raw, operation, call_id="id", who=HOUSE, started_ns=0, **more)


def test_a_body_is_kept_byte_for_byte() -> None:
    raw = b'{ "model":"m", "messages":[{"role":"user","content":"h\\u2014"}], "unknown":{"a":[1,2.50]} }'
    request = parse(raw)
    assert request.raw == raw
    assert request.body["unknown"] == {"a": [1, 2.5]}


@pytest.mark.parametrize("key", ["model", "m\\u006fdel"])
@pytest.mark.parametrize("house", ["", ', "loopwright": {}'])
def test_the_model_that_is_checked_is_the_only_one_that_leaves(key: str, house: str) -> None:
    raw = f'{{"{key}": "dear", "messages": [{{"role": "user", "content": "x"}}], "model": "cheap"{house}}}'.encode()
    request = parse(raw)
    assert request.model == "cheap"
    assert json.loads(request.raw or b"", object_pairs_hook=list)[0][1] == "cheap"
    assert b"dear" not in (request.raw or b"")


def test_our_own_member_is_taken_out_and_the_rest_left_alone() -> None:
    request = parse({**ASK, "loopwright": {"session": "s", "tags": {"team": "a"}}, "x": 1.50})
    assert (request.session, dict(request.tags)) == ("s", {"team": "a"})
    assert json.loads(request.raw or b"") == {**ASK, "x": 1.5}


@given(st.dictionaries(st.text(max_size=10), json_values, max_size=5), st.text(min_size=1, max_size=20))
def test_setting_a_field_changes_that_field_only(fields: dict[str, Any], model: str) -> None:
    changed = json.loads(wire.with_fields(json.dumps(fields).encode(), model=model))
    assert changed == {**fields, "model": model}
    assert json.loads(wire.without(json.dumps(fields).encode(), "model")) == {
        name: value for name, value in fields.items() if name != "model"
    }


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 3}, "temperature"),
        ({"n": 0}, "n"),
        ({"top_p": 1.1}, "top_p"),
        ({"model": ""}, "model"),
        ({"model": None}, "model"),
        ({"stop": 1}, "stop"),
        ({"messages": [{"role": "bogus", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"loopwright": {"tags": {"a": 1}}}, "loopwright.tags[...]"),
        ({"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse({**ASK, **change})
    assert caught.value.param == param
    assert caught.value.message.startswith(param)


@pytest.mark.parametrize("missing", ["model", "messages"])
def test_a_missing_field_is_named(missing: str) -> None:
    with pytest.raises(BadRequest, match=rf"^{missing}: is required$") as caught:
        parse({name: value for name, value in ASK.items() if name != missing})
    assert caught.value.param == missing


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"null", b"[]", b'"x"', b"\xff\xfe", b'{"model":"m","messages":NaN}', b"{}{}"]
)
def test_what_is_no_json_object_is_refused(raw: bytes) -> None:
    with pytest.raises(BadRequest):
        parse(raw)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_bad_request(raw: bytes) -> None:
    for operation in ("chat", "completion", "embeddings"):
        try:
            wire.parse(raw, operation, call_id="id", who=HOUSE, started_ns=0)
        except BadRequest:
            continue


@given(st.dictionaries(st.sampled_from([*ASK, "n", "stop", "tools", "input", "loopwright"]), json_values, max_size=5))
def test_no_json_raises_anything_but_a_bad_request(body: dict[str, Any]) -> None:
    with suppress(BadRequest):
        parse(body)


@pytest.mark.parametrize("value", ["", [], [""], ["a", 1], [[], [1]], None, {"a": 1}])
def test_embeddings_want_texts_or_tokens(value: object) -> None:
    with pytest.raises(BadRequest) as caught:
        parse({"model": "m", "input": value}, "embeddings")
    assert (caught.value.param or "").startswith("input")


@pytest.mark.parametrize("value", ["a", ["a", "b"], [1, 2], [[1, 2], [3]]])
def test_embeddings_take_every_form_of_input(value: object) -> None:
    assert parse({"model": "m", "input": value}, "embeddings").body["input"] == value


def test_a_trace_is_continued() -> None:
    trace = parse(ASK, traceparent=f"00-{'a' * 32}-{'b' * 16}-01").trace
    assert (trace.trace_id, trace.parent_id) == ("a" * 32, "b" * 16)
    assert re.fullmatch(r"[0-9a-f]{16}", trace.span_id)


@pytest.mark.parametrize(
    "header", [None, "", "00-1-2-3", f"ff-{'a' * 32}-{'b' * 16}-01", f"00-{'0' * 32}-{'b' * 16}-01"]
)
def test_a_bad_trace_header_starts_a_new_trace(header: str | None) -> None:
    trace = parse(ASK, traceparent=header).trace
    assert trace.parent_id is None
    assert trace.trace_id != "0" * 32


def test_a_trace_of_one_call_has_the_digits_of_its_id() -> None:
    call_id = "019abcde-0000-7000-8000-00000000abcd"
    assert wire.new_trace(call_id=call_id).trace_id == call_id.replace("-", "")
    assert wire.new_trace(f"00-{'a' * 32}-{'b' * 16}-01", call_id).trace_id == "a" * 32
    assert wire.new_trace().trace_id != wire.new_trace().trace_id
