"""Anthropic's Messages in and out; shapes are checked by the models of Anthropic's own SDK."""

import json
from contextlib import suppress
from typing import Any

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from loopwright.core.chat import Delta
from loopwright.core.errors import BadRequest, Busy, ContextOverflow, LoopwrightError, Unavailable, UpstreamBroke
from loopwright.kit.dialects import estimate, messages_in
from loopwright.kit.dialects.foreign import FOREIGN, plain
from loopwright.kit.dialects.messages_out import MessageVoice, error_body
from tests.kit.dialecting import CALL, USAGE, answers, cut, events, heard, stream, whole

EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
ASK: dict[str, Any] = {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]}
PNG = {"type": "base64", "media_type": "image/png", "data": "aGk="}


def read(**changes: Any) -> dict[str, Any]:
    return messages_in.read(json.dumps({**ASK, **changes}).encode()).body


def voice(**body: Any) -> MessageVoice:
    return MessageVoice(CALL, {"model": "m", "messages": [], **body}, 400)


def said(deltas: list[Delta], **body: Any) -> list[dict[str, Any]]:
    speaker = voice(**body)
    return heard(b"".join(speaker.piece(delta) for delta in deltas))


def gathered(found: list[dict[str, Any]]) -> dict[str, Any]:
    """What a reader of the events ends up with; fails when they are out of order."""
    found = [event for event in found if event["type"] != "ping"]
    assert [event["type"] for event in (found[0], *found[-2:])] == ["message_start", "message_delta", "message_stop"]
    message = found[0]["message"]
    content: list[dict[str, Any]] = []
    now: int | None = None
    inputs: dict[int, str] = {}
    for event in found[1:-2]:
        EVENT.validate_python(event)
        if event["type"] == "content_block_start":
            assert now is None
            now = event["index"]
            assert now == len(content)
            content.append(event["content_block"])
            continue
        assert event["index"] == now
        if event["type"] == "content_block_stop":
            now = None
            continue
        delta, block = event["delta"], content[-1]
        if delta["type"] == "input_json_delta":
            inputs[event["index"]] = inputs.get(event["index"], "") + delta["partial_json"]
        elif delta["type"] == "signature_delta":
            block["signature"] = delta["signature"]
        else:
            name = {"text_delta": "text", "thinking_delta": "thinking"}[delta["type"]]
            block[name] += delta[name]
    assert now is None
    for at, text in inputs.items():
        content[at]["input"] = json.loads(text)
    return {**message, "content": content, **found[-2]["delta"], "usage": found[-2]["usage"]}


@given(answers(), st.lists(st.integers(0, 10_000), max_size=12))
def test_a_stream_says_what_the_whole_says_however_it_is_cut(answer: dict[str, Any], places: list[int]) -> None:
    finish = "tool_calls" if "tool_calls" in answer else "stop"
    one = json.loads(voice().whole(whole(answer, finish)))
    assert gathered(said(cut(events(answer, finish), places))) == one
    Message.model_validate(one)


@given(answers())
def test_an_answer_handed_back_is_the_answer(answer: dict[str, Any]) -> None:
    content = json.loads(voice().whole(whole(answer)))["content"]
    message = read(messages=[*ASK["messages"], {"role": "assistant", "content": content}])["messages"][-1]
    for call in (*answer.get("tool_calls", ()), *message.get("tool_calls", ())):
        call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    if answer["content"] is None and not answer.get("tool_calls"):
        answer["content"] = ""
    assert message == answer


