"""From Converse's answers and stream events to Deltas. Pure: frames and signatures are somebody else's business."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from loopwright.core.chat import Delta
from loopwright.core.errors import LoopwrightError, UpstreamBroke, UpstreamError
from loopwright.core.money import Usage
from loopwright.providers.claude import FINISHES, answer_of, arguments_of, tool_call
from loopwright.providers.failures import Meaning, by_status, error_of

_OVERFLOWS: Final = ("too long", "too many input tokens", "exceed context limit", "maximum context", "context length")
_BROKEN: Final = frozenset({"malformed_model_output", "malformed_tool_use"})


def usage_of(counts: Mapping[str, Any]) -> Usage:
    """Converse counts cached tokens beside `inputTokens`; ours are part of the input."""
    cached = int(counts.get("cacheReadInputTokens") or 0)
    written = int(counts.get("cacheWriteInputTokens") or 0)
    return Usage(
        input=int(counts.get("inputTokens") or 0) + cached + written,
        output=int(counts.get("outputTokens") or 0),
        cached=cached,
        cache_written=written,
    )


def _finish(reason: Any) -> str:
    if reason in _BROKEN:
        raise UpstreamError(f"the model wrote what cannot be read ({reason})")
    return FINISHES.get(str(reason), "stop")


def whole(told: Mapping[str, Any]) -> list[Delta]:
    """A whole answer as one Delta.

    Raises:
        UpstreamBroke: it is not an answer.
        UpstreamError: the model's output was malformed.
    """
    message = (told.get("output") or {}).get("message")
    if not isinstance(message, Mapping) or not isinstance(message.get("content"), list):
        raise UpstreamBroke("it is not an answer in Converse's form")
    texts: list[str] = []
    thoughts: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for block in message["content"]:
        if "text" in block:
            texts.append(str(block["text"]))
        elif "toolUse" in block:
            use = block["toolUse"]
            calls.append(_call(len(calls), use, msgspec.json.encode(use.get("input") or {}).decode()))
        elif "reasoningContent" in block:
            thoughts.append(_thought(block["reasoningContent"]))
    usage = usage_of(told["usage"]) if isinstance(told.get("usage"), Mapping) else None
    return [answer_of(texts, thoughts, calls, finish=_finish(told.get("stopReason")), usage=usage)]


def _call(index: int, use: Mapping[str, Any], said: str) -> dict[str, Any]:
    return tool_call(index, use.get("toolUseId"), use.get("name"), said)


def _thought(reasoning: Mapping[str, Any]) -> dict[str, Any]:
    if "redactedContent" in reasoning:
        return {"type": "redacted_thinking", "data": str(reasoning["redactedContent"])}
    held = reasoning.get("reasoningText") or {}
    thought = {"type": "thinking", "thinking": str(held.get("text") or "")}
    return {**thought, "signature": str(held["signature"])} if held.get("signature") else thought


class Events:
    """One stream: hand it frame after frame; `done` once the metadata has come."""

    __slots__ = ("_calls", "_finished", "_redacted", "_signature", "_thoughts", "_tool", "_tool_text", "done")

    def __init__(self) -> None:
        self._calls = -1
        self._tool = False
        self._tool_text = False
        self._thoughts: list[str] = []
        self._signature = ""
        self._redacted = ""
        self._finished = False
        self.done = False

    def take(self, event: Mapping[str, Any], kind: str = "") -> Iterator[Delta]:
        """The Deltas of the payload of one frame; `kind` is its `:event-type` or `:exception-type`.

        Raises:
            LoopwrightError: the frame tells of a failure.
        """
        if kind == "contentBlockDelta":
            yield from self._more(event.get("delta") or {})
        elif kind == "contentBlockStart":
            use = (event.get("start") or {}).get("toolUse")
            if isinstance(use, Mapping):
                self._calls += 1
                self._tool, self._tool_text = True, False
                yield Delta(extra={"tool_calls": [_call(self._calls, use, "")]})
        elif kind == "contentBlockStop":
            yield from self._stop()
        elif kind == "messageStart":
            yield Delta(extra={"role": "assistant"}, speaks=False)
        elif kind == "messageStop":
            self._finished = True
            yield Delta(finish=_finish(event.get("stopReason")), speaks=False)
        elif kind == "metadata":
            if not self._finished:
                raise UpstreamBroke("its stream ended without messageStop")
            self.done = True
            counts = event.get("usage")
            yield Delta(usage=usage_of(counts) if isinstance(counts, Mapping) else None, done=True, speaks=False)
        elif kind.lower().endswith("exception"):
            raise complaint(kind, str(event.get("message") or "no reason was given"))

    def end(self) -> Iterator[Delta]:
        """The body has ended. An answer that had stopped is whole without its metadata.

        Raises:
            UpstreamBroke: it had not stopped.
        """
        if not self._finished:
            raise UpstreamBroke("its stream ended without messageStop: it was cut off")
        if not self.done:
            self.done = True
            yield Delta(done=True, speaks=False)

    def _more(self, delta: Mapping[str, Any]) -> Iterator[Delta]:
        if "text" in delta:
            yield Delta(text=str(delta["text"]), speaks=bool(delta["text"]))
        elif "toolUse" in delta:
            piece = str(delta["toolUse"].get("input") or "")
            if piece:
                self._tool_text = True
                yield arguments_of(self._calls, piece)
        elif "reasoningContent" in delta:
            reasoning = delta["reasoningContent"]
            self._signature += str(reasoning.get("signature") or "")
            self._redacted += str(reasoning.get("redactedContent") or "")
            if reasoning.get("text"):
                self._thoughts.append(str(reasoning["text"]))
                yield Delta(extra={"reasoning_content": self._thoughts[-1]})

    def _stop(self) -> Iterator[Delta]:
        """A block of thoughts is handed on whole at its end, with its signature, so that the client can give it back."""
        if self._tool and not self._tool_text:
            yield arguments_of(self._calls, "{}")
        self._tool = False
        if self._redacted:
            yield Delta(
                extra={"thinking_blocks": [{"type": "redacted_thinking", "data": self._redacted}]}, speaks=False
            )
        elif self._thoughts or self._signature:
            block = {"type": "thinking", "thinking": "".join(self._thoughts)}
            if self._signature:
                block["signature"] = self._signature
            yield Delta(extra={"thinking_blocks": [block]}, speaks=False)
        self._thoughts, self._signature, self._redacted = [], "", ""


def vectors(answer: Mapping[str, Any]) -> list[list[float]]:
    """The vectors of one call to Titan or Cohere.

    Raises:
        UpstreamBroke: there are none.
    """
    if isinstance(answer.get("embedding"), list):
        return [answer["embedding"]]
    found = answer.get("embeddings")
    if isinstance(found, Mapping):
        found = found.get("float")
    if not isinstance(found, list):
        raise UpstreamBroke("it did not answer with embeddings")
    return found


_MEANINGS: Final[Mapping[str, Meaning]] = {
    "throttling": "limited",
    "servicequotaexceeded": "limited",
    "toomanyrequests": "limited",
    "serviceunavailable": "overloaded",
    "modelnotready": "overloaded",
    "modeltimeout": "late",
    "validation": "bad",
    "modelerror": "failed",
    "modelstreamerror": "failed",
    "internalserver": "failed",
    "accessdenied": "refused",
    "resourcenotfound": "refused",
    "unrecognizedclient": "refused",
    "expiredtoken": "refused",
}


def complaint(kind: str, message: str, *, status: int = 0, wait: float | None = None) -> LoopwrightError:
    """The error that an exception of Bedrock's is to us. `status` is 0 in a stream; `wait` is Retry-After in seconds."""
    name = kind.partition(":")[0].rpartition("#")[2].lower().removesuffix("exception")
    meaning = _MEANINGS.get(name) or by_status(status)
    if meaning == "bad" and any(words in message.lower() for words in _OVERFLOWS):
        meaning = "overflow"
    return error_of(meaning, message, status=status, wait=wait)
