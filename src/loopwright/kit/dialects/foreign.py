"""What the canonical body carries for other dialects, and how to leave it out for upstreams that refuse what they do not know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

FOREIGN: Final[Mapping[str, str]] = {
    "cache_control": "on a content part, a message or a tool: Anthropic's mark of what its prompt cache should keep",
    "is_error": "on a tool's message: the tool failed",
    "thinking": "at the top: Anthropic's settings of thinking; `reasoning_effort` says about the same",
    "thinking_blocks": "on an assistant's message: its reasoning with Anthropic's signatures; `reasoning_content` has the text",
}
"""Each member and where it stands."""

_MARKS: Final = tuple(f'"{name}"'.encode() for name in FOREIGN)


def may_have_foreign(raw: bytes) -> bool:
    """Whether a body in bytes could hold foreign members; about a microsecond for a short prompt."""
    return any(mark in raw for mark in _MARKS)


def without_foreign(body: Mapping[str, Any]) -> dict[str, Any]:
    """A canonical body less its foreign members; texts, arguments and schemas are not looked into."""
    plain = {name: value for name, value in body.items() if name not in FOREIGN}
    if isinstance(plain.get("messages"), list):
        plain["messages"] = [_message(message) for message in plain["messages"]]
    if isinstance(plain.get("tools"), list):
        plain["tools"] = [_less(tool) for tool in plain["tools"]]
    return plain


def without_idle_choice(body: dict[str, Any]) -> None:
    """Take out what chooses among tools where there are none: OpenAI refuses it, others mean nothing by it."""
    if not body.get("tools"):
        if body.get("tool_choice") in ("auto", "none"):
            del body["tool_choice"]
        body.pop("parallel_tool_calls", None)


def plain(raw: bytes) -> bytes:
    """`raw` less foreign members; the very same bytes when it has none."""
    if not may_have_foreign(raw):
        return raw
    body = msgspec.json.decode(raw)
    return msgspec.json.encode(without_foreign(body)) if isinstance(body, dict) else raw


def _message(message: Any) -> Any:
    message = _less(message)
    if isinstance(message, dict) and isinstance(message.get("content"), list):
        message["content"] = [_less(part) for part in message["content"]]
    return message


def _less(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: item for name, item in value.items() if name not in FOREIGN}
