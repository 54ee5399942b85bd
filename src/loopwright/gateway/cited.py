"""An answer that stands on passages, as it goes out: its citations checked while it streams, its sources told at its end.

What the client gets beside the text: `annotations` of each message (`url_citation`, which OpenAI's SDKs know), and the
member `loopwright.retrieval` of the body, of a stream in the event that ends a choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from loopwright.gateway.citations import Citations
from loopwright.gateway.passages import Chosen, source, titled, url_of
from loopwright.kit import wire_out
from loopwright.kit.sse import rewritten
from loopwright.kit.wire_read import dicts

_HEAD: Final = ("id", "object", "created", "model", "system_fingerprint")
_decode: Final = msgspec.json.Decoder().decode


class Cited:
    """Of one answer."""

    __slots__ = ("_about", "_checks", "_ended", "_flows", "_head", "_shown", "_texts")

    def __init__(self, shown: Sequence[Chosen], about: Mapping[str, Any], *, checks: bool, texts: bool) -> None:
        """`about` is told of the search; `checks`: the answer is a text that cites; `texts`: the client wants those."""
        self._shown = {each.number: each for each in shown if each.number is not None}
        self._about = about
        self._checks = checks
        self._texts = texts
        self._flows: dict[int, Citations] = {}
        """By choice."""
        self._head: dict[str, Any] = {}
        self._ended = False
        """A choice has ended, and with it the sources were told."""

    @property
    def removed(self) -> list[int]:
        """Numbers of passages that were cited and not shown."""
        return [number for flow in self._flows.values() for number in flow.removed]

    @property
    def cited(self) -> list[int]:
        """Numbers of passages that are cited, each once."""
        return sorted({mark.number for flow in self._flows.values() for mark in flow.marks})

    def whole(self, raw: bytes) -> bytes:
        """The body of a non-streamed answer; what is no JSON object passes."""
        try:
            body = _decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return raw
        if not isinstance(body, dict):
            return raw
        for at, choice in enumerate(dicts(body.get("choices"))):
            message = choice.get("message")
            if isinstance(message, dict):
                self._message(at, message)
        body["loopwright"] = self.told()
        return msgspec.json.encode(body)

    def events(self, raw: bytes) -> bytes:
        """Whole events of a stream; the same object when nothing in them is touched."""
        return rewritten(raw, self._event, self.rest)

    def told(self) -> dict[str, Any]:
        """Our own member of the answer."""
        cited = self.cited
        sources = [
            source(each, cited=number in cited, text=self._texts) for number, each in sorted(self._shown.items())
        ]
        return {"retrieval": {**self._about, "removed_citations": len(self.removed), "sources": sources}}

    def rest(self) -> bytes:
        """What is left to say of a stream that ends without a finish reason."""
        if self._ended:
            return b""
        self._ended = True
        choices = []
        for index, flow in self._flows.items():
            delta: dict[str, Any] = {"content": flow.end()} if flow.holds else {}
            if self._checks:
                delta["annotations"] = self._annotations(flow)
            choices.append({"index": index, "delta": delta, "finish_reason": None})
        return wire_out.event({**self._head, "choices": choices, "loopwright": self.told()})

    def _event(self, event: bytes, data: bytes) -> bytes:
        try:
            chunk = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return event
        choices = dicts(chunk.get("choices")) if isinstance(chunk, dict) else []
        if not choices:
            return event
        self._head = {name: chunk[name] for name in _HEAD if name in chunk}
        changed = [self._piece(choice) for choice in choices]
        if any(choice.get("finish_reason") is not None for choice in choices):
            self._ended = True
            chunk["loopwright"] = self.told()
            return wire_out.event(chunk)
        return wire_out.event(chunk) if any(changed) else event

    def _piece(self, choice: dict[str, Any]) -> bool:
        index = choice.get("index")
        index = index if isinstance(index, int) else 0
        piece = choice.get("delta")
        before = piece.get("content") if isinstance(piece, dict) else None
        after = self._flow(index).feed(before) if self._checks and isinstance(before, str) else before
        if choice.get("finish_reason") is None:
            if isinstance(piece, dict) and after != before:
                piece["content"] = after
            return after != before
        if not isinstance(piece, dict):
            piece = choice["delta"] = {}
        flow = self._flow(index)
        said = (after if isinstance(after, str) else "") + flow.end()
        if said or isinstance(before, str):
            piece["content"] = said
        if self._checks:
            piece["annotations"] = self._annotations(flow)
        return True

    def _message(self, index: int, message: dict[str, Any]) -> None:
        if not self._checks:
            return
        flow, content = self._flow(index), message.get("content")
        if isinstance(content, str):
            message["content"] = flow.feed(content) + flow.end()
        else:
            parts = [part for part in dicts(content) if isinstance(part.get("text"), str)]
            for part in parts:
                part["text"] = flow.feed(part["text"])
            if parts:
                parts[-1]["text"] += flow.end()
        message["annotations"] = self._annotations(flow)

    def _flow(self, index: int) -> Citations:
        flow = self._flows.get(index)
        if flow is None:
            flow = self._flows[index] = Citations(self._shown.keys())
        return flow

    def _annotations(self, flow: Citations) -> list[dict[str, Any]]:
        found = []
        for mark in flow.marks:
            passage = self._shown[mark.number].passage
            about = {"start_index": mark.start, "end_index": mark.end}
            citation = {**about, "title": titled(passage), "url": url_of(passage)}
            found.append({"type": "url_citation", "url_citation": citation})
        return found
