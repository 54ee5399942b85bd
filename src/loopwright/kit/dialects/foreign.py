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
HISTORY: Final[Mapping[str, str]] = {
    "reasoning_content": "on an assistant's message: the text of its thoughts, as DeepSeek names it",
    "reasoning": "the same, as OpenRouter and newer vLLM name it",
    "reasoning_details": "on an assistant's message: OpenRouter's blocks of thoughts",
    "extra_content": "on an assistant's message or its tool calls: Gemini's signatures",
    "annotations": "on an assistant's message: OpenAI's marks of its sources",
    "audio": "on an assistant's message: the id of what it said aloud",
    "refusal": "on an assistant's message: its refusal; elsewhere that is its text",
}
"""What clients send back of an answer, and where it stands. Strict upstreams refuse the whole request for it."""
PARTICULAR: Final = frozenset({*FOREIGN, *HISTORY})
"""Members that only some upstreams accept."""

_MARKS: Final = tuple(f'"{name}"'.encode() for name in FOREIGN)
_ASSISTANT: Final = b'"assistant"'


def may_have_foreign(raw: bytes) -> bool:
    """Whether a body in bytes could hold foreign members; about a microsecond for a short prompt."""
    return any(mark in raw for mark in _MARKS)


class Sieve:
    """Leaves out members that an upstream does not accept."""

    __slots__ = ("_early", "_late", "_names")

    def __init__(self, names: frozenset[str]) -> None:
        """`names`: of `PARTICULAR`."""
        self._names = names
        self._early = tuple(f'"{name}"'.encode() for name in sorted(names & FOREIGN.keys()))
        self._late = tuple(f'"{name}"'.encode() for name in sorted(names & HISTORY.keys()))

    def may_hold(self, raw: bytes) -> bool:
        """Whether a body in bytes could hold any of them; those of history are looked for only where there is some."""
        if any(mark in raw for mark in self._early):
            return True
        return bool(self._late) and _ASSISTANT in raw and any(mark in raw for mark in self._late)

    def less(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """A canonical body less them; texts, arguments and schemas are not looked into."""
        foreign = self._names & FOREIGN.keys()
        plain = {name: value for name, value in body.items() if name not in foreign}
        if isinstance(plain.get("messages"), list):
            plain["messages"] = [self._message(message, foreign) for message in plain["messages"]]
        if isinstance(plain.get("tools"), list):
            plain["tools"] = [_less(tool, foreign) for tool in plain["tools"]]
        return plain

    def _message(self, message: Any, foreign: frozenset[str]) -> Any:
        if not isinstance(message, dict):
            return message
        assistant = message.get("role") == "assistant"
        kept: dict[str, Any] = _less(message, self._names if assistant else foreign)
        if isinstance(kept.get("content"), list):
            kept["content"] = [_less(part, foreign) for part in kept["content"]]
        if assistant:
            if isinstance(kept.get("tool_calls"), list):
                kept["tool_calls"] = [_less(call, self._names) for call in kept["tool_calls"]]
            if "refusal" in self._names and message.get("refusal") and not kept.get("content"):
                kept["content"] = message["refusal"]
        return kept


def without_idle_choice(body: dict[str, Any]) -> None:
    """Take out what chooses among tools where there are none: OpenAI refuses it, others mean nothing by it."""
    if not body.get("tools"):
        if body.get("tool_choice") in ("auto", "none"):
            del body["tool_choice"]
        body.pop("parallel_tool_calls", None)


_FOREIGN: Final = Sieve(frozenset(FOREIGN))


def plain(raw: bytes) -> bytes:
    """`raw` less foreign members; the very same bytes when it has none."""
    if not may_have_foreign(raw):
        return raw
    body = msgspec.json.decode(raw)
    return msgspec.json.encode(_FOREIGN.less(body)) if isinstance(body, dict) else raw


def _less(value: Any, names: frozenset[str]) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: item for name, item in value.items() if name not in names}
