"""From Anthropic's answers and stream events to Deltas. Pure: bytes are somebody else's business."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from loopwright.core.chat import Delta
from loopwright.core.errors import LoopwrightError, UpstreamBroke
from loopwright.core.money import Usage
from loopwright.providers.claude import FINISHES, answer_of, arguments_of, tool_call
from loopwright.providers.failures import Meaning, by_status, error_of

_OVERFLOWS: Final = ("prompt is too long", "exceed context limit", "exceeds the maximum", "context window")


def usage_of(counts: Mapping[str, Any]) -> Usage:
    """Anthropic counts cached tokens beside `input_tokens`; ours are part of the input."""
    cached = int(counts.get("cache_read_input_tokens") or 0)
    written = int(counts.get("cache_creation_input_tokens") or 0)
    details = counts.get("output_tokens_details") or {}
    return Usage(
        input=int(counts.get("input_tokens") or 0) + cached + written,
        output=int(counts.get("output_tokens") or 0),
        cached=cached,
        cache_written=written,
        reasoning=int(details.get("thinking_tokens") or 0),
    )


def whole(message: Mapping[str, Any]) -> list[Delta]:
    """A whole message as one Delta.

    Raises:
        UpstreamBroke: it is not a message.
    """
    if not isinstance(message.get("content"), list) or not isinstance(message.get("usage"), Mapping):
        raise UpstreamBroke("it is not a message in Anthropic's form")
    texts: list[str] = []
    thoughts: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for block in message["content"]:
        kind = block.get("type")
        if kind == "text":
            texts.append(str(block.get("text") or ""))
        elif kind in ("thinking", "redacted_thinking"):
            thoughts.append(dict(block))
        elif kind == "tool_use":
            calls.append(_call(len(calls), block, msgspec.json.encode(block.get("input") or {}).decode()))
    finish = FINISHES.get(str(message.get("stop_reason")), "stop")
    return [answer_of(texts, thoughts, calls, finish=finish, usage=usage_of(message["usage"]))]


def _call(index: int, block: Mapping[str, Any], said: str) -> dict[str, Any]:
    return tool_call(index, block.get("id"), block.get("name"), said)


class Events:
    """One stream: hand it event after event; `done` once `message_stop` has come."""

    __slots__ = ("_block", "_calls", "_counts", "_finish", "_pieces", "done")

    def __init__(self) -> None:
        self._counts: dict[str, Any] = {}
        self._finish: str | None = None
        self._block: dict[str, Any] = {}
        self._pieces: list[str] = []
        self._calls = 0
        self.done = False

    def take(self, event: Mapping[str, Any], kind: str = "") -> Iterator[Delta]:
        """The Deltas of one event.

        Raises:
            LoopwrightError: the event tells of a failure.
        """
        kind = str(event.get("type") or kind)
        if kind == "content_block_delta":
            yield from self._more(event.get("delta") or {})
        elif kind == "content_block_start":
            yield from self._start(dict(event.get("content_block") or {}))
        elif kind == "content_block_stop":
            yield from self._stop()
        elif kind == "message_start":
            self._counts.update(_given((event.get("message") or {}).get("usage")))
            yield Delta(extra={"role": "assistant"}, speaks=False, usage=usage_of(self._counts))
        elif kind == "message_delta":
            self._counts.update(_given(event.get("usage")))
            reason = (event.get("delta") or {}).get("stop_reason")
            if reason is not None:
                self._finish = FINISHES.get(str(reason), "stop")
                yield Delta(finish=self._finish, speaks=False)
        elif kind == "message_stop":
            yield self._end()
        elif kind == "error":
            error = event.get("error") or {}
            raise complaint(str(error.get("type") or ""), str(error.get("message") or "no reason was given"))

    def end(self) -> Iterator[Delta]:
        """The body has ended. Raises UpstreamBroke: `message_stop` is missing."""
        if not self.done:
            raise UpstreamBroke("its stream ended without message_stop: it was cut off")
        yield from ()

    def _start(self, block: dict[str, Any]) -> Iterator[Delta]:
        self._block, self._pieces = block, []
        kind = block.get("type")
        if kind == "text" and block.get("text"):
            yield Delta(text=str(block["text"]))
        elif kind == "tool_use":
            yield Delta(extra={"tool_calls": [_call(self._calls, block, "")]})
        elif kind == "thinking" and block.get("thinking"):
            self._pieces.append(str(block["thinking"]))
            yield Delta(extra={"reasoning_content": str(block["thinking"])})

    def _more(self, delta: Mapping[str, Any]) -> Iterator[Delta]:
        kind = delta.get("type")
        if kind == "text_delta":
            yield Delta(text=str(delta.get("text") or ""))
        elif kind == "input_json_delta" and self._block.get("type") == "tool_use":
            piece = str(delta.get("partial_json") or "")
            if piece:
                self._pieces.append(piece)
                yield arguments_of(self._calls, piece)
        elif kind == "thinking_delta":
            piece = str(delta.get("thinking") or "")
            self._pieces.append(piece)
            yield Delta(extra={"reasoning_content": piece}, speaks=bool(piece))
        elif kind == "signature_delta":
            self._block["signature"] = self._block.get("signature", "") + str(delta.get("signature") or "")

    def _stop(self) -> Iterator[Delta]:
        """A block of thoughts is handed on whole at its end, with its signature, so that the client can give it back."""
        block, kind = self._block, self._block.get("type")
        self._block = {}
        if kind == "thinking":
            whole_block = {**block, "thinking": "".join(self._pieces)}
            yield Delta(extra={"thinking_blocks": [whole_block]}, speaks=False)
        elif kind == "redacted_thinking":
            yield Delta(extra={"thinking_blocks": [block]}, speaks=False)
        elif kind == "tool_use":
            if not self._pieces:
                yield arguments_of(self._calls, msgspec.json.encode(block.get("input") or {}).decode())
            self._calls += 1

    def _end(self) -> Delta:
        self.done = True
        finish = None if self._finish else "stop"
        return Delta(finish=finish, usage=usage_of(self._counts), done=True, speaks=False)


def _given(counts: Any) -> dict[str, Any]:
    """Later counts are totals and replace the earlier, where they are given."""
    return {name: count for name, count in (counts or {}).items() if count is not None}


_MEANINGS: Final[Mapping[str, Meaning]] = {
    "overloaded_error": "overloaded",
    "rate_limit_error": "limited",
    "request_too_large": "large",
    "timeout_error": "late",
    "invalid_request_error": "bad",
    "authentication_error": "refused",
    "permission_error": "refused",
    "not_found_error": "refused",
    "billing_error": "refused",
}


def complaint(kind: str, message: str, *, status: int = 0, wait: float | None = None) -> LoopwrightError:
    """The error that Anthropic's `error` object is to us. `status` is 0 in a stream; `wait` is Retry-After in seconds."""
    meaning = _MEANINGS.get(kind) or by_status(status)
    if status in (401, 403, 404, 429, 503, 529):
        meaning = by_status(status)
    if meaning == "bad" and any(words in message.lower() for words in _OVERFLOWS):
        meaning = "overflow"
    return error_of(meaning, message, status=status, wait=wait)
