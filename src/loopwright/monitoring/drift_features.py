"""What is looked at of a call for drift: the texts that are embedded, and numbers. Knows no table and no statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from loopwright.core.call import CallDetail
from loopwright.datasets.example import Example
from loopwright.evals.evaluator import Output, Tools
from loopwright.evals.language import language
from loopwright.evals.safety import Refusal
from loopwright.kit import wire_read

CLIP: Final = 1_000
"""Characters of a text that are embedded: about what MiniLM reads."""
_REFUSAL: Final = Refusal(kind="refusal", name="refusal", args={}, tools=Tools())
_NOTHING: Final = Example(id="", inputs={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """Of one call."""

    call_id: str
    key_id: int
    input: str
    """What was asked: the last words of the user, or the inputs of a task; clipped."""
    output: str | None
    """What was answered, clipped; None where there is no text."""
    input_length: int
    """Characters."""
    output_length: int | None
    language: str | None
    output_language: str | None
    refused: bool | None
    """Whether the answer begins as refusals do (evaluator `refusal`); None without an answer."""
    malformed: bool | None
    """Whether the answer is not the JSON that was asked for; None where none was."""


def features(detail: CallDetail) -> Features | None:
    """What there is to see of a call; None when its texts are not here, or it is no question."""
    call, request = detail.call, detail.request
    if request is None or call.operation not in ("chat", "completion"):
        return None
    if call.outcome != "ok" and call.error_code != "invalid_output":
        return None
    asked = said_by_user(request)
    if not asked.strip():
        return None
    answered = answer(detail.response) if call.outcome == "ok" else None
    return Features(
        call_id=call.id,
        key_id=call.key_id,
        input=asked[:CLIP],
        output=answered[:CLIP] if answered else None,
        input_length=len(asked),
        output_length=None if answered is None else len(answered),
        language=language(asked),
        output_language=language(answered) if answered else None,
        refused=None if answered is None else _REFUSAL.find(_NOTHING, Output(text=answered)).value == 1.0,
        malformed=_malformed(request, answered, call.error_code),
    )


def said_by_user(request: Mapping[str, Any]) -> str:
    """The words of a request that vary: the inputs of a task, or the last message of the user, or the prompt."""
    ours = request.get("loopwright")
    variables = ours.get("variables") if isinstance(ours, dict) else None
    if isinstance(variables, dict) and variables:
        return "\n".join(_text(value) for value in variables.values())
    for message in reversed(wire_read.dicts(request.get("messages"))):
        if message.get("role") == "user":
            return wire_read.text(message.get("content"))
    prompt = request.get("prompt")
    return prompt if isinstance(prompt, str) else ""


def answer(response: Mapping[str, Any] | None) -> str | None:
    """The text of the first choice; None when there is none."""
    choice = wire_read.choice_of(dict(response)) if response else None
    if choice is None:
        return None
    message = choice.get("message")
    found = wire_read.text(message.get("content")) if isinstance(message, dict) else choice.get("text")
    return found if isinstance(found, str) and found else None


def _malformed(request: Mapping[str, Any], answered: str | None, error_code: str | None) -> bool | None:
    if error_code == "invalid_output":
        return True
    form = request.get("response_format")
    if not isinstance(form, dict) or form.get("type") not in ("json_object", "json_schema") or answered is None:
        return None
    try:
        msgspec.json.decode(answered.encode())
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return True
    return False


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        return msgspec.json.encode(value).decode()
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError):
        return ""
