"""From Gemini's answers to Deltas. Pure: bytes are somebody else's business."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from loopwright.core.chat import Delta
from loopwright.core.errors import BadRequest, LoopwrightError, UpstreamBroke, UpstreamError
from loopwright.core.money import Usage
from loopwright.providers.failures import Meaning, by_status, error_of
from loopwright.providers.gemini_request import MINTED

_FINISHES: Final = {"STOP": "stop", "OTHER": "stop", "FINISH_REASON_UNSPECIFIED": "stop", "MAX_TOKENS": "length"}
_BROKEN: Final = frozenset(
    {
        "MALFORMED_FUNCTION_CALL",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
        "MALFORMED_RESPONSE",
    }
)
"""The model wrote what cannot be read: asking again may help."""
_OVERFLOW: Final = re.compile(r"token count .*exceeds", re.IGNORECASE)
_DELAY: Final = re.compile(r"(\d+(?:\.\d+)?)s")


def usage_of(counts: Mapping[str, Any]) -> Usage:
    """Gemini counts thoughts beside the answer, and the results of its own tools beside the prompt."""
    thoughts = int(counts.get("thoughtsTokenCount") or 0)
    return Usage(
        input=int(counts.get("promptTokenCount") or 0) + int(counts.get("toolUsePromptTokenCount") or 0),
        output=int(counts.get("candidatesTokenCount") or 0) + thoughts,
        cached=int(counts.get("cachedContentTokenCount") or 0),
        reasoning=thoughts,
    )


class _Candidate:
    """What is known of one of the answers."""

    __slots__ = ("calls", "finished", "said")

    def __init__(self) -> None:
        self.calls = 0
        self.said = False
        self.finished = False


class Events:
    """One stream, or one whole answer as its only event. Gemini ends a stream by ending it."""

    __slots__ = ("_candidates", "_usage", "done")

    def __init__(self) -> None:
        self._candidates: dict[int, _Candidate] = {}
        self._usage: Usage | None = None
        self.done = False

    def take(self, event: Mapping[str, Any], kind: str = "") -> Iterator[Delta]:  # noqa: ARG002 - as every dialect's
        """The Deltas of one event.

        Raises:
            LoopwrightError: the event tells of a failure, or the prompt was blocked.
        """
        if isinstance(event.get("error"), Mapping):
            raise complaint(event["error"])
        if isinstance(event.get("usageMetadata"), Mapping):
            self._usage = usage_of(event["usageMetadata"])
        blocked = (event.get("promptFeedback") or {}).get("blockReason")
        if blocked and not event.get("candidates"):
            raise BadRequest(f"Gemini does not answer this prompt: {blocked}", param="messages")
        mark = str(event.get("responseId") or "")
        for candidate in event.get("candidates") or ():
            yield from self._more(candidate, mark)

    def end(self) -> Iterator[Delta]:
        """The body has ended: the last Delta.

        Raises:
            UpstreamBroke: an answer is not finished.
        """
        if not self._candidates or not all(candidate.finished for candidate in self._candidates.values()):
            raise UpstreamBroke("its stream ended without a finish reason: it was cut off")
        self.done = True
        yield Delta(usage=self._usage, done=True, speaks=False)

    def _more(self, candidate: Mapping[str, Any], mark: str) -> Iterator[Delta]:
        index = int(candidate.get("index") or 0)
        known = self._candidates.setdefault(index, _Candidate())
        for part in (candidate.get("content") or {}).get("parts") or ():
            yield from self._part(part, known, index, mark)
        reason = candidate.get("finishReason")
        if reason is None or known.finished:
            return
        if reason in _BROKEN:
            why = candidate.get("finishMessage") or reason
            raise UpstreamError(f"it wrote a call of a function that cannot be read: {why}")
        known.finished = True
        finish = _FINISHES.get(str(reason), "content_filter")
        if finish == "stop" and known.calls:
            finish = "tool_calls"
        yield Delta(index=index, finish=finish, speaks=False)

    def _part(self, part: Mapping[str, Any], known: _Candidate, index: int, mark: str) -> Iterator[Delta]:
        call = part.get("functionCall")
        signature = part.get("thoughtSignature")
        signed = {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}
        if isinstance(call, Mapping):
            arguments = msgspec.json.encode(call.get("args") or {}).decode()
            name = str(call.get("name") or "")
            one: dict[str, Any] = {"index": known.calls, "id": str(call.get("id") or "")}
            one["id"] = one["id"] or _mint(mark, index, known.calls, name + arguments)
            one |= {"type": "function", "function": {"name": name, "arguments": arguments}}
            known.calls += 1
            yield Delta(extra={"tool_calls": [one | signed]}, index=index)
            return
        text = str(part.get("text") or "")
        if part.get("thought"):
            yield Delta(extra={"reasoning_content": text}, index=index, speaks=bool(text))
        elif text or signed:
            yield Delta(text=text, extra=signed or None, index=index, speaks=bool(text))


def _mint(mark: str, index: int, number: int, call: str) -> str:
    """An id for a call that has none: the same for the same answer, another in the next."""
    return MINTED + hashlib.sha256(f"{mark}:{index}:{number}:{call}".encode()).hexdigest()[:20]


def whole(answer: Mapping[str, Any]) -> list[Delta]:
    """A whole answer: one Delta a candidate, the last with usage.

    Raises:
        LoopwrightError: as a stream's events do.
    """
    if not any(name in answer for name in ("candidates", "promptFeedback", "error")):
        raise UpstreamBroke("it is not an answer in Gemini's form")
    events = Events()
    joined: dict[int, dict[str, Any]] = {}
    for delta in events.take(answer):
        _join(joined.setdefault(delta.index, {"text": [], "extra": {}, "finish": None}), delta)
    (last,) = events.end()
    deltas: list[Delta] = []
    for index, found in sorted(joined.items()):
        extra, text = found["extra"], "".join(found["text"])
        if "tool_calls" in extra and not text:
            extra["content"] = None
        deltas.append(Delta(text=text, extra=extra or None, index=index, finish=found["finish"]))
    deltas[-1] = Delta(
        text=deltas[-1].text,
        extra=deltas[-1].extra,
        index=deltas[-1].index,
        finish=deltas[-1].finish,
        usage=last.usage,
        done=True,
    )
    return deltas


def _join(found: dict[str, Any], delta: Delta) -> None:
    found["text"].append(delta.text)
    found["finish"] = delta.finish or found["finish"]
    for name, value in (delta.extra or {}).items():
        held = found["extra"].get(name)
        joins = isinstance(value, list) or name == "reasoning_content"
        found["extra"][name] = held + value if joins and held else value


def vectors(answer: Mapping[str, Any]) -> list[list[float]]:
    """The vectors of a batch of texts.

    Raises:
        UpstreamBroke: there are none.
    """
    found = answer.get("embeddings")
    if not isinstance(found, list) or not all(isinstance(each.get("values"), list) for each in found):
        raise UpstreamBroke("it did not answer with embeddings in Gemini's form")
    return [each["values"] for each in found]


def complaint(error: Mapping[str, Any], *, status: int = 0, wait: float | None = None) -> LoopwrightError:
    """The error that Google's `error` object is to us; `wait` is Retry-After in seconds, if the head had one."""
    message = str(error.get("message") or "no reason was given")
    status = status or (error["code"] if isinstance(error.get("code"), int) else 500)
    details = [each for each in error.get("details") or () if isinstance(each, Mapping)]
    delay = next((found for each in details if (found := _DELAY.fullmatch(str(each.get("retryDelay"))))), None)
    if wait is None and delay is not None:
        wait = float(delay[1])
    meaning: Meaning = by_status(status)
    if any(str(each.get("reason")).startswith("API_KEY") for each in details):
        meaning, status = "refused", 401  # Google says 400 of a wrong key
    elif meaning == "bad" and error.get("status") == "FAILED_PRECONDITION":
        meaning = "refused"
    elif meaning == "bad" and _OVERFLOW.search(message):
        meaning = "overflow"
    return error_of(meaning, message, status=status, wait=wait)