def test_signed_thoughts_come_and_go_unharmed() -> None:
    signed = [
        {"type": "thinking", "thinking": "hm", "signature": "s1"},
        {"type": "redacted_thinking", "data": "xyz"},
        {"type": "thinking", "thinking": "", "signature": "s2"},
    ]
    answer = {"role": "assistant", "content": "so", "reasoning_content": "hm", "thinking_blocks": signed}
    one = json.loads(voice().whole(whole(answer)))
    assert one["content"] == [*signed, {"type": "text", "text": "so"}]
    assert read(messages=[{"role": "assistant", "content": one["content"]}])["messages"] == [answer]
    # In a stream a thought comes in pieces, and once more whole when it is signed.
    pieces: list[dict[str, Any]] = [{"reasoning_content": "h"}, {"reasoning_content": "m"}]
    pieces += [{"thinking_blocks": [block]} for block in signed] + [{"content": "so"}]
    raw = stream([{"index": 0, "delta": delta} for delta in pieces])
    assert gathered(said(cut(raw, [])))["content"] == one["content"]
    # Or signed at the end of its pieces.
    pieces = [
        {"reasoning_content": "h", "thinking_blocks": [{"type": "thinking", "thinking": "h"}]},
        {"reasoning_content": "m", "thinking_blocks": [{"type": "thinking", "thinking": "m"}]},
        {"thinking_blocks": [{"type": "thinking", "thinking": "", "signature": "s1"}]},
    ]
    raw = stream([{"index": 0, "delta": delta} for delta in pieces])
    assert gathered(said(cut(raw, [])))["content"] == signed[:1]


def test_calls_that_are_woven_into_each_other_come_one_after_the_other() -> None:
    def call(at: int, arguments: str, name: str = "") -> dict[str, Any]:
        named = {"id": f"c{at}", "type": "function"} if name else {}
        function = {"name": name, "arguments": arguments} if name else {"arguments": arguments}
        return {"index": 0, "delta": {"tool_calls": [{"index": at, **named, "function": function}]}}

    woven = [
        call(0, "", "a"),
        call(1, '{"x"', "b"),
        call(0, '{"y": '),
        call(1, ": 1}"),
        call(0, "2}"),
        call(2, "", "c"),
    ]
    woven.insert(3, {"index": 0, "delta": {"content": "meanwhile"}})
    found = gathered(said(cut(stream(woven, "tool_calls"), [])))["content"]
    assert [(block.get("name"), block.get("input", block.get("text"))) for block in found] == [
        ("a", {"y": 2}),
        ("b", {"x": 1}),
        (None, "meanwhile"),
        ("c", {}),
    ]


def test_calls_that_all_have_number_0_are_told_apart() -> None:
    def call(mark: str) -> dict[str, Any]:
        function = {"name": "f", "arguments": "{}"}
        return {"index": 0, "delta": {"tool_calls": [{"index": 0, "id": mark, "function": function}]}}

    found = gathered(said(cut(stream([call("a"), call("b")]), [])))
    assert [block["id"] for block in found["content"]] == ["a", "b"]
    assert found["stop_reason"] == "tool_use"


@pytest.mark.parametrize(
    ("finish", "reason"),
    [("stop", "end_turn"), ("length", "max_tokens"), ("content_filter", "refusal"), ("odd", "end_turn")],
)
def test_why_it_stopped(finish: str, reason: str) -> None:
    assert json.loads(voice().whole(whole({"content": "x"}, finish)))["stop_reason"] == reason


def test_which_stop_sequence_ended_it_when_upstream_tells() -> None:
    choice = {"index": 0, "message": {"content": "x"}, "finish_reason": "stop", "stop_reason": "END"}
    delta = Delta(raw=json.dumps({"choices": [choice]}).encode(), done=True)
    told = json.loads(voice(stop=["END"]).whole(delta))
    assert (told["stop_reason"], told["stop_sequence"]) == ("stop_sequence", "END")
    assert json.loads(voice().whole(delta))["stop_reason"] == "end_turn"


def test_usage_leaves_the_cache_out_of_the_input() -> None:
    usage = json.loads(voice().whole(whole({"content": "x"})))["usage"]
    assert usage["input_tokens"] == USAGE.input - 40
    assert (usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]) == (30, 10)
    assert (usage["output_tokens"], usage["output_tokens_details"]["thinking_tokens"]) == (20, 5)


