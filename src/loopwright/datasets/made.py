"""Examples made of calls on record and of corrections. Whoever composes the house says which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from loopwright.core.call import CallDetail
from loopwright.datasets.example import Example

_OURS: Final = "loopwright"


def of_call(detail: CallDetail, *, answers: bool = True) -> Example | None:
    """The example a call makes: what was asked, and with `answers` what was answered as the reference.

    A call of a task becomes its variables; any other its conversation or prompt. None where there is nothing to take:
    its texts are not kept, or it is no question (embeddings, say).
    """
    inputs = _inputs(detail.request)
    expected = _answer(detail.response) if answers else None
    if inputs is None or (answers and expected is None):
        return None
    return _example(detail, inputs, expected, "call")


def of_correction(detail: CallDetail, output: Any) -> Example | None:
    """The example a correction makes: what was asked, and what the answer should have been; None as `of_call`."""
    inputs = _inputs(detail.request)
    if inputs is None or output is None:
        return None
    made = _example(detail, inputs, output, "correction")
    answered = _answer(detail.response)
    said = dict(made.metadata) if answered is None else {**made.metadata, "answered": answered}
    return Example(
        id=made.id,
        inputs=made.inputs,
        expected=output,
        slices=made.slices,
        metadata=said,
        origin="correction",
        call_id=made.call_id,
    )


def _example(detail: CallDetail, inputs: Mapping[str, Any], expected: Any, origin: Any) -> Example:
    call = detail.call
    told = {
        "model": call.model,
        "variant": call.variant,
        "prompt_version": call.prompt_version,
        "session": call.session,
    }
    # Of corrections the call is the name: a second one of the same call takes the place of the first.
    return Example(
        id=f"call-{call.id}" if origin == "correction" else "",
        inputs=inputs,
        expected=expected,
        slices={} if call.task is None else {"task": call.task},
        metadata={name: value for name, value in told.items() if value},
        origin=origin,
        call_id=call.id,
    )


def _inputs(request: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if request is None:
        return None
    aside = request.get(_OURS)
    variables = aside.get("variables") if isinstance(aside, dict) else None
    if isinstance(variables, dict) and variables:
        return variables
    messages = request.get("messages")
    if isinstance(messages, list) and messages:
        return {"messages": messages} | ({"tools": request["tools"]} if request.get("tools") else {})
    prompt = request.get("prompt")
    return {"prompt": prompt} if isinstance(prompt, str) and prompt else None


def _answer(response: Mapping[str, Any] | None) -> Any:
    """What the first choice of an answer says: its text, or its message when it calls tools."""
    choices = response.get("choices") if response else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return None
    message = choices[0].get("message")
    if not isinstance(message, dict):
        text = choices[0].get("text")
        return text if isinstance(text, str) and text else None
    if message.get("tool_calls"):
        return {"role": "assistant", "content": message.get("content"), "tool_calls": message["tool_calls"]}
    content = message.get("content")
    return content if isinstance(content, str) and content else None
