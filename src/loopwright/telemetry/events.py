"""Messages told as events, one by one or together, as the attributes that newer programs tell them by. Pure; never raises."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from loopwright.telemetry.reading import parsed

DETAILS: Final = "gen_ai.client.inference.operation.details"
_ROLES: Final[Mapping[str, str]] = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
}
_CHOICE: Final = "gen_ai.choice"
_CONTENT: Final[Mapping[str, str]] = {
    "gen_ai.content.prompt": "gen_ai.prompt",
    "gen_ai.content.completion": "gen_ai.completion",
}
TOLD: Final = frozenset((DETAILS, _CHOICE, *_ROLES, *_CONTENT))
"""Events that hold what was said."""


def said_in(events: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Attributes that tell what `events` (name, what it says) tell; none when they tell nothing of that kind."""
    found: dict[str, Any] = {}
    asked: list[dict[str, Any]] = []
    answered: list[dict[str, Any]] = []
    for name, told in events:
        if name == DETAILS:
            found |= told
        elif name in _CONTENT:
            if _CONTENT[name] in told:
                found[_CONTENT[name]] = told[_CONTENT[name]]
        elif name in _ROLES:
            asked.append({"role": _ROLES[name], **_plain(told)})
        elif name == _CHOICE:
            message = _plain(told)
            inner = parsed(message.get("message"))
            answered.append({"role": "assistant", **message, **(inner if isinstance(inner, dict) else {})})
    if asked:
        found["gen_ai.input.messages"] = asked
    if answered:
        found["gen_ai.output.messages"] = answered
    return found


def _plain(told: Mapping[str, Any]) -> dict[str, Any]:
    """Members of a message, which some tell as JSON in texts."""
    return {name: parsed(value) if name in ("tool_calls", "message") else value for name, value in told.items()}