def test_usage_is_estimated_where_nobody_counts() -> None:
    raw = stream([{"index": 0, "delta": {"content": "x" * 80}}])
    usage = gathered(said([Delta(raw=raw, done=True)]))["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (100, 20)


def test_a_stream_that_fails_ends_with_an_error() -> None:
    speaker = voice()
    first = speaker.piece(Delta(raw=events({"content": "x"})[:60]))
    found = heard(first + speaker.failed(Unavailable("gone")))
    assert [event["type"] for event in found] == ["message_start", "ping", "error"]
    assert found[-1]["error"] == {"type": "overloaded_error", "message": "gone"}


def test_a_keep_alive_becomes_a_ping() -> None:
    speaker = voice()
    speaker.piece(Delta(raw=b": wait\n\n"))
    assert heard(speaker.piece(Delta(raw=b": wait\n\n"))) == [{"type": "ping"}]


@pytest.mark.parametrize("body", [b"<html>", b"[]", b""])
def test_an_answer_that_is_none_is_said_to_be_broken(body: bytes) -> None:
    with pytest.raises(UpstreamBroke):
        voice().whole(Delta(raw=body, done=True))


@pytest.mark.parametrize(
    ("error", "kind"),
    [(Busy("x"), "rate_limit_error"), (LoopwrightError("x"), "api_error"), (BadRequest("x"), "invalid_request_error")],
)
def test_errors_have_anthropics_shape(error: LoopwrightError, kind: str) -> None:
    assert error_body(error, CALL) == {
        "type": "error",
        "error": {"type": kind, "message": "x"},
        "request_id": CALL,
    }
    assert error_body(ContextOverflow("too long"), CALL)["error"]["message"] == "messages: too long"


def test_every_parameter_finds_its_place() -> None:
    body = read(
        system=[{"type": "text", "text": "be"}, {"type": "text", "text": "brief", "cache_control": {"type": "e"}}],
        stop_sequences=["END"],
        temperature=0.5,
        top_p=0.9,
        top_k=5,
        metadata={"user_id": "u"},
        stream=True,
        thinking={"type": "enabled", "budget_tokens": 5000},
        output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}},
        tools=[{"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": True}],
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
        loopwright={"session": "s"},
    )
    function = {"name": "f", "parameters": {"type": "object"}, "description": "d", "strict": True}
    schema = {"name": "answer", "schema": {"type": "object"}, "strict": True}
    assert body == {
        "model": "m",
        "messages": [
            {
                "role": "system",
                "content": [
                    {"type": "text", "text": "be"},
                    {"type": "text", "text": "brief", "cache_control": {"type": "e"}},
                ],
            },
            {"role": "user", "content": "hi"},
        ],
        "max_completion_tokens": 10,
        "stop": ["END"],
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "user": "u",
        "stream": True,
        "reasoning_effort": "medium",
        "thinking": {"type": "enabled", "budget_tokens": 5000},
        "response_format": {"type": "json_schema", "json_schema": schema},
        "tools": [{"type": "function", "function": function}],
        "tool_choice": "required",
        "parallel_tool_calls": False,
    }
    assert read(tool_choice={"type": "auto"}).get("tool_choice") is None, "there are no tools to choose among"


@pytest.mark.parametrize(
    ("thinking", "effort", "found"),
    [
        (None, "low", {"reasoning_effort": "low"}),
        ({"type": "adaptive"}, "max", {"reasoning_effort": "max"}),
        ({"type": "adaptive", "display": "omitted"}, None, {"thinking": {"type": "adaptive", "display": "omitted"}}),
        ({"type": "disabled"}, "high", {"thinking": {"type": "disabled"}}),
        (
            {"type": "enabled", "budget_tokens": 9000},
            None,
            {"thinking": {"type": "enabled", "budget_tokens": 9000}, "reasoning_effort": "high"},
        ),
    ],
)
def test_thinking_is_an_effort_and_where_that_is_not_all_itself(thinking: Any, effort: Any, found: Any) -> None:
    body = read(thinking=thinking, output_config={"effort": effort})
    assert {name: body[name] for name in ("thinking", "reasoning_effort") if name in body} == found


