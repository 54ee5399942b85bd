"""What every dialect of the upstream says: its thoughts, and an answer in OpenAI's form taken apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from loopwright.testing.answers import JSON, Answer

THOUGHT: Final = "Let me think. "
"""What it thinks, when it is asked to think, in two pieces."""
SIGNATURE: Final = "c2lnbmVkIGJ5IHRoZSB0ZXN0"


def turns(messages: list[Mapping[str, Any]]) -> list[JSON]:
    """Anthropic's and Converse's messages as OpenAI's, as far as an answer depends on them."""
    turns: list[JSON] = []
    for message in messages:
        content = message["content"]
        blocks = [{"text": content}] if isinstance(content, str) else content
        answers = any("toolResult" in block or block.get("type") == "tool_result" for block in blocks)
        text = "".join(str(block.get("text") or "") for block in blocks)
        turns.append({"role": "tool" if answers else message["role"], "content": text})
    return turns


def message(found: Answer) -> JSON:
    """What the first choice says."""
    said: JSON = found.body["choices"][0]["message"]
    return said


def pieces(found: Answer) -> tuple[list[str], JSON | None, list[str]]:
    """The texts of a stream; the call with its arguments in pieces, if it calls."""
    deltas = [event["choices"][0]["delta"] for event in found.events]
    texts = [delta["content"] for delta in deltas if delta.get("content")]
    calls = [call for delta in deltas for call in delta.get("tool_calls") or ()]
    arguments = [call["function"]["arguments"] for call in calls[1:]]
    return texts, calls[0] if calls else None, arguments


def reason(found: Answer, names: Mapping[str, str]) -> str:
    """Why the first choice ended, in a dialect's word."""
    return names[str(found.body["choices"][0]["finish_reason"])]
