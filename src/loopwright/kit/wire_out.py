"""OpenAI's wire form, out: for answers that did not come in it, and for errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from loopwright.core.chat import Delta, Request
from loopwright.core.errors import LoopwrightError
from loopwright.core.money import Usage

DONE: Final = b"data: [DONE]\n\n"
_encode: Final = msgspec.json.encode


def event(payload: Mapping[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + _encode(payload) + b"\n\n"


def error_body(error: LoopwrightError) -> dict[str, Any]:
    """An OpenAI-shaped error object."""
    return {"error": {"message": error.message, "type": error.type, "code": error.code, "param": error.param}}


def usage_body(usage: Usage) -> dict[str, Any]:
    """OpenAI's `usage` object."""
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def chunk(delta: Delta, request: Request, *, first: bool) -> bytes:
    """The event of one Delta of a streamed chat or completion."""
    choice: dict[str, Any] = {"index": delta.index, "finish_reason": delta.finish, "logprobs": None}
    if request.operation == "completion":
        choice["text"] = delta.text
        kind, prefix = "text_completion", "cmpl-"
    else:
        message: dict[str, Any] = {"role": "assistant"} if first else {}
        if delta.text or first:
            message["content"] = delta.text
        message.update(delta.extra or {})
        choice["delta"] = message
        kind, prefix = "chat.completion.chunk", "chatcmpl-"
    return event({**_head(request, kind, prefix), "choices": [choice]})


def usage_chunk(usage: Usage, request: Request) -> bytes:
    """The last event before `[DONE]` of a client that asked for usage."""
    kind, prefix = (
        ("text_completion", "cmpl-") if request.operation == "completion" else ("chat.completion.chunk", "chatcmpl-")
    )
    return event({**_head(request, kind, prefix), "choices": [], "usage": usage_body(usage)})


def whole(choices: list[dict[str, Any]], usage: Usage | None, request: Request) -> bytes:
    """The body of a non-streamed answer. Each choice: index, finish, text, extra."""
    completion = request.operation == "completion"
    kind, prefix = ("text_completion", "cmpl-") if completion else ("chat.completion", "chatcmpl-")
    encoded = []
    for choice in choices:
        one: dict[str, Any] = {"index": choice["index"], "finish_reason": choice["finish"], "logprobs": None}
        if completion:
            one["text"] = choice["text"]
        else:
            one["message"] = {"role": "assistant", "content": choice["text"], **choice["extra"]}
        encoded.append(one)
    body = {**_head(request, kind, prefix), "choices": encoded}
    if usage is not None:
        body["usage"] = usage_body(usage)
    return _encode(body)


def _head(request: Request, kind: str, prefix: str) -> dict[str, Any]:
    created = request.started_ns // 1_000_000_000
    return {"id": prefix + request.id, "object": kind, "created": created, "model": request.model}