def test_results_of_tools_come_before_what_the_user_says_and_their_images_after() -> None:
    image = {"type": "image", "source": PNG}
    content = [
        {"type": "text", "text": "look"},
        {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "a"}, image]},
        {"type": "tool_result", "tool_use_id": "t2", "content": "bad", "is_error": True},
        {"type": "tool_result", "tool_use_id": "t3"},
    ]
    url = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    assert read(messages=[{"role": "user", "content": content}])["messages"] == [
        {"role": "tool", "tool_call_id": "t1", "content": "a"},
        {"role": "tool", "tool_call_id": "t2", "content": "bad", "is_error": True},
        {"role": "tool", "tool_call_id": "t3", "content": ""},
        {
            "role": "user",
            "content": [{"type": "text", "text": "look"}, {"type": "text", "text": "From the result of t1:"}, url],
        },
    ]


def test_images_documents_and_search_results() -> None:
    content = [
        {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}, "title": "T"},
        {"type": "document", "source": {**PNG, "media_type": "application/pdf"}, "title": "a.pdf"},
        {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "found"}]},
    ]
    assert read(messages=[{"role": "user", "content": content}])["messages"][0]["content"] == [
        {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
        {"type": "text", "text": "T\nwords"},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}},
        {"type": "text", "text": "t (s)\nfound"},
    ]


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"model": None}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": []}]}, "messages"),
        ({"messages": [{"role": "bot", "content": ""}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "wat"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "thinking", "thinking": ""}]}]}, "messages[0].content[0]"),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "image", "source": PNG}]}]},
            "messages[0].content[0]",
        ),
        ({"temperature": 1.5}, "temperature"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0]"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"mcp_servers": [{}]}, "mcp_servers"),
    ],
)
def test_what_cannot_be_used_is_named(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(**changes)
    assert caught.value.param == param


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"model": "m", "x": ' + b"[" * 99_999, b'{"model": "\xff"}'])
def test_a_body_that_is_no_object_is_refused(raw: bytes) -> None:
    with pytest.raises(BadRequest):
        messages_in.read(raw)


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(0, 5) | st.sampled_from(["user", "text", "tool_result", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "type", "text", "source", "tool_use_id"]), inner)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["messages", "system", "tools", "tool_choice", "thinking"]), json_values))
def test_a_body_is_read_or_refused(changes: dict[str, Any]) -> None:
    with suppress(BadRequest):
        read(**changes)


def test_what_only_other_dialects_know_is_left_out_for_openai() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    body = read(
        messages=[
            {"role": "user", "content": [{"type": "text", "text": '"cache_control"', **mark}]},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "t", "signature": "s"}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x", "is_error": True, **mark}]},
        ],
        tools=[{"name": "is_error", "input_schema": {"properties": {"is_error": {}}}, **mark}],
        thinking={"type": "adaptive"},
    )
    assert body["thinking"] == {"type": "adaptive"}
    raw = json.dumps(body).encode()
    left = json.loads(plain(raw))
    assert "thinking" not in left
    assert left["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": '"cache_control"'}]},
        {"role": "assistant", "content": "", "reasoning_content": "t"},
        {"role": "tool", "tool_call_id": "x", "content": ""},
    ]
    function = {"name": "is_error", "parameters": {"properties": {"is_error": {}}}}
    assert left["tools"] == [{"type": "function", "function": function}]
    untouched = b'{ "model":"m" }'
    assert plain(untouched) is untouched
    assert {"cache_control", "thinking", "thinking_blocks", "is_error"} == set(FOREIGN)


def test_the_estimate_counts_texts_images_files_and_tools() -> None:
    def of(**changes: Any) -> int:
        asked = {name: value for name, value in {**ASK, **changes}.items() if name != "max_tokens"}
        return estimate.tokens(messages_in.read_count(json.dumps(asked).encode()).body)

    assert of() == 4 + 1
    assert of(system="x" * 40) == 5 + 4 + 10
    assert of(messages=[{"role": "user", "content": [{"type": "image", "source": PNG}]}]) == 4 + 1600
    assert of(tools=[{"name": "f", "input_schema": {}}]) > of()
    file = {"type": "document", "source": {**PNG, "media_type": "application/pdf"}}
    assert of(messages=[{"role": "user", "content": [file]}]) == 4 + 2000
