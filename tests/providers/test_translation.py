"""What is sent is what the providers' own packages take; what they can say comes back; no cut changes anything."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Mapping
from typing import Any

import anthropic.types
import pydantic
import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from botocore.eventstream import EventStreamBuffer
from botocore.session import Session
from botocore.validate import ParamValidator
from google.genai import types as google
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.chat import Delta
from loopwright.core.errors import UpstreamBroke
from loopwright.kit.sse import Splitter, data_of, events
from loopwright.providers import anthropic_answer, bedrock_answer, gemini_answer
from loopwright.providers.anthropic_request import messages
from loopwright.providers.aws_frames import Frames
from loopwright.providers.bedrock_request import converse
from loopwright.providers.gemini_request import content
from loopwright.testing.answers import answer
from loopwright.testing.frames import frame
from loopwright.testing.voices import Anthropic, Bedrock, Gemini, Voice
from tests.providers.natives import gathered

CLAUDE = "claude-sonnet-4-5"
TEXT = st.text(min_size=1, max_size=12).filter(lambda text: bool(text.strip()))
NAME = st.text(alphabet="abcdefgh_", min_size=1, max_size=8)
ARGUMENTS = st.dictionaries(NAME, st.none() | st.booleans() | st.integers(-9, 9) | TEXT, max_size=3)
PIXEL = base64.b64encode(b"\x89PNG").decode()


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    """Chats as clients send them: any order of roles, tools, images, parameters."""
    talk: list[dict[str, Any]] = []
    for number in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["system", "user", "image", "assistant", "tools"]))
        if kind == "image":
            image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
            talk.append({"role": "user", "content": [{"type": "text", "text": draw(TEXT)}, image]})
        elif kind == "tools":
            calls = [
                {
                    "id": f"call_{number}_{at}",
                    "type": "function",
                    "function": {"name": draw(NAME), "arguments": json.dumps(draw(ARGUMENTS))},
                }
                for at in range(draw(st.integers(1, 2)))
            ]
            talk.append({"role": "assistant", "content": None, "tool_calls": calls})
            talk += [{"role": "tool", "tool_call_id": call["id"], "content": draw(TEXT)} for call in calls]
        else:
            talk.append({"role": kind, "content": draw(TEXT)})
    talk.append({"role": "user", "content": draw(TEXT)})
    body: dict[str, Any] = {"model": "m", "messages": talk}
    if draw(st.booleans()):
        schema = {"type": "object", "properties": {"a": {"type": "string"}}}
        function = {"name": "look", "description": "looks", "parameters": schema, "strict": draw(st.booleans())}
        body["tools"] = [{"type": "function", "function": function}]
        named = {"type": "function", "function": {"name": "look"}}
        body["tool_choice"] = draw(st.sampled_from(["auto", "none", "required", named]))
        body["parallel_tool_calls"] = draw(st.booleans())
    body["temperature"] = draw(st.sampled_from([None, 0, 0.5, 2]))
    body["stop"] = draw(st.sampled_from([None, "END", ["a", "b"]]))
    body["max_tokens"] = draw(st.sampled_from([None, 100, 5000]))
    body["reasoning_effort"] = draw(st.sampled_from([None, "none", "minimal", "low", "high", "xhigh"]))
    return {name: value for name, value in body.items() if value is not None}


def texts(body: Mapping[str, Any]) -> list[str]:
    """Every text a client wrote, instructions first."""
    found: list[tuple[bool, str]] = []
    for message in body["messages"]:
        said = message["content"] or []
        parts = [said] if isinstance(said, str) else [part["text"] for part in said if "text" in part]
        found += [(message["role"] != "system", part) for part in parts]
    return [text for _, text in sorted(found, key=lambda one: one[0])]


ANTHROPIC = pydantic.TypeAdapter(MessageCreateParamsNonStreaming)


@settings(deadline=None, max_examples=60)
@given(bodies(), st.sampled_from([CLAUDE, "claude-opus-5", "claude-3-haiku-20240307", "claude-opus-4-20250514"]))
def test_anthropics_own_types_take_what_is_sent(body: dict[str, Any], model: str) -> None:
    sent = messages(body, model)
    ANTHROPIC.validate_python(json.loads(json.dumps(sent)))
    roles = [turn["role"] for turn in sent["messages"]]
    assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"] * (len(roles) % 2)
    budget = sent.get("thinking", {}).get("budget_tokens", 0)
    assert budget < sent["max_tokens"]
    assert not (budget and "temperature" in sent)
    plain = json.dumps(sent, ensure_ascii=False)
    assert all(json.dumps(text, ensure_ascii=False)[1:-1] in plain for text in texts(body))


@settings(deadline=None, max_examples=60)
@given(bodies(), st.sampled_from(["gemini-2.5-pro", "gemini-3-pro-preview", "gemini-2.0-flash"]))
def test_googles_own_types_take_what_is_sent(body: dict[str, Any], model: str) -> None:
    sent = content(body, model)
    for turn in sent["contents"]:
        google.Content.model_validate(turn)
    if "systemInstruction" in sent:
        google.Content.model_validate(sent["systemInstruction"])
    google.GenerationConfig.model_validate(sent.get("generationConfig", {}))
    for tool in sent.get("tools", ()):
        google.Tool.model_validate(tool)
    google.ToolConfig.model_validate(sent.get("toolConfig", {}))
    assert set(sent) <= {"contents", "systemInstruction", "generationConfig", "tools", "toolConfig"}
    plain = json.dumps(sent, ensure_ascii=False)
    assert all(json.dumps(text, ensure_ascii=False)[1:-1] in plain for text in texts(body))


SERVICE = Session().get_service_model("bedrock-runtime")


def as_bytes(value: Any) -> Any:
    """Base64 as botocore takes it: decoded."""
    if isinstance(value, dict):
        blob = {"bytes", "redactedContent"}
        return {name: base64.b64decode(each) if name in blob else as_bytes(each) for name, each in value.items()}
    return [as_bytes(each) for each in value] if isinstance(value, list) else value


@settings(deadline=None, max_examples=60)
@given(bodies(), st.sampled_from(["anthropic.claude-opus-4-6-v1", "amazon.nova-pro-v1:0", "openai.gpt-oss-20b-1:0"]))
def test_aws_own_model_takes_what_is_sent(body: dict[str, Any], model: str) -> None:
    sent = converse(body, model)
    shape = SERVICE.operation_model("Converse").input_shape
    report = ParamValidator().validate({"modelId": model, **as_bytes(sent)}, shape)
    assert not report.has_errors(), report.generate_report()
    plain = json.dumps(sent, ensure_ascii=False)
    assert all(json.dumps(text, ensure_ascii=False)[1:-1] in plain for text in texts(body))


# What comes back.


@st.composite
def said(draw: st.DrawFn) -> dict[str, Any]:
    """What a model may say, in OpenAI's words."""
    calls = [(f"id{at}", draw(NAME), draw(ARGUMENTS)) for at in range(draw(st.integers(0, 2)))]
    return {
        "text": draw(st.just("") | TEXT) if calls else draw(TEXT),
        "thought": draw(st.just("") | TEXT),
        "calls": calls,
        "input": draw(st.integers(0, 99)),
        "output": draw(st.integers(0, 99)),
    }


