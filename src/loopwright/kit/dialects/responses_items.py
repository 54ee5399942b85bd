"""The items of OpenAI's Responses as a chat's messages: what one turn said in several items becomes one message. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

from loopwright.core.errors import BadRequest

FREE_TEXT: Final = "input"
"""The one argument of the function that stands for a custom tool."""
_RESULTS: Final = frozenset({"function_call_output", "custom_tool_call_output"})


class _InputText(msgspec.Struct, tag="input_text"):
    text: str


class _OutputText(msgspec.Struct, tag="output_text"):
    text: str


class _BareText(msgspec.Struct, tag="text"):
    text: str


class _SummaryText(msgspec.Struct, tag="summary_text"):
    text: str


class _ReasoningText(msgspec.Struct, tag="reasoning_text"):
    text: str


class _Refusal(msgspec.Struct, tag="refusal"):
    refusal: str


class _Image(msgspec.Struct, tag="input_image"):
    image_url: str | None = None
    file_id: str | None = None
    detail: str | None = None


class _File(msgspec.Struct, tag="input_file"):
    file_data: str | None = None
    file_id: str | None = None
    file_url: str | None = None
    filename: str | None = None


class _Sound(msgspec.Struct):
    data: str
    format: str


class _Audio(msgspec.Struct, tag="input_audio"):
    input_audio: _Sound


_Part = _InputText | _OutputText | _BareText | _SummaryText | _ReasoningText | _Refusal | _Image | _File | _Audio
_Words = _InputText | _OutputText | _BareText | _SummaryText | _ReasoningText


class Item(msgspec.Struct):
    """Any item of `input`: messages need no `type`, so the fields of all kinds are here."""

    type: str = "message"
    role: Literal["user", "assistant", "system", "developer"] | None = None
    content: str | list[_Part] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    input: str | None = None
    output: str | list[_Part] | None = None
    summary: list[_Part] | None = None
    encrypted_content: str | None = None


def messages_of(items: Sequence[Item]) -> list[dict[str, Any]]:
    """The messages that `input` makes up.

    Raises:
        BadRequest: an item that a chat cannot hold; `param` names it.
    """
    messages: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []  # that tools brought: they follow the last result
    for at, item in enumerate(items):
        where = f"input[{at}]"
        if images and item.type not in _RESULTS:
            messages.append({"role": "user", "content": images})
            images = []
        if item.type == "message":
            _message(item, where, messages)
        elif item.type == "reasoning":
            _think(item, _open_turn(messages, before=("content", "tool_calls")))
        elif item.type in ("function_call", "custom_tool_call"):
            _call(item, where, _open_turn(messages))
        elif item.type in _RESULTS:
            images += _result(item, where, messages)
        else:
            hint = "send the item itself, or previous_response_id" if item.type == "item_reference" else "leave it out"
            raise BadRequest(f"{where}.type: items of type {item.type!r} have no place here: {hint}", param=where)
    if images:
        messages.append({"role": "user", "content": images})
    return messages


def sealed(blocks: list[dict[str, Any]]) -> str:
    """Signed reasoning as `encrypted_content`: a client hands it back as it is."""
    return base64.b64encode(msgspec.json.encode(blocks)).decode()


def _unsealed(text: str) -> list[dict[str, Any]]:
    """Signed reasoning that was sealed here; nothing for what somebody else encrypted."""
    try:
        return msgspec.json.decode(base64.b64decode(text, validate=True), type=list[dict[str, Any]])
    except (msgspec.DecodeError, binascii.Error, ValueError):
        return []


def free_text(arguments: str) -> str:
    """The input of a custom tool in the arguments of its function; the arguments as they are when it is not there."""
    try:
        found = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return arguments
    held = found.get(FREE_TEXT) if isinstance(found, dict) else None
    return held if isinstance(held, str) else arguments


def _message(item: Item, where: str, messages: list[dict[str, Any]]) -> None:
    if item.role is None or item.content is None:
        missing = "role" if item.role is None else "content"
        raise BadRequest(f"{where}.{missing}: is required", param=f"{where}.{missing}")
    if item.role != "assistant":
        messages.append({"role": item.role, "content": _content(item.content, f"{where}.content")})
        return
    parts = [_OutputText(item.content)] if isinstance(item.content, str) else item.content
    message = _open_turn(messages, before=("content", "tool_calls"))
    for at, part in enumerate(parts):
        if isinstance(part, _Refusal):
            message["refusal"] = message.get("refusal", "") + part.refusal
        elif isinstance(part, _Words):
            message["content"] = (message["content"] or "") + part.text
        else:
            here = f"{where}.content[{at}]"
            raise BadRequest(f"{here}.type: the assistant says text only", param=here)
    if message["content"] is None and not message.get("refusal"):
        message["content"] = ""


def _open_turn(messages: list[dict[str, Any]], before: Sequence[str] = ()) -> dict[str, Any]:
    """The assistant's message that goes on; a new one when another spoke, or when it has one of `before` already."""
    last = messages[-1] if messages else None
    if last is None or last["role"] != "assistant" or any(last.get(name) is not None for name in before):
        last = {"role": "assistant", "content": None}
        messages.append(last)
    return last


