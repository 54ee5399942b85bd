"""One answer in both wire forms: a whole body kept from a stream, and a stream made of a whole body. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from loopwright.calls.answer import assemble
from loopwright.core.chat import Request
from loopwright.core.money import Usage
from loopwright.kit import wire_out

_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode
_HEAD: Final = ("id", "created", "model", "system_fingerprint", "service_tier")
_LISTS: Final[Mapping[str, str]] = {"embeddings": "data", "rerank": "results"}
_GOOD: Final = frozenset({"stop", "tool_calls", "function_call"})
_LENIENT: Final = _GOOD | {"length"}


class _Said(msgspec.Struct, gc=False):
    refusal: str | None = None


class _Choice(msgspec.Struct, gc=False):
    finish_reason: str | None = None
    message: _Said | None = None


class _Whole(msgspec.Struct, gc=False):
    """What tells whether the usual answer may be kept; the rest is skipped unread."""

    choices: list[_Choice]
    error: None = None


_look: Final = msgspec.json.Decoder(_Whole).decode


def kept(  # noqa: PLR0911 - one for each reason
    raw: bytes, request: Request, usage: Usage | None, *, truncated: bool
) -> bytes | None:
    """The whole body of an answer that may be given again; None for errors, refusals and what broke off.

    Args:
        raw: what the client was sent: events of a stream, or a body.
        request: what was asked.
        usage: as it was reported, in case the client did not want to see it.
        truncated: keep answers that ended at their length limit.
    """
    if usual(raw, request, truncated=truncated):
        return raw
    good = _LENIENT if truncated else _GOOD
    try:
        body = assemble(raw) if request.stream else _decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if body is None or body.get("error") is not None:
        return None
    if request.operation in _LISTS:
        return raw if body.get(_LISTS[request.operation]) else None
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not all(_may_be_kept(choice, good) for choice in choices):
        return None
    if not request.stream:
        return raw
    if usage is not None and "usage" not in body:
        body["usage"] = wire_out.usage_body(usage)
    return msgspec.json.encode(body)


def usual(raw: bytes, request: Request, *, truncated: bool) -> bool:
    """Whether it is a whole answer in the usual form that may be kept: found out in a third of the time of reading it.

    Takes what `kept` does.
    """
    if request.stream or request.operation in _LISTS:
        return False
    good = _LENIENT if truncated else _GOOD
    try:
        choices = _look(raw).choices
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    for choice in choices:
        if choice.finish_reason not in good or (choice.message is not None and choice.message.refusal):
            return False
    return bool(choices)


def _may_be_kept(choice: object, good: frozenset[str]) -> bool:
    if not isinstance(choice, dict) or choice.get("finish_reason") not in good:
        return False
    message = choice.get("message")
    return not (isinstance(message, dict) and message.get("refusal"))


def events(body: bytes, request: Request) -> bytes:
    """The stream that says what `body` says: for each choice its text and its end, usage if wanted, `[DONE]`."""
    whole = _decode(body)
    chat = request.operation == "chat"
    head: dict[str, Any] = {name: whole[name] for name in _HEAD if name in whole}
    head["object"] = "chat.completion.chunk" if chat else "text_completion"
    pieces = [
        wire_out.event({**head, "choices": [piece]})
        for choice in whole["choices"]
        for piece in (_pieces(choice) if chat else _texts(choice))
    ]
    if request.wants_usage and whole.get("usage") is not None:
        pieces.append(wire_out.event({**head, "choices": [], "usage": whole["usage"]}))
    pieces.append(wire_out.DONE)
    return b"".join(pieces)


def _pieces(choice: dict[str, Any]) -> Iterator[dict[str, Any]]:
    index = choice.get("index", 0)
    delta = dict(choice.get("message") or {})
    calls = delta.get("tool_calls")
    if isinstance(calls, list):
        delta["tool_calls"] = [{"index": at, **call} for at, call in enumerate(calls)]
    yield {"index": index, "delta": delta, "logprobs": choice.get("logprobs"), "finish_reason": None}
    yield {"index": index, "delta": {}, "logprobs": None, "finish_reason": choice.get("finish_reason")}


def _texts(choice: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"logprobs": None, **choice}
