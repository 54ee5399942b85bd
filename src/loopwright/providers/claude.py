"""What Anthropic's own API and Bedrock share: what the families of Claude take and refuse, and answers as Deltas."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from loopwright.core.chat import Delta
from loopwright.core.money import Usage
from loopwright.providers.conversation import Conversation, Text, Thinking, ToolCall, ToolResult
from loopwright.providers.parameters import Parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One generation of models."""

    pattern: re.Pattern[str]
    limit: int
    """Tokens of an answer when nobody says: every model of the family can give as many."""
    thinking: Literal["none", "budget", "adaptive"]
    """How thoughts are asked for: not at all, with a number of tokens, or by effort."""
    sampling: Literal["none", "one", "free"] = "free"
    """`temperature`, `top_p`, `top_k`: refused; `temperature` or `top_p` but not both; as you like."""
    schemas: bool = True
    """`output_config.format` holds the answer to a JSON schema."""


def _family(pattern: str, limit: int, thinking: Literal["none", "budget", "adaptive"], **more: Any) -> Family:
    return Family(pattern=re.compile(pattern), limit=limit, thinking=thinking, **more)


FAMILIES: Final = (
    _family(r"claude-(instant|v?2|3-(opus|sonnet|haiku))", 4_096, "none", schemas=False),
    _family(r"claude-3-5", 8_192, "none", schemas=False),
    _family(r"claude-3-7", 32_000, "budget", schemas=False),
    _family(r"claude-opus-4-1", 32_000, "budget", sampling="one"),
    _family(r"claude-(opus|sonnet|haiku)-4-5", 32_000, "budget", sampling="one"),
    _family(r"claude-(opus|sonnet)-4-6", 32_000, "adaptive", sampling="one"),
    _family(r"claude-(opus|sonnet)-4(-0|-20\d|@|$)", 32_000, "budget", schemas=False),
    _family(r"", 32_000, "adaptive", sampling="none"),
)
"""The first whose pattern is found in the model's name; the last is whatever is newer than this list."""
_BUDGETS: Final = {"minimal": 1_024, "low": 4_096, "medium": 8_192, "high": 16_384, "xhigh": 24_576}
"""Tokens of thought for `reasoning_effort`, where they are asked for by number."""
_LEAST_BUDGET: Final = 1_024


def family_of(model: str) -> Family:
    """The family a name belongs to, as Anthropic, Bedrock or Vertex writes it."""
    return next(family for family in FAMILIES if family.pattern.search(model))


def thinking(asked: Parameters, talk: Conversation, family: Family, *, limit: int) -> dict[str, Any]:
    """`thinking` and `output_config` for `reasoning_effort`; empty when no thoughts are asked for or possible.

    Thoughts stay off while a tool loop goes on whose thoughts the client did not give back: Anthropic refuses that.
    """
    effort = asked.effort
    if effort is None or family.thinking == "none" or asked.choice.mode in ("required", "named"):
        return {}
    if effort == "none" or _unsigned(talk):
        return {"thinking": {"type": "disabled"}} if family.thinking == "budget" else {}
    if family.thinking == "adaptive":
        level = "low" if effort == "minimal" else "high" if effort == "xhigh" and family.sampling == "one" else effort
        shown = {"type": "adaptive", "display": "summarized"}
        return {"thinking": shown, "output_config": {"effort": level}}
    budget = min(_BUDGETS[effort], limit // 2 if limit <= _BUDGETS[effort] else limit)
    if budget < _LEAST_BUDGET or limit <= _LEAST_BUDGET:
        return {}
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}


def _unsigned(talk: Conversation) -> bool:
    """The last turn answers calls that were made without signed thoughts."""
    if len(talk.turns) < 2 or not any(isinstance(part, ToolResult) for part in talk.turns[-1].parts):
        return False
    parts = talk.turns[-2].parts
    return any(isinstance(part, ToolCall) for part in parts) and not any(isinstance(p, Thinking) for p in parts)


def sampling(asked: Parameters, family: Family, *, thinks: bool) -> dict[str, Any]:
    """`temperature` (0…1 here: more is 1), `top_p`, `top_k`, as far as the family takes them."""
    if family.sampling == "none" or thinks:
        return {}
    taken: dict[str, Any] = {}
    if asked.temperature is not None:
        taken["temperature"] = min(asked.temperature, 1.0)
    if asked.top_p is not None and not (taken and family.sampling == "one"):
        taken["top_p"] = asked.top_p
    if asked.top_k is not None:
        taken["top_k"] = asked.top_k
    return taken


def unfinished(talk: Conversation) -> Conversation:
    """The conversation with the blanks cut that end an answer to be continued: Anthropic refuses them there."""
    last = talk.turns[-1]
    if last.role != "assistant" or not last.parts or not isinstance(last.parts[-1], Text):
        return talk
    kept = last.parts[-1].text.rstrip()
    parts = (*last.parts[:-1], Text(text=kept, cache=last.parts[-1].cache)) if kept else last.parts[:-1]
    turns = (*talk.turns[:-1], type(last)(role=last.role, parts=parts)) if parts else talk.turns[:-1]
    return Conversation(system=talk.system, turns=turns)


FINISHES: Final[Mapping[str, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
}
"""Why an answer ended: Anthropic's and Converse's words to OpenAI's."""


def answer_of(
    texts: Sequence[str],
    thoughts: Sequence[Mapping[str, Any]],
    calls: Sequence[Mapping[str, Any]],
    *,
    finish: str,
    usage: Usage | None,
) -> Delta:
    """A whole answer: its texts, its blocks of thoughts in Anthropic's form, its tool calls in OpenAI's."""
    extra: dict[str, Any] = {}
    reasoning = "".join(str(block.get("thinking") or "") for block in thoughts)
    if reasoning:
        extra["reasoning_content"] = reasoning
    if thoughts:
        extra["thinking_blocks"] = thoughts
    if calls:
        extra["tool_calls"] = calls
        if not texts:
            extra["content"] = None
    return Delta(text="".join(texts), extra=extra or None, finish=finish, usage=usage, done=True)


def tool_call(index: int, call_id: Any, name: Any, arguments: str) -> dict[str, Any]:
    """A tool call, or how one begins, in OpenAI's form; `arguments` is JSON."""
    function = {"name": str(name or ""), "arguments": arguments}
    return {"index": index, "id": str(call_id or ""), "type": "function", "function": function}


def arguments_of(index: int, piece: str) -> Delta:
    """More of the arguments of a tool call."""
    return Delta(extra={"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
