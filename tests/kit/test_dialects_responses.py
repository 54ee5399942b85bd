"""OpenAI's Responses in and out; shapes are checked by the models of OpenAI's own SDK."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from loopwright.core.chat import Delta
from loopwright.core.errors import BadRequest, Busy, Unavailable, UpstreamBroke
from loopwright.kit.dialects import responses_in
from loopwright.kit.dialects.responses_in import Question, continued
from loopwright.kit.dialects.responses_out import ResponseVoice
from tests.kit.dialecting import CALL, USAGE, answers, cut, events, heard, stream, whole

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
ASK: dict[str, Any] = {"model": "m", "input": "hi"}
TOOL = {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}


def read(**changes: Any) -> Question:
    return responses_in.read(json.dumps({**ASK, **changes}).encode())


def voice(**asked: Any) -> ResponseVoice:
    question = read(**asked)
    return ResponseVoice(CALL, question.body, question.aside, 1_700_000_000.5)


def said(deltas: list[Delta], **asked: Any) -> list[dict[str, Any]]:
    speaker = voice(**asked)
    return heard(b"".join(speaker.piece(delta) for delta in deltas))


def ended(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The response a stream ends with, checked against what its events said, their order and their numbers."""
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    assert [event["type"] for event in found[:2]] == ["response.created", "response.in_progress"]
    items: list[dict[str, Any]] = []
    texts: dict[int, str] = {}
    opened = -1
    for event in found:
        EVENT.validate_python(event)
        kind = event["type"]
        if kind == "response.output_item.added":
            assert opened == -1
            opened = event["output_index"]
            assert opened == len(items)
        elif kind == "response.output_item.done":
            assert event["output_index"] == opened
            opened = -1
            items.append(event["item"])
        elif kind.endswith(".delta"):
            assert event["output_index"] == opened
            texts[opened] = texts.get(opened, "") + event["delta"]
        elif kind.endswith((".done", ".added")):
            assert event["output_index"] == opened
            done = event.get("text", event.get("arguments", event.get("refusal", event.get("input"))))
            assert done in (None, texts.get(opened, ""))
    response: dict[str, Any] = found[-1]["response"]
    assert opened == -1
    assert response["output"] == items
    return response


@given(answer=answers(), places=st.lists(st.integers(0, 10_000), max_size=12), summary=st.booleans())
def test_a_stream_says_what_the_whole_says_however_it_is_cut(
    *, answer: dict[str, Any], places: list[int], summary: bool
) -> None:
    finish = "tool_calls" if "tool_calls" in answer else "stop"
    asked: dict[str, Any] = {"reasoning": {"summary": "auto"}} if summary else {}
    one = json.loads(voice(**asked).whole(whole(answer, finish)))
    found = said(cut(events(answer, finish), places), **asked)
    assert ended(found) == one
    assert found[-1]["type"] == "response.completed"
    Response.model_validate(one, strict=True)


@given(answer=answers(), summary=st.booleans())
def test_an_answer_handed_back_is_the_answer(*, answer: dict[str, Any], summary: bool) -> None:
    asked: dict[str, Any] = {"reasoning": {"summary": "auto"}} if summary else {}
    output = json.loads(voice(**asked).whole(whole(answer)))["output"]
    assert read(input=[*output]).body["messages"] == [answer]


def test_signed_thoughts_go_sealed_to_who_asks_for_them() -> None:
    signed = [
        {"type": "thinking", "thinking": "hm", "signature": "s1"},
        {"type": "redacted_thinking", "data": "xyz"},
    ]
    answer = {"role": "assistant", "content": "so", "reasoning_content": "hm", "thinking_blocks": signed}
    include = ["reasoning.encrypted_content"]
    one = json.loads(voice(include=include).whole(whole(answer)))
    assert read(input=one["output"]).body["messages"] == [answer]
    bare = json.loads(voice().whole(whole(answer)))
    assert not any("encrypted_content" in item for item in bare["output"])
    raw = stream([{"index": 0, "delta": delta} for delta in ({"thinking_blocks": signed}, {"content": "so"})])
    assert ended(said(cut(raw, []), include=include))["output"] == one["output"]
    theirs = {"type": "reasoning", "summary": [], "encrypted_content": "gAAAA-not-ours"}
    assert read(input=[theirs, {"role": "user", "content": "x"}]).body["messages"][0] == {
        "role": "assistant",
        "content": None,
    }


def test_an_answer_cut_short_is_incomplete() -> None:
    found = said(cut(events({"content": "x"}, "length"), []))
    response = ended(found)
    assert found[-1]["type"] == "response.incomplete"
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert response["output"][0]["status"] == "incomplete"
    assert json.loads(voice().whole(whole({"content": "x"}, "content_filter")))["incomplete_details"] == {
        "reason": "content_filter"
    }