def check(deltas: list[Delta], want: Mapping[str, Any], *, cached: int) -> None:
    got = gathered(deltas)
    assert (got["text"], got["reasoning"]) == (want["text"], want["thought"])
    calls = [(call["name"], json.loads(call["arguments"])) for call in got["calls"].values()]
    assert calls == [(name, arguments) for _, name, arguments in want["calls"]]
    assert got["finish"] == ("tool_calls" if want["calls"] else "stop")
    assert (got["usage"].input, got["usage"].cached) == (want["input"] + cached, cached)
    assert deltas[-1].done


@given(said())
def test_what_anthropic_says_comes_whole_and_goes_back(want: dict[str, Any]) -> None:
    blocks: list[dict[str, Any]] = []
    if want["thought"]:
        blocks.append({"type": "thinking", "thinking": want["thought"], "signature": "s"})
    if want["text"]:
        blocks.append({"type": "text", "text": want["text"]})
    blocks += [{"type": "tool_use", "id": i, "name": name, "input": given} for i, name, given in want["calls"]]
    message = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": blocks, "stop_sequence": None,
        "stop_reason": "tool_use" if want["calls"] else "end_turn",
        "usage": {"input_tokens": want["input"], "output_tokens": want["output"], "cache_read_input_tokens": 4},
    }  # fmt: skip
    anthropic.types.Message.model_validate(message)
    (delta,) = anthropic_answer.whole(message)
    check([delta], want, cached=4)
    back = {"role": "assistant", "content": delta.text, **(delta.extra or {})}
    results = [{"role": "tool", "tool_call_id": i, "content": "r"} for i, _, _ in want["calls"]]
    asked = {"messages": [{"role": "user", "content": "q"}, back, *results, {"role": "user", "content": "next"}]}
    again = messages(asked, CLAUDE)["messages"][1]["content"]
    assert again == blocks


