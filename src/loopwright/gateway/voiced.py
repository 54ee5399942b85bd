"""A structured answer as it streams: words go out as they come, calls and the end once they are valid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from loopwright.core.chat import Delta, Request
from loopwright.core.money import Usage
from loopwright.gateway import emulated
from loopwright.gateway.demanded import Settled
from loopwright.gateway.framed import Frame
from loopwright.kit import wire_out
from loopwright.kit.wire_read import ChunkReader, choice_of, dicts, text


class Voice:
    """What one stream has said, and what of it may go out."""

    __slots__ = (
        "_calls", "_finish", "_frame", "_held", "_holding", "_reader", "_refused", "_request", "_said", "_told", "model",
        "provider", "spoke", "usage",
    )  # fmt: skip

    def __init__(self, request: Request, frame: Frame) -> None:
        self._request = request
        self._frame = frame
        self._reader = ChunkReader()
        self._said = ""
        self._told = ""
        self._refused = False
        self._calls: list[dict[str, Any]] = []
        self._finish: str | None = None
        self._held: list[Delta] = []
        self._holding = frame.envelope is not None
        self.spoke = False
        self.usage: Usage | None = None
        self.model = ""
        self.provider = ""

    def take(self, delta: Delta) -> Iterator[Delta]:
        """What may go out with one more Delta."""
        self.usage = delta.usage or self.usage
        self.model, self.provider = delta.model or self.model, delta.provider or self.provider
        for chunk in self._reader.take(delta):
            self._note(choice_of(chunk) or {})
        if self._frame.free and self._holding:
            yield from self._words()
        # The end is held back: it may only be said of an answer that is valid. So is what says nothing before the
        # first word: until then a failure can still be an answer of its own.
        self._holding = self._holding or bool(self._calls) or delta.done or self._finish is not None
        if self._holding or not (self.spoke or delta.speaks):
            self._held.append(delta)
            return
        self.spoke = True
        yield from self._held
        self._held.clear()
        yield delta

    def _note(self, choice: Mapping[str, Any]) -> None:
        said = choice.get("delta")
        said = said if isinstance(said, dict) else {}
        self._said += text(said.get("content"))
        if said.get("refusal"):
            self._refused = True
        self._finish = choice.get("finish_reason") or self._finish
        for piece in dicts(said.get("tool_calls")):
            index = piece.get("index")
            index = index if isinstance(index, int) else len(self._calls)
            function = piece.get("function") or {}
            if index >= len(self._calls):
                rest = {name: value for name, value in piece.items() if name != "index"}
                self._calls.append({**rest, "function": {"arguments": "", **function}})
                continue
            held = self._calls[index]["function"]
            held["arguments"] = (held.get("arguments") or "") + (function.get("arguments") or "")

    def _words(self) -> Iterator[Delta]:
        """The words that are new in an emulated answer that is going to be words."""
        words = emulated.spoken(self._said)
        if words is None or not words.startswith(self._told) or len(words) == len(self._told):
            return
        new, self._told = words[len(self._told) :], words
        yield self._piece(Delta(text=new))

    def _piece(self, delta: Delta) -> Delta:
        first = not self.spoke
        self.spoke = True
        raw = wire_out.chunk(delta, self._request, first=first)
        return Delta(raw=raw, model=self.model if first else "", provider=self.provider if first else "")

    def choice(self) -> dict[str, Any]:
        """The answer as a whole one would hold it."""
        message: dict[str, Any] = {"role": "assistant", "content": self._said}
        if self._calls:
            message["tool_calls"] = self._calls
        return {"index": 0, "message": message, "finish_reason": self._finish}

    def settled(self) -> Settled:
        """The answer checked; words that are out already must be valid as they stand."""
        message = self.choice()["message"]
        if self._refused:
            return Settled(message=message)
        found = self._frame.settle(message, self._finish)
        if self.spoke and self._frame.envelope is None and text(found.message.get("content")) != self._said:
            broken = self._frame.broken(self._said) or found.problems
            return Settled(message=message, problems=broken, cut=found.cut)
        return found

    def end(self, settled: Settled) -> Iterator[Delta]:
        """The rest: as it came when nothing had to be changed."""
        if self._frame.envelope is None and settled.message == self.choice()["message"]:
            yield from self._held
            return
        message = dict(settled.message)
        content = text(message.pop("content", None))
        if self.spoke:
            out = self._said if self._frame.envelope is None else self._told
            content = content[len(out) :] if content.startswith(out) else ""
        if content:
            yield self._piece(Delta(text=content))
        calls = [{"index": i, **call} for i, call in enumerate(dicts(message.get("tool_calls")))]
        if calls:
            yield self._piece(Delta(extra={"tool_calls": calls}))
        yield from _closing(settled.finish or self._finish, self.usage, self._request)


def events(choices: list[dict[str, Any]], usage: Usage | None, request: Request) -> Iterator[Delta]:
    """Whole choices as a stream that comes all at once; the last Delta holds the usage."""
    raw, last = b"", b""
    for choice in choices:
        message = dict(choice.get("message") or {})
        index = int(choice.get("index") or 0)
        content = text(message.pop("content", None))
        extra = {name: value for name, value in message.items() if name != "role" and value is not None}
        if "tool_calls" in extra:
            extra["tool_calls"] = [{"index": i, **call} for i, call in enumerate(dicts(extra["tool_calls"]))]
        raw += wire_out.chunk(Delta(text=content, extra=extra or None, index=index), request, first=True)
        last += _finished(index, choice.get("finish_reason"), request)
    yield Delta(raw=raw)
    if usage is not None and request.wants_usage:
        last += wire_out.usage_chunk(usage, request)
    yield Delta(raw=last + wire_out.DONE, usage=usage, speaks=False, done=True)


def _closing(finish: str | None, usage: Usage | None, request: Request) -> Iterator[Delta]:
    raw = _finished(0, finish, request)
    if usage is not None and request.wants_usage:
        raw += wire_out.usage_chunk(usage, request)
    yield Delta(raw=raw + wire_out.DONE, usage=usage, speaks=False, done=True)


def _finished(index: int, finish: str | None, request: Request) -> bytes:
    return wire_out.chunk(Delta(index=index, finish=finish or "stop"), request, first=False)
