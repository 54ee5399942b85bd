"""Turns the JSON of a call into turns to read. Every shape may be wrong: clients, models and attackers wrote it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

TEXT_LIMIT = 60_000
"""Characters of one text on a page; the twin has all of it."""

_TOO_DEEP = "(nested too deeply to show)"

Turn = dict[str, Any]
"""role, name, text, cut, reasoning, notes, tools, answers, finish."""


def asked(operation: str, body: Mapping[str, Any] | None) -> list[Turn]:
    """The turns of a request."""
    if body is None:
        return []
    if operation == "chat":
        return [_turn(message) for message in _items(body.get("messages"))]
    field = "prompt" if operation == "completion" else "input"
    value = body.get(field)
    texts = value if isinstance(value, list) and not _is_tokens(value) else [value]
    return [_plain("user", _token_text(text)) for text in texts if text is not None]


def answered(operation: str, body: Mapping[str, Any] | None) -> list[Turn]:
    """The turns of an answer: one a choice."""
    if body is None:
        return []
    if operation == "embeddings":
        return _vectors(body)
    if operation == "moderations":
        return [_plain("assistant", _judgement(result)) for result in _items(body.get("results"))]
    turns = []
    for choice in _items(body.get("choices")):
        message = choice.get("message")
        if not isinstance(message, Mapping):
            message = {"role": "assistant", "content": choice.get("text")}
        turn = _turn({"role": "assistant", **message})
        finish = choice.get("finish_reason")
        turns.append({**turn, "finish": _short(finish)})
    return turns


def _judgement(result: Mapping[str, Any]) -> str:
    categories = result.get("categories")
    true = [plain(name) for name, said in categories.items() if said is True] if isinstance(categories, Mapping) else []
    return f"flagged: {', '.join(true) or 'yes'}" if result.get("flagged") is True else "not flagged"


def tools_offered(body: Mapping[str, Any] | None) -> list[dict[str, str]]:
    """Name and description of the tools a request offered."""
    offered = []
    for tool in _items((body or {}).get("tools")):
        function = tool.get("function")
        if isinstance(function, Mapping):
            about = function.get("description")
            offered.append({"name": plain(function.get("name")), "description": "" if about is None else plain(about)})
    return offered


def pretty(value: object, limit: int = 200_000) -> tuple[str, bool]:
    """JSON to read, and whether it was cut at `limit` characters."""
    try:
        text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    except RecursionError:
        text = _TOO_DEEP
    return text[:limit], len(text) > limit


def plain(value: object) -> str:
    """A text as it is, anything else as JSON in one line."""
    if isinstance(value, str):
        return value
    try:
        return msgspec.json.encode(value).decode()
    except RecursionError:
        return _TOO_DEEP


def _turn(message: Mapping[str, Any]) -> Turn:
    text, notes = _content(message.get("content"))
    turn = _plain(plain(message.get("role", "?"))[:40], text)
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    refusal = message.get("refusal")
    return {
        **turn,
        "name": _short(message.get("name")),
        "reasoning": reasoning[:TEXT_LIMIT] if isinstance(reasoning, str) else None,
        "notes": [*notes, *([f"refusal: {refusal}"] if isinstance(refusal, str) and refusal else [])],
        "tools": [_tool_call(call) for call in _items(message.get("tool_calls"))],
        "answers": _short(message.get("tool_call_id")),
    }


def _plain(role: str, text: str) -> Turn:
    return {
        "role": role,
        "name": None,
        "text": text[:TEXT_LIMIT],
        "cut": len(text) > TEXT_LIMIT,
        "reasoning": None,
        "notes": [],
        "tools": [],
        "answers": None,
        "finish": None,
    }


def _content(content: object) -> tuple[str, list[str]]:
    """The text of a message, and a line for each part that is no text (nothing is loaded from elsewhere)."""
    if content is None:
        return "", []
    if isinstance(content, str):
        return content, []
    texts: list[str] = []
    notes: list[str] = []
    for part in _items(content):
        text = part.get("text")
        if isinstance(text, str):
            texts.append(text)
            continue
        kind = plain(part.get("type", "part"))[:40]
        inner = part.get(kind)
        address = inner.get("url") if isinstance(inner, Mapping) else inner
        notes.append(f"{kind}: {_described(address)}" if isinstance(address, str) else kind)
    return "\n".join(texts), notes


def _described(address: str) -> str:
    if address.startswith("data:"):
        return f"{address[5:].partition(',')[0][:60]}, {len(address):,} characters inline"
    return address[:300]


def _tool_call(call: Mapping[str, Any]) -> dict[str, str]:
    function = call.get("function")
    inner = function if isinstance(function, Mapping) else {}
    arguments = inner.get("arguments", "")
    shown = plain(arguments)
    with suppress(msgspec.DecodeError, RecursionError):
        shown = msgspec.json.format(shown, indent=2)
    return {
        "id": plain(call.get("id", ""))[:80],
        "name": plain(inner.get("name", "?"))[:200],
        "arguments": shown[:TEXT_LIMIT],
    }


def _vectors(body: Mapping[str, Any]) -> list[Turn]:
    rows = _items(body.get("data"))
    if not rows:
        return []
    first = rows[0].get("embedding")
    size = f" of {len(first):,} dimensions" if isinstance(first, list) else " (base64)"
    return [_plain("assistant", f"{len(rows):,} vector{'' if len(rows) == 1 else 's'}{size}")]


def _items(value: object) -> list[Mapping[str, Any]]:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        return []
    return [item for item in value if isinstance(item, Mapping)]


def _is_tokens(value: Sequence[object]) -> bool:
    return bool(value) and all(isinstance(item, int) for item in value)


def _token_text(value: object) -> str:
    if isinstance(value, list):
        return f"{len(value):,} tokens: {' '.join(plain(item) for item in value[:64])}{' …' if len(value) > 64 else ''}"
    return plain(value)


def _short(value: object) -> str | None:
    return None if value is None else plain(value)[:200]
