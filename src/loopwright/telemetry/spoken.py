"""What was asked and answered, as text to read: of calls in OpenAI's form, of spans in whatever form they said it.

Every shape may be wrong: programs, models and attackers wrote it. Nothing here raises.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

TEXT: Final = 20_000
"""Characters of one text."""
_MEMBERS: Final = (
    "question", "query", "input", "prompt", "message", "text", "content", "output", "answer", "response", "result",
)  # fmt: skip
_DEEP: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """A tool that a model asked for, or a step that was taken on the way to an answer."""

    name: str
    kind: str
    failed: bool = False
    duration_us: int | None = None

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {"name": self.name, "kind": self.kind, "failed": self.failed, "duration_us": self.duration_us}


def question_of(request: Mapping[str, Any] | None) -> str | None:
    """What a call was asked last: its last user message, its prompt, or the inputs of a task."""
    if request is None:
        return None
    messages = _listed(request.get("messages"))
    for message in reversed(messages):
        if message.get("role") == "user" and (said := text_of(message.get("content"))):
            return said
    aside = request.get("loopwright")
    variables = aside.get("variables") if isinstance(aside, Mapping) else None
    for value in (variables, request.get("prompt"), request.get("input")):
        if said := text_of(value):
            return said
    return text_of(messages[-1].get("content")) if messages else None


def answer_of(response: Mapping[str, Any] | None) -> str | None:
    """What a call answered: the text of its first choice."""
    for choice in _listed((response or {}).get("choices")):
        message = choice.get("message")
        found = message if isinstance(message, Mapping) else {"content": choice.get("text")}
        return text_of(found.get("content")) or text_of(found.get("refusal"))
    return None


def tools_of(request: Mapping[str, Any] | None, response: Mapping[str, Any] | None) -> list[Used]:
    """Tools that a model asked for, since the last user message and in its answer."""
    found: list[Used] = []
    for message in reversed(_listed((request or {}).get("messages"))):
        if message.get("role") == "user":
            break
        found = [*_asked_for(message), *found]
    for choice in _listed((response or {}).get("choices")):
        message = choice.get("message")
        found += _asked_for(message) if isinstance(message, Mapping) else []
    return found[:50]


def told_of(value: object) -> str | None:
    """As `text_of`, of what a span says, where JSON often comes as a text."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            return text_of(value)
    return text_of(value)


def text_of(value: object, depth: int = _DEEP) -> str | None:
    """The text in a value: itself, of messages the last one's, of an object the member that is its text; else JSON."""
    if value is None or value in ("", {}, []):
        return None
    if isinstance(value, str):
        return value[:TEXT]
    if depth > 0 and isinstance(value, Mapping):
        return _member(value, depth)
    if depth > 0 and isinstance(value, Sequence) and not isinstance(value, bytes):
        if all(isinstance(part, Mapping) and isinstance(part.get("text"), str) for part in value):
            return "\n".join(part["text"] for part in value)[:TEXT]
        said = [text for part in value[-1:] if isinstance(part, Mapping) and (text := text_of(part, depth - 1))]
        if said:
            return said[0]
    return _json(value)


def _member(value: Mapping[Any, Any], depth: int) -> str | None:
    messages = value.get("messages")
    if isinstance(messages, Sequence) and messages and not isinstance(messages, str):
        return text_of(messages, depth - 1)
    parts = value.get("parts")
    if isinstance(parts, Sequence) and parts and not isinstance(parts, str):
        texts = [part.get("content") for part in parts if isinstance(part, Mapping)]
        if said := "\n".join(text for text in texts if isinstance(text, str)):
            return said[:TEXT]
    for name in _MEMBERS:
        if name in value and (isinstance(value[name], str) or len(value) <= 3):
            return text_of(value[name], depth - 1)
    if len(value) == 1:
        return text_of(next(iter(value.values())), depth - 1)
    return _json(value)


def _asked_for(message: Mapping[str, Any]) -> list[Used]:
    names = []
    for call in _listed(message.get("tool_calls")):
        function = call.get("function")
        name = function.get("name") if isinstance(function, Mapping) else None
        names.append(Used(name=str(name)[:200] if name else "?", kind="tool"))
    return names


def _json(value: object) -> str:
    try:
        return msgspec.json.encode(value).decode("utf-8", "replace")[:TEXT]
    except (TypeError, ValueError, RecursionError):
        return "(cannot be shown)"


def _listed(value: object) -> list[Mapping[str, Any]]:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        return []
    return [item for item in value if isinstance(item, Mapping)]