def _think(item: Item, message: dict[str, Any]) -> None:
    content = item.content if isinstance(item.content, list) else []
    parts = content or item.summary or []
    said = "".join(part.text for part in parts if isinstance(part, _Words))
    if said:
        message["reasoning_content"] = message.get("reasoning_content", "") + said
    signed = _unsealed(item.encrypted_content or "")
    if signed:
        message["thinking_blocks"] = [*message.get("thinking_blocks", []), *signed]


def _call(item: Item, where: str, message: dict[str, Any]) -> None:
    free = item.type == "custom_tool_call"
    for name in ("call_id", "name", "input" if free else "arguments"):
        if getattr(item, name) is None:
            raise BadRequest(f"{where}.{name}: is required", param=f"{where}.{name}")
    arguments = msgspec.json.encode({FREE_TEXT: item.input}).decode() if free else item.arguments
    function = {"name": item.name, "arguments": arguments}
    calls = message.setdefault("tool_calls", [])
    calls.append({"id": item.call_id, "type": "function", "function": function})


def _result(item: Item, where: str, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Adds the result's message; the images it brought, for a chat's tools answer with text only."""
    for name in ("call_id", "output"):
        if getattr(item, name) is None:
            raise BadRequest(f"{where}.{name}: is required", param=f"{where}.{name}")
    output = _content(item.output, f"{where}.output")
    texts, images = output, []
    if isinstance(output, list):
        texts = [part for part in output if part["type"] == "text"]
        images = [part for part in output if part["type"] != "text"]
        texts = texts[0]["text"] if len(texts) == 1 else texts or ""
    messages.append({"role": "tool", "tool_call_id": item.call_id, "content": texts})
    return [{"type": "text", "text": f"From the result of {item.call_id}:"}, *images] if images else []


def _content(content: str | list[_Part] | None, where: str) -> Any:
    """A single text as a string, which every model takes; anything else as parts."""
    if content is None or isinstance(content, str):
        return content or ""
    parts = [_part(part, f"{where}[{at}]") for at, part in enumerate(content)]
    if len(parts) == 1 and parts[0]["type"] == "text":
        return parts[0]["text"]
    return parts or ""


def _part(part: _Part, where: str) -> dict[str, Any]:
    if isinstance(part, _Words):
        return {"type": "text", "text": part.text}
    if isinstance(part, _Refusal):
        return {"type": "text", "text": part.refusal}
    if isinstance(part, _Image):
        if part.image_url is None:
            raise BadRequest(f"{where}.image_url: is required, a URL or a data URL", param=f"{where}.image_url")
        detail = {} if part.detail is None else {"detail": part.detail}
        return {"type": "image_url", "image_url": {"url": part.image_url, **detail}}
    if isinstance(part, _Audio):
        return {"type": "input_audio", "input_audio": msgspec.to_builtins(part.input_audio)}
    if part.file_data is None:
        raise BadRequest(f"{where}.file_data: is required, a data URL", param=f"{where}.file_data")
    return {"type": "file", "file": {"filename": part.filename or "file", "file_data": part.file_data}}
