"""Anthropic's dialect in and Anthropic's own API out: nothing that both can say is lost on the way."""

import json
from typing import Any

from loopwright.core.chat import Delta, Request, Trace
from loopwright.core.who import HOUSE
from loopwright.kit import wire_out
from loopwright.kit.dialects import messages_in
from loopwright.kit.dialects.messages_out import MessageVoice
from loopwright.providers import anthropic_answer
from loopwright.providers.anthropic_request import messages
from tests.kit.dialecting import heard

CLAUDE = "claude-sonnet-4-5"
MARK = {"type": "ephemeral"}
SIGNED: list[dict[str, Any]] = [
    {"type": "thinking", "thinking": "hm", "signature": "s1"},
    {"type": "redacted_thinking", "data": "xyz"},
    {"type": "text", "text": "Let me see."},
    {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": [1, "ü"]}},
    {"type": "tool_use", "id": "toolu_2", "name": "f", "input": {}},
]
REQUEST = Request(
    id="x",
    operation="chat",
    model="m",
    body={},
    raw=None,
    stream=True,
    who=HOUSE,
    started_ns=0,
    trace=Trace(trace_id="0", span_id="0"),
)


def test_a_question_arrives_as_it_was_asked() -> None:
    asked: dict[str, Any] = {
        "model": CLAUDE,
        "max_tokens": 4000,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": MARK}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Hello.", "cache_control": MARK}]},
            {"role": "assistant", "content": SIGNED},
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": "1"},
                    {
                        "type": "tool_result",
                        "tool_use_id": "toolu_2",
                        "content": "no",
                        "is_error": True,
                    },
                    {"type": "text", "text": "And now?"},
                ],
            },
        ],
        "thinking": {"type": "enabled", "budget_tokens": 2000},
        "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}, "cache_control": MARK}],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        "stop_sequences": ["END"],
        "metadata": {"user_id": "u"},
    }
    sent = messages(messages_in.read(json.dumps(asked).encode()).body, CLAUDE)
    assert {name: sent.get(name) for name in asked} == asked


def test_an_answer_arrives_as_it_was_given_whole_and_streamed() -> None:
    usage = {"input_tokens": 7, "output_tokens": 5, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 2}
    message = {"type": "message", "role": "assistant", "content": SIGNED, "stop_reason": "tool_use", "usage": usage}
    given = anthropic_answer.whole(message)
    said = [(wire_out.chunk(delta, REQUEST, first=at == 0), delta) for at, delta in enumerate(given)]
    assert _streamed(said)["content"] == SIGNED
    found = _streamed([(_wire(delta, at), delta) for at, delta in enumerate(_deltas(message))])
    assert found["content"] == SIGNED
    assert found["stop_reason"] == "tool_use"
    assert {name: found["usage"][name] for name in usage} == usage


def _deltas(message: dict[str, Any]) -> list[Delta]:
    """The message as Anthropic would stream it, read by the provider."""
    events: list[dict[str, Any]] = [{"type": "message_start", "message": {"usage": message["usage"]}}]
    for at, block in enumerate(message["content"]):
        bare: dict[str, dict[str, Any]] = {
            "thinking": {"thinking": ""},
            "text": {"text": ""},
            "tool_use": {"input": {}},
        }
        empty = bare.get(block["type"], {})
        start = {name: value for name, value in {**block, **empty}.items() if name != "signature"}
        pieces: list[dict[str, Any]] = []
        if block["type"] == "thinking":
            pieces = [{"type": "thinking_delta", "thinking": letter} for letter in block["thinking"]]
            pieces.append({"type": "signature_delta", "signature": block["signature"]})
        elif block["type"] == "text":
            pieces = [{"type": "text_delta", "text": letter} for letter in block["text"]]
        elif block["type"] == "tool_use" and block["input"]:
            text = json.dumps(block["input"])
            pieces = [{"type": "input_json_delta", "partial_json": text[i : i + 3]} for i in range(0, len(text), 3)]
        events.append({"type": "content_block_start", "index": at, "content_block": start})
        events += [{"type": "content_block_delta", "index": at, "delta": piece} for piece in pieces]
        events.append({"type": "content_block_stop", "index": at})
    events.append({"type": "message_delta", "delta": {"stop_reason": message["stop_reason"]}, "usage": {}})
    reader = anthropic_answer.Events()
    return [delta for event in [*events, {"type": "message_stop"}] for delta in reader.take(event)]


def _wire(delta: Delta, at: int) -> bytes:
    raw = wire_out.chunk(delta, REQUEST, first=at == 0)
    return raw + wire_out.DONE if delta.done else raw


def _streamed(said: list[tuple[bytes, Delta]]) -> dict[str, Any]:
    """The message a client puts together."""
    voice = MessageVoice("x", {"model": "m"}, 4)
    events = heard(b"".join(voice.piece(Delta(raw=raw, usage=delta.usage, done=delta.done)) for raw, delta in said))
    content: list[dict[str, Any]] = []
    inputs: dict[int, str] = {}
    for event in events:
        if event["type"] == "content_block_start":
            content.append(event["content_block"])
        elif event["type"] == "content_block_delta":
            delta, block = event["delta"], content[event["index"]]
            if delta["type"] == "input_json_delta":
                inputs[event["index"]] = inputs.get(event["index"], "") + delta["partial_json"]
            for name in ("text", "thinking", "signature"):
                if name in delta:
                    block[name] += delta[name]
    for at, text in inputs.items():
        content[at]["input"] = json.loads(text)
    return {"content": content, **events[-2]["delta"], "usage": events[-2]["usage"]}
