"""Turns what was asked and answered into texts that a rater reads. Every shape may be wrong: others wrote it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

LONGEST: Final = 60_000
"""Characters of one text before a rater."""
_CUT: Final = "\n[cut here]"


def question_of(body: Mapping[str, Any] | None) -> str:
    """What a request asks: its conversation, or the text it goes on from; empty when it has none."""
    if body is None:
        return ""
    if isinstance(body.get("messages"), Sequence) and not isinstance(body.get("messages"), str):
        return conversation(body["messages"])
    value = body.get("prompt", body.get("input"))
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        value = "\n".join(value)
    return clipped(value) if isinstance(value, str) else ""


def conversation(messages: Sequence[Any]) -> str:
    """A conversation to read: the text alone of one message, else each under who says it."""
    turns = [each for each in messages if isinstance(each, Mapping)]
    if len(turns) == 1:
        return clipped(_said(turns[0]))
    return clipped("\n\n".join(f"{_word(turn.get('role'))}: {_said(turn)}" for turn in turns))


def answer_of(body: Mapping[str, Any] | None) -> str:
    """What an answer says: the first of its choices, its tool calls as JSON; empty when there is none."""
    choices = (body or {}).get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        return ""
    message = choices[0].get("message")
    if not isinstance(message, Mapping):
        text = choices[0].get("text")
        return clipped(text) if isinstance(text, str) else ""
    return clipped(_said(message))


def variables(inputs: Mapping[str, Any]) -> str:
    """The inputs of an example to read."""
    messages = inputs.get("messages")
    if isinstance(messages, list) and len(inputs) == 1:
        return conversation(messages)
    if len(inputs) == 1:
        return clipped(plain(next(iter(inputs.values()))))
    return clipped("\n\n".join(f"{name}: {plain(value)}" for name, value in inputs.items()))


def plain(value: Any) -> str:
    """A text as it is, anything else as JSON."""
    if isinstance(value, str):
        return value
    try:
        return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    except (RecursionError, OverflowError, UnicodeEncodeError, TypeError):
        return "(cannot be shown)"


def clipped(text: str) -> str:
    """So much of a text as is shown; what is no Unicode is replaced."""
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= LONGEST else text[:LONGEST] + _CUT


def _said(message: Mapping[str, Any]) -> str:
    parts = []
    content = message.get("content")
    if isinstance(content, str):
        parts.append(content)
    elif isinstance(content, list):
        parts += [_part(each) for each in content if isinstance(each, Mapping)]
    refusal = message.get("refusal")
    if isinstance(refusal, str) and refusal:
        parts.append(f"[refusal] {refusal}")
    calls = message.get("tool_calls")
    if isinstance(calls, list) and calls:
        functions = [each.get("function", {}) for each in calls if isinstance(each, Mapping)]
        parts += [f"[tool] {plain(each)}" for each in functions]
    return "\n".join(part for part in parts if part)


def _part(part: Mapping[str, Any]) -> str:
    text = part.get("text")
    return text if isinstance(text, str) else f"[{_word(part.get('type'))}]"


def _word(value: Any) -> str:
    return value[:40] if isinstance(value, str) else "?"
