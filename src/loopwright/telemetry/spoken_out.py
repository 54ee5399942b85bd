"""What was asked and answered as the GenAI conventions write it: messages of parts. From OpenAI's form; pure, never raises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

_MOST: Final = 2_000
"""Messages."""
_decode: Final = msgspec.json.Decoder().decode
Message = dict[str, Any]


def input_messages(request: Mapping[str, Any]) -> list[Message]:
    """`gen_ai.input.messages` of a request; none when it has no text."""
    messages = request.get("messages")
    if isinstance(messages, Sequence) and not isinstance(messages, str):
        return [_message(each) for each in messages[:_MOST] if isinstance(each, Mapping)]
    given = request.get("prompt", request.get("input", request.get("query")))
    texts = given if isinstance(given, list) else [given]
    return [
        {"role": "user", "parts": [{"type": "text", "content": text}]}
        for text in texts[:_MOST]
        if isinstance(text, str)
    ]


def output_messages(response: Mapping[str, Any]) -> list[Message]:
    """`gen_ai.output.messages` of an answer; none when it has no choices."""
    choices = response.get("choices")
    found: list[Message] = []
    for each in choices[:_MOST] if isinstance(choices, list) else ():
        if not isinstance(each, Mapping):
            continue
        message = each.get("message")
        if not isinstance(message, Mapping):
            message = {"role": "assistant", "content": each.get("text")}
        found.append(
            {**_message({"role": "assistant", **message}), "finish_reason": _finish(each.get("finish_reason"))}
        )
    return found


def tool_definitions(request: Mapping[str, Any]) -> list[Any]:
    """`gen_ai.tool.definitions` of a request."""
    tools = request.get("tools")
    return [
        {"type": "function", **each["function"]}
        if isinstance(each, Mapping) and isinstance(each.get("function"), Mapping)
        else each
        for each in (tools if isinstance(tools, list) else [])
    ]


def _finish(reason: Any) -> str:
    return {"tool_calls": "tool_call", "function_call": "tool_call"}.get(str(reason), str(reason or "stop"))


def _message(told: Mapping[str, Any]) -> Message:
    role = str(told.get("role", "user"))
    if role == "tool":
        part = {"type": "tool_call_response", "id": _text(told.get("tool_call_id")), "response": told.get("content")}
        return {"role": "tool", "parts": [part]}
    parts: list[dict[str, Any]] = []
    reasoning = told.get("reasoning_content", told.get("reasoning"))
    if isinstance(reasoning, str) and reasoning:
        parts.append({"type": "reasoning", "content": reasoning})
    parts += _parts(told.get("content"))
    if isinstance(told.get("refusal"), str) and told["refusal"]:
        parts.append({"type": "text", "content": told["refusal"]})
    calls = told.get("tool_calls")
    parts += [_tool_call(each) for each in (calls if isinstance(calls, list) else []) if isinstance(each, Mapping)]
    message: Message = {"role": role, "parts": parts}
    if isinstance(told.get("name"), str):
        message["name"] = told["name"]
    return message


def _parts(content: Any) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "content": content}] if content else []
    return [_part(each) for each in content if isinstance(each, Mapping)] if isinstance(content, list) else []


def _part(told: Mapping[str, Any]) -> dict[str, Any]:
    """A text, or what kind of thing there was: pictures and sounds are named, their bytes are not sent on."""
    if isinstance(told.get("text"), str):
        return {"type": "text", "content": told["text"]}
    kind = str(told.get("type", "other"))
    picture = told.get("image_url")
    uri = picture.get("url") if isinstance(picture, Mapping) else None
    if isinstance(uri, str) and not uri.startswith("data:"):
        return {"type": "uri", "modality": "image", "uri": uri}
    return {"type": kind[:64]}


def _tool_call(told: Mapping[str, Any]) -> dict[str, Any]:
    function = told.get("function")
    function = function if isinstance(function, Mapping) else {}
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        with suppress(msgspec.MsgspecError, RecursionError, UnicodeError):
            arguments = _decode(arguments)
    return {
        "type": "tool_call",
        "id": _text(told.get("id")),
        "name": str(function.get("name", "")),
        "arguments": arguments,
    }


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