@given(said())
def test_what_bedrock_says_comes_whole_and_goes_back(want: dict[str, Any]) -> None:
    blocks: list[dict[str, Any]] = []
    if want["thought"]:
        blocks.append({"reasoningContent": {"reasoningText": {"text": want["thought"], "signature": "s"}}})
    if want["text"]:
        blocks.append({"text": want["text"]})
    blocks += [{"toolUse": {"toolUseId": i, "name": name, "input": given}} for i, name, given in want["calls"]]
    counts = {"inputTokens": want["input"], "outputTokens": want["output"], "cacheReadInputTokens": 4}
    message = {"output": {"message": {"role": "assistant", "content": blocks}}, "usage": counts}
    (delta,) = bedrock_answer.whole({**message, "stopReason": "tool_use" if want["calls"] else "end_turn"})
    check([delta], want, cached=4)
    back = {"role": "assistant", "content": delta.text, **(delta.extra or {})}
    results = [{"role": "tool", "tool_call_id": i, "content": "r"} for i, _, _ in want["calls"]]
    asked = {"messages": [{"role": "user", "content": "q"}, back, *results, {"role": "user", "content": "next"}]}
    assert converse(asked, "claude")["messages"][1]["content"] == blocks


@given(said())
def test_what_gemini_says_comes_whole_and_goes_back(want: dict[str, Any]) -> None:
    parts: list[dict[str, Any]] = [{"text": want["text"]}] if want["text"] else []
    parts += [
        {"functionCall": {"id": i, "name": name, "args": given}, "thoughtSignature": "cw=="}
        for i, name, given in want["calls"]
    ]
    thoughts = [{"text": want["thought"], "thought": True}] if want["thought"] else []
    candidate = {"index": 0, "content": {"role": "model", "parts": thoughts + parts}, "finishReason": "STOP"}
    counts = {"promptTokenCount": want["input"] + 4, "cachedContentTokenCount": 4, "candidatesTokenCount": 1}
    reply = {"candidates": [candidate], "usageMetadata": counts}
    google.GenerateContentResponse.model_validate(reply)
    (delta,) = gemini_answer.whole(reply)
    check([delta], want, cached=4)
    back = {"role": "assistant", "content": delta.text, **(delta.extra or {})}
    results = [{"role": "tool", "tool_call_id": i, "content": "r"} for i, _, _ in want["calls"]]
    asked = {"messages": [{"role": "user", "content": "q"}, back, *results, {"role": "user", "content": "next"}]}
    assert content(asked, "gemini-3-pro")["contents"][1]["parts"] == parts


# Cuts.


def deltas_of(voice: Voice, pieces: list[bytes]) -> list[Delta]:
    found: list[Delta] = []
    if isinstance(voice, Bedrock):
        reader, frames = bedrock_answer.Events(), Frames()
        for piece in pieces:
            for one in frames.feed(piece):
                found += reader.take(json.loads(one.payload), one.headers[":event-type"])
        return [*found, *reader.end()]
    sse: Any = anthropic_answer.Events() if isinstance(voice, Anthropic) else gemini_answer.Events()
    splitter = Splitter()
    for piece in pieces:
        for event in events(splitter.feed(piece)):
            found += sse.take(json.loads(data_of(event) or b"{}"))
    return [*found, *sse.end()]


@pytest.mark.parametrize("voice", [Anthropic(), Gemini("streamGenerateContent"), Bedrock("converse-stream")])
@settings(deadline=None, max_examples=40)
@given(cuts=st.lists(st.integers(0, 5000), max_size=40), tools=st.booleans(), end=st.sampled_from([b"\n", b"\r\n"]))
def test_no_cut_changes_a_stream(voice: Voice, cuts: list[int], *, tools: bool, end: bytes) -> None:
    asked = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    found = answer("/chat/completions", {**asked, "tools": [{"function": {"name": "look"}}]} if tools else asked)
    assert found is not None
    wire = b"".join(
        voice.wrap(kind, json.dumps(payload, ensure_ascii=False).encode(), end)
        for kind, payload in voice.events(found, thinks=True, counted=True)
    )
    places = sorted({0, len(wire), *(cut for cut in cuts if cut < len(wire))})
    pieces = [wire[a:b] for a, b in itertools.pairwise(places)]
    assert deltas_of(voice, pieces) == deltas_of(voice, [wire]) == deltas_of(voice, [bytes([b]) for b in wire])
    with pytest.raises(UpstreamBroke):
        deltas_of(voice, [wire[: len(wire) // 2]])


@given(st.binary(max_size=50), st.text(alphabet="abc", max_size=9))
def test_frames_are_read_as_botocore_reads_them(payload: bytes, kind: str) -> None:
    wire = frame({":event-type": kind, ":message-type": "event"}, payload)
    (ours,) = Frames().feed(wire)
    buffer = EventStreamBuffer()
    buffer.add_data(wire)
    (theirs,) = buffer
    assert (ours.payload, dict(ours.headers)) == (theirs.payload, theirs.headers)


@pytest.mark.parametrize("at", [3, 9, 15, 40, -1])
def test_a_damaged_frame_is_found(at: int) -> None:
    wire = bytearray(frame({":event-type": "metadata"}, b'{"usage":{"inputTokens":1}}'))
    wire[at] ^= 1
    with pytest.raises(UpstreamBroke):
        list(Frames().feed(bytes(wire)))
