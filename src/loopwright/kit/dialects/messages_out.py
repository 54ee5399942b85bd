"""Anthropic's Messages, out: what a chat answers as content blocks, whole or as events. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from loopwright.core.chat import Delta
from loopwright.core.errors import LoopwrightError
from loopwright.core.money import Usage
from loopwright.kit.dialects.blocks import Block, Blocks, Turn
from loopwright.kit.wire_read import ChunkReader, at_once, whole

_encode: Final = msgspec.json.encode
_decode: Final = msgspec.json.Decoder().decode
_REASONS: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
_ERRORS: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
_PING: Final = b'event: ping\ndata: {"type":"ping"}\n\n'


def message_id(call_id: str) -> str:
    """The id of an answer in this dialect."""
    return "msg_" + call_id.replace("-", "")


def error_body(error: LoopwrightError, call_id: str) -> dict[str, Any]:
    """An error as Anthropic shapes it."""
    kind = _ERRORS.get(error.status, "invalid_request_error" if error.status < 500 else "api_error")
    message = error.message
    if error.param and error.param not in message:
        message = f"{error.param}: {message}"
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": call_id}


def usage_body(usage: Usage) -> dict[str, Any]:
    """Usage as Anthropic counts: what the prompt cache read or wrote is not part of the input."""
    return {
        "input_tokens": max(usage.input - usage.cached - usage.cache_written, 0),
        "cache_creation_input_tokens": usage.cache_written,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.output,
        "output_tokens_details": {"thinking_tokens": usage.reasoning},
    }


class MessageVoice:
    """Says one answer as a message."""

    __slots__ = ("_asked", "_blocks", "_call_id", "_model", "_reader", "_started", "_stops", "_usage")

    def __init__(self, call_id: str, body: Mapping[str, Any], asked_bytes: int) -> None:
        """`body`: the canonical question; `asked_bytes`: its size, for an estimate where upstream counts nothing."""
        self._call_id = call_id
        self._model = body.get("model", "")
        stop = body.get("stop") or ()
        self._stops = (stop,) if isinstance(stop, str) else tuple(stop)
        self._asked = asked_bytes
        self._blocks = Blocks()
        self._reader = ChunkReader()
        self._usage: Usage | None = None
        self._started = False

    def whole(self, delta: Delta) -> bytes:
        """The message of a non-streamed answer. Raises UpstreamBroke when it is none."""
        for _turn in (*self._blocks.take(at_once(whole(delta.raw))), *self._blocks.end()):
            pass
        self._usage = delta.usage
        reason, stop = self._stopped()
        message = self._message([content_of(block) for block in self._blocks.blocks])
        ended = {"stop_reason": reason, "stop_sequence": stop, "usage": usage_body(self._counted())}
        return _encode({**message, **ended, **self._ours()})

    def piece(self, delta: Delta) -> bytes:
        """The events a Delta becomes. Raises UpstreamBroke when it is damaged."""
        said: list[bytes] = []
        if not self._started:
            self._started = True
            said += (_event({"type": "message_start", "message": self._opening()}), _PING)
        self._usage = delta.usage or self._usage
        chunks = self._reader.take(delta)
        for chunk in chunks:
            said += self._turns(self._blocks.take(chunk))
        if delta.done:
            said += self._turns(self._blocks.end())
            said += self._closing()
        elif not chunks and not said and delta.raw:
            return _PING  # upstream keeps the connection alive: so do we
        return b"".join(said)

    def failed(self, error: LoopwrightError) -> bytes:
        """The event that ends a stream which cannot go on."""
        return _event(error_body(error, self._call_id), "error")

    def _turns(self, turns: Iterable[Turn]) -> list[bytes]:
        return [said for turn in turns for said in _events(turn)]

    def _message(self, content: list[dict[str, Any]]) -> dict[str, Any]:
        head = {"id": message_id(self._call_id), "type": "message", "role": "assistant", "model": self._model}
        return {**head, "content": content}

    def _opening(self) -> dict[str, Any]:
        """The message before anything was said: what the input was is only known at the end."""
        return {**self._message([]), "stop_reason": None, "stop_sequence": None, "usage": usage_body(Usage())}

    def _closing(self) -> tuple[bytes, bytes]:
        reason, stop = self._stopped()
        delta = {"stop_reason": reason, "stop_sequence": stop}
        usage = usage_body(self._counted())
        ended = {"type": "message_delta", "delta": delta, "usage": usage, **self._ours()}
        return _event(ended), _event({"type": "message_stop"})

    def _ours(self) -> dict[str, Any]:
        """Our own member, which says what the answer stands on."""
        return {} if self._blocks.ours is None else {"loopwright": self._blocks.ours}

    def _stopped(self) -> tuple[str, str | None]:
        blocks = self._blocks
        if blocks.stopped_by in self._stops:
            return "stop_sequence", blocks.stopped_by
        reason = _REASONS.get(blocks.finish or "stop", "end_turn")
        if reason == "end_turn" and any(block.kind == "tool" for block in blocks.blocks):
            reason = "tool_use"  # some upstreams end calls with `stop`
        elif reason == "end_turn" and blocks.blocks and all(block.kind == "refusal" for block in blocks.blocks):
            reason = "refusal"
        return reason, None

    def _counted(self) -> Usage:
        """Usage; estimated at four bytes a token where upstream does not count, for the dialect must have numbers."""
        if self._usage is not None:
            return self._usage
        said = sum(len(block.text.encode("utf-8", "replace")) for block in self._blocks.blocks)
        return Usage(input=max(self._asked // 4, 1), output=max(said // 4, 1), estimated=True)


def content_of(block: Block) -> dict[str, Any]:
    """A whole block as a content block."""
    if block.kind == "tool":
        return {"type": "tool_use", "id": block.id, "name": block.name, "input": _input(block.text)}
    if block.redacted:
        return {"type": "redacted_thinking", "data": block.redacted}
    if block.kind == "reasoning":
        return {"type": "thinking", "thinking": block.text, "signature": block.signature}
    return {"type": "text", "text": block.text}


def _input(arguments: str) -> dict[str, Any]:
    """A call's arguments; what is no JSON object cannot be said in this dialect and stands under a name of its own."""
    try:
        found = _decode(arguments or "{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {"_raw": arguments}


def _events(turn: Turn) -> list[bytes]:
    block, at = turn.block, turn.block.index
    if turn.what == "open":
        content = content_of(Block(kind=block.kind, id=block.id, name=block.name, redacted=block.redacted))
        return [_event({"type": "content_block_start", "index": at, "content_block": content})]
    if turn.what == "piece":
        return [_delta(at, _said(block, turn.piece))]
    signed = [_delta(at, {"type": "signature_delta", "signature": block.signature})] if block.signature else []
    return [*signed, _event({"type": "content_block_stop", "index": at})]


def _said(block: Block, piece: str) -> dict[str, Any]:
    if block.kind == "tool":
        return {"type": "input_json_delta", "partial_json": piece}
    if block.kind == "reasoning":
        return {"type": "thinking_delta", "thinking": piece}
    return {"type": "text_delta", "text": piece}


def _delta(index: int, delta: dict[str, Any]) -> bytes:
    return _event({"type": "content_block_delta", "index": index, "delta": delta})


def _event(payload: dict[str, Any], name: str = "") -> bytes:
    return b"event: " + (name or payload["type"]).encode() + b"\ndata: " + _encode(payload) + b"\n\n"