def test_a_refusal_is_a_part_of_its_own() -> None:
    refusal = {"role": "assistant", "content": None, "refusal": "no"}
    response = ended(said(cut(events(refusal), [])))
    assert response["output"][0]["content"] == [{"type": "refusal", "refusal": "no"}]
    assert read(input=response["output"]).body["messages"] == [refusal]


def test_log_probabilities_pass() -> None:
    token = {"token": "x", "logprob": -0.5, "bytes": [120], "top_logprobs": []}
    choice = {"index": 0, "delta": {"content": "x"}, "logprobs": {"content": [token]}}
    asked = {"include": ["message.output_text.logprobs"]}
    assert read(**asked).body["logprobs"] is True
    found = said(cut(stream([choice]), []), **asked)
    assert ended(found)["output"][0]["content"][0]["logprobs"] == [token]
    assert next(event for event in found if event["type"] == "response.output_text.delta")["logprobs"] == [token]


def test_usage() -> None:
    usage = json.loads(voice().whole(whole({"content": "x"})))["usage"]
    assert usage == {
        "input_tokens": USAGE.input,
        "input_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 10},
        "output_tokens": 20,
        "output_tokens_details": {"reasoning_tokens": 5},
        "total_tokens": 120,
    }
    assert json.loads(voice().whole(Delta(raw=whole({"content": "x"}).raw, done=True)))["usage"] is None


def test_a_stream_that_fails_ends_with_a_failed_response() -> None:
    speaker = voice()
    first = speaker.piece(Delta(raw=events({"content": "xy"})[:-60]))
    found = heard(first + speaker.failed(Unavailable("gone")))
    EVENT.validate_python(found[-1])
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    assert found[-1]["type"] == "response.failed"
    response = found[-1]["response"]
    assert response["error"] == {"code": "server_error", "message": "gone"}
    assert (response["status"], response["output"][0]["content"][0]["text"]) == ("failed", "xy")
    assert heard(voice().failed(Busy("slow")))[0]["response"]["error"]["code"] == "rate_limit_exceeded"


def test_a_keep_alive_passes() -> None:
    speaker = voice()
    speaker.piece(Delta(raw=b": wait\n\n"))
    assert speaker.piece(Delta(raw=b": wait\n\n")) == b":\n\n"


def test_an_answer_that_is_none_is_said_to_be_broken() -> None:
    with pytest.raises(UpstreamBroke):
        voice().whole(Delta(raw=b"<html>", done=True))


def test_every_parameter_finds_its_place_and_its_echo() -> None:
    form = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True, "description": None}
    asked: dict[str, Any] = {
        "instructions": "be brief",
        "tools": [TOOL],
        "tool_choice": {"type": "function", "name": "f"},
        "parallel_tool_calls": False,
        "text": {"format": form, "verbosity": "low"},
        "reasoning": {"effort": "high", "summary": "auto"},
        "max_output_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_logprobs": 2,
        "metadata": {"a": "b"},
        "user": "u",
        "safety_identifier": "s",
        "prompt_cache_key": "k",
        "service_tier": "flex",
        "store": False,
        "stream": True,
    }
    question = read(**asked)
    function = {name: value for name, value in TOOL.items() if name != "type"}
    schema = {name: form[name] for name in ("name", "schema", "strict")}
    assert question.body == {
        "model": "m",
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}],
        "tools": [{"type": "function", "function": function}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "parallel_tool_calls": False,
        "verbosity": "low",
        "response_format": {"type": "json_schema", "json_schema": schema},
        "reasoning_effort": "high",
        "logprobs": True,
        "temperature": 0.5,
        "top_p": 0.9,
        "user": "u",
        "safety_identifier": "s",
        "prompt_cache_key": "k",
        "service_tier": "flex",
        "stream": True,
        "max_completion_tokens": 9,
        "top_logprobs": 2,
    }
    response = json.loads(voice(**asked).whole(whole({"content": "x"})))
    echoed = {name: response[name] for name in asked if name != "stream"}
    assert echoed == {name: value for name, value in asked.items() if name != "stream"}


def test_allowed_tools_leave_the_others_out_and_are_echoed() -> None:
    other = {**TOOL, "name": "g"}
    choice = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "g"}]}
    question = read(tools=[TOOL, other], tool_choice=choice)
    assert [tool["function"]["name"] for tool in question.body["tools"]] == ["g"]
    assert question.body["tool_choice"] == "required"
    response = json.loads(voice(tools=[TOOL, other], tool_choice=choice).whole(whole({"content": "x"})))
    assert [tool["name"] for tool in response["tools"]] == ["f", "g"]
    assert response["tool_choice"]["mode"] == "required"
    Response.model_validate(response)


