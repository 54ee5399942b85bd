"""From the bytes a client was sent to the answer in OpenAI's non-streamed form. Pure; never raises, whatever comes.

A stream is put together as its reader would: texts joined, tool calls merged by index, the last finish reason kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode
_JOINED: Final = ("content", "refusal", "reasoning_content", "reasoning")
_MOST_CHOICES: Final = 1024
_FIRST_HEAD: Final = ("id", "created", "model")
_ANY_HEAD: Final = ("system_fingerprint", "service_tier")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer put together."""

    body: bytes
    """JSON, or the bytes as they came when they were neither JSON nor events with JSON."""
    finish: str | None
    """Of the first choice."""


class _Pieces(list[str]):
    """A text as its pieces: adding to a string for each event would take quadratic time."""


class _Choice(msgspec.Struct):
    finish_reason: str | None = None


class _Finished(msgspec.Struct):
    choices: list[_Choice] = []


_finished: Final = msgspec.json.Decoder(_Finished)


def read(answer: bytes, *, stream: bool) -> Answer:
    """The whole answer of `answer`, which is a JSON body or, with `stream`, server-sent events."""
    if stream:
        body = assemble(answer)
        if body is not None:
            choices = body.get("choices")
            return Answer(body=_encode(body), finish=_reason(choices[0]) if choices else None)
    if not answer:
        return Answer(body=b"", finish=None)
    try:
        whole = _finished.decode(answer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Answer(body=answer, finish=None)
    return Answer(body=answer, finish=whole.choices[0].finish_reason if whole.choices else None)


def assemble(events: bytes) -> dict[str, Any] | None:
    """The answer that a stream of chat or completion events makes up, or None when no event holds a JSON object.

    An error event puts its `error` into the result; usage is that of the last event that has one.
    """
    made: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    chat = True
    any_event = False
    for event in _events(events):
        any_event = True
        chat = _take_head(made, event, chat=chat)
        for piece in _dicts(event.get("choices")):
            index = _index(piece)
            if index not in choices and len(choices) >= _MOST_CHOICES:
                continue
            _take_choice(choices.setdefault(index, {"index": index}), piece)
    if not any_event:
        return None
    made["choices"] = [_closed(choices[index], chat=chat) for index in sorted(choices)]
    if "usage" in made:
        made["usage"] = made.pop("usage")
    return made


def _events(data: bytes) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    lines: list[bytes] = []
    for line in (*data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"), b""):
        if line.startswith(b"data:"):
            lines.append(line[5:].strip())
        elif not line and lines:
            payload = b"\n".join(lines)
            lines.clear()
            if payload != b"[DONE]":
                try:
                    event = _decode(payload)
                except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                    continue
                if isinstance(event, dict):
                    found.append(event)
    return found


def _take_head(made: dict[str, Any], event: dict[str, Any], *, chat: bool) -> bool:
    """Note everything of an event but its choices; whether this is a chat."""
    kind = event.get("object")
    if kind == "text_completion":
        chat = False
    if "object" not in made and "error" not in event:
        for name in _FIRST_HEAD[:1]:
            if name in event:
                made[name] = event[name]
        made["object"] = "chat.completion" if chat else "text_completion"
        for name in _FIRST_HEAD[1:]:
            if name in event:
                made[name] = event[name]
    for name in (*_ANY_HEAD, "usage", "error", "loopwright"):
        value = event.get(name)
        if value is not None:
            made[name] = value
    return chat


def _take_choice(choice: dict[str, Any], piece: dict[str, Any]) -> None:
    if isinstance(piece.get("text"), str):
        choice.setdefault("text", _Pieces()).append(piece["text"])
    delta = piece.get("delta")
    if isinstance(delta, dict):
        _take_delta(choice.setdefault("message", {}), delta)
    if isinstance(piece.get("logprobs"), dict):
        _extend(choice.setdefault("logprobs", {}), piece["logprobs"])
    if piece.get("finish_reason") is not None:
        choice["finish_reason"] = piece["finish_reason"]


def _take_delta(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        if name == "tool_calls":
            for call in _dicts(value):
                _take_tool_call(message.setdefault("tool_calls", {}), call)
        elif name == "thinking_blocks":
            message.setdefault(name, []).extend(_dicts(value))
        elif name == "function_call":
            if isinstance(value, dict):
                _join(message.setdefault("function_call", {}), value)
        elif name in _JOINED and isinstance(value, str):
            before = message.get(name)
            if isinstance(before, _Pieces):
                before.append(value)
            else:
                message[name] = _Pieces([value])
        elif value is not None or name not in message:
            message[name] = value


def _take_tool_call(calls: dict[int, dict[str, Any]], piece: dict[str, Any]) -> None:
    index = _index(piece)
    if index not in calls and len(calls) >= _MOST_CHOICES:
        return
    call = calls.setdefault(index, {})
    for name in ("id", "type"):
        if isinstance(piece.get(name), str) and piece[name]:
            call[name] = piece[name]
    for name in ("function", "custom"):
        if isinstance(piece.get(name), dict):
            _join(call.setdefault(name, {}), piece[name])


def _join(into: dict[str, Any], piece: dict[str, Any]) -> None:
    """A name comes whole and perhaps again; everything else of a function comes in pieces."""
    for name, value in piece.items():
        if not isinstance(value, str):
            into.setdefault(name, value)
        elif name == "name":
            into[name] = value or into.get(name, "")
        elif isinstance(into.get(name), _Pieces):
            into[name].append(value)
        else:
            into[name] = _Pieces([value])


def _extend(into: dict[str, Any], piece: dict[str, Any]) -> None:
    for name, value in piece.items():
        before = into.get(name)
        if isinstance(before, list) and isinstance(value, list):
            before.extend(value)
        elif value is not None or name not in into:
            into[name] = list(value) if isinstance(value, list) else value


def _closed(choice: dict[str, Any], *, chat: bool) -> dict[str, Any]:
    """A choice as the non-streamed form has it."""
    closed: dict[str, Any] = {"index": choice["index"]}
    if chat:
        message = {"role": "assistant", "content": None} | choice.get("message", {})
        if isinstance(message.get("tool_calls"), dict):
            calls = message["tool_calls"]
            message["tool_calls"] = [_whole(calls[index]) for index in sorted(calls)]
        closed["message"] = _whole(message)
    if not chat or "text" in choice:
        closed["text"] = "".join(choice.get("text", ()))
    if "logprobs" in choice:
        closed["logprobs"] = choice["logprobs"]
    closed["finish_reason"] = choice.get("finish_reason")
    return closed


def _whole(value: Any) -> Any:
    """`value` with its pieces joined; only what this file nested is looked into."""
    if isinstance(value, _Pieces):
        return "".join(value)
    if isinstance(value, dict):
        return {name: _whole(item) if isinstance(item, _Pieces | dict) else item for name, item in value.items()}
    return value


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _index(piece: dict[str, Any]) -> int:
    index = piece.get("index", 0)
    return index if isinstance(index, int) and not isinstance(index, bool) else 0


def _reason(choice: dict[str, Any]) -> str | None:
    reason = choice.get("finish_reason")
    return reason if isinstance(reason, str) else None