def test_a_custom_tool_is_a_function_to_the_model_and_free_text_to_the_client() -> None:
    form = {"type": "grammar", "syntax": "lark", "definition": "start: x"}
    custom = {"type": "custom", "name": "patch", "description": "d", "format": form}
    asked: dict[str, Any] = {"tools": [TOOL, custom], "tool_choice": {"type": "custom", "name": "patch"}}
    function = read(**asked).body["tools"][1]["function"]
    assert function["parameters"]["required"] == ["input"]
    assert "start: x" in function["description"]
    given = [("call_1", "patch", '{"input": "a\\nb"}'), ("call_2", "f", "{}"), ("call_3", "patch", "not json")]
    calls = [{"id": i, "type": "function", "function": {"name": n, "arguments": a}} for i, n, a in given]
    answer = {"role": "assistant", "content": None, "tool_calls": calls}
    one = json.loads(voice(**asked).whole(whole(answer, "tool_calls")))
    assert ended(said(cut(events(answer, "tool_calls"), [40, 400]), **asked)) == one
    assert [(item["type"], item.get("input", item.get("arguments"))) for item in one["output"]] == [
        ("custom_tool_call", "a\nb"),
        ("function_call", "{}"),
        ("custom_tool_call", "not json"),
    ]
    assert (one["tools"][1], one["tool_choice"]) == (custom, asked["tool_choice"])
    Response.model_validate(one)
    result = {"type": "custom_tool_call_output", "call_id": "call_1", "output": "done"}
    back = read(input=[*one["output"], result]).body["messages"]
    assert json.loads(back[0]["tool_calls"][0]["function"]["arguments"]) == {"input": "a\nb"}
    assert back[1] == {"role": "tool", "tool_call_id": "call_1", "content": "done"}


def test_items_become_messages_and_what_belongs_together_becomes_one() -> None:
    image = {"type": "input_image", "image_url": "https://x/y.png", "detail": "low"}
    items = [
        {"role": "developer", "content": "rules"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "look"}, image]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "ok"}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "c2", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "r"}, image]},
        {"type": "function_call_output", "call_id": "c2", "output": "s"},
        {"role": "assistant", "content": "done"},
        {"role": "assistant", "content": "and more"},
    ]
    url = {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}}
    call = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
    assert read(input=items).body["messages"] == [
        {"role": "developer", "content": "rules"},
        {"role": "user", "content": [{"type": "text", "text": "look"}, url]},
        {
            "role": "assistant",
            "content": "ok",
            "reasoning_content": "hm",
            "tool_calls": [{"id": "c1", **call}, {"id": "c2", **call}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "r"},
        {"role": "tool", "tool_call_id": "c2", "content": "s"},
        {"role": "user", "content": [{"type": "text", "text": "From the result of c1:"}, url]},
        {"role": "assistant", "content": "done"},
        {"role": "assistant", "content": "and more"},
    ]


def test_a_conversation_goes_on_without_its_instructions() -> None:
    before = read(instructions="old").body | {"loopwright": {"dialect": "responses", "instructions": True}}
    answer: dict[str, Any] = {
        "choices": [{"message": {"role": "assistant", "content": "hello", "refusal": None, "tool_calls": []}}]
    }
    question = read(instructions="new", input="again", previous_response_id="resp_x")
    assert continued(question, before, answer)["messages"] == [
        {"role": "system", "content": "new"},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "again"},
    ]
    chat = {"model": "m", "messages": [{"role": "system", "content": "a chat's own"}]}
    assert continued(read(previous_response_id="x"), chat, answer)["messages"][0]["content"] == "a chat's own"
    broken: dict[str, Any]
    for broken in ({}, {"choices": []}, {"error": {}}):
        with pytest.raises(BadRequest):
            continued(question, before, broken)


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": [{"role": "bot", "content": ""}]}, "input[0].role"),
        ({"input": [{"content": ""}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "x"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "assistant", "content": [{"type": "input_image"}]}]}, "input[0].content[0]"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0].image_url"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0]"),
        ({"input": [{"type": "function_call", "name": "f", "arguments": ""}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call_output", "call_id": "x"}]}, "input[0].output"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tool_choice": "any"}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.name"),
        ({"tool_choice": {"type": "file_search"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "allowed_tools", "tools": []}, "tools": [TOOL]}, "tool_choice.tools"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "x"}}, "prompt"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"metadata": {"a": 1}}, "metadata[...]"),
    ],
)
def test_what_cannot_be_used_is_named(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(**changes)
    assert caught.value.param == param


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(0, 5) | st.sampled_from(["user", "message", "input_text", "reasoning"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "type", "text", "summary", "call_id", "output"]), inner)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["input", "text", "tools", "tool_choice", "reasoning"]), json_values))
def test_a_body_is_read_or_refused(changes: dict[str, Any]) -> None:
    with suppress(BadRequest):
        read(**changes)
