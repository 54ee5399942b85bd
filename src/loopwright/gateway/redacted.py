"""Takes personal data out of a request before its target sees it, and puts it back into the answer.

Each text of an answer (a choice's content, its thoughts, the arguments of one tool call) is restored for itself, so a
placeholder may come in any number of pieces. Events that hold no piece of one are handed on as they came.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from loopwright.core.chat import Chat, Delta, Request, answering
from loopwright.core.privacy import ALL, Privacy
from loopwright.guardrails.placeholders import Placeholders
from loopwright.guardrails.restoring import Flow, Restorer
from loopwright.guardrails.span import KINDS
from loopwright.kit import wire_out
from loopwright.kit.sse import rewritten
from loopwright.kit.wire_read import dicts

_LONG: Final = 50_000
"""Bytes of a body that are searched on the event loop (about 10 ms); a longer one beside it."""
_TEXTS: Final = ("content", "reasoning_content", "reasoning", "refusal")
_HEAD: Final = ("id", "object", "created", "model", "system_fingerprint")
_UNTOUCHED: Final = frozenset({"embeddings", "moderations"})
"""Operations whose answers hold no text."""
_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Redacted:
    """Stands round the chat of a target; a request whose policy redacts nothing passes to it at once."""

    inner: Chat

    def __call__(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Answer.

        Raises:
            BadRequest: the request cannot be searched: it holds tokens, or is nested too deeply.
        """
        privacy = request.privacy
        if privacy is None or not privacy.redact:
            return self.inner(request)
        if request.raw is not None and len(request.raw) > _LONG:
            return self._beside(request, privacy)
        return self._answer(*_hidden(request, privacy))

    async def _beside(self, request: Request, privacy: Privacy) -> AsyncGenerator[Delta, None]:
        hidden, values = await asyncio.to_thread(_hidden, request, privacy)
        async with answering(lambda _request: self._answer(hidden, values), hidden) as answer:
            async for delta in answer:
                yield delta

    def _answer(self, hidden: Request, values: Mapping[str, str]) -> AsyncGenerator[Delta, None]:
        if not values or hidden.operation in _UNTOUCHED:
            return self.inner(hidden)
        return self._restored(hidden, Restorer(values))

    async def _restored(self, request: Request, restorer: Restorer) -> AsyncGenerator[Delta, None]:
        mouth = _Mouth(restorer)
        async with answering(self.inner, request) as answer:
            async for delta in answer:
                if not delta.raw:
                    for said in mouth.plain(delta):
                        yield said
                elif not request.stream:
                    yield _with_raw(delta, whole(delta.raw, restorer))
                else:
                    raw = mouth.events(delta.raw)
                    yield delta if raw is delta.raw else _with_raw(delta, raw)


def _hidden(request: Request, privacy: Privacy) -> tuple[Request, Mapping[str, str]]:
    """The request with placeholders, and what they stand for."""
    kinds = frozenset(KINDS) if ALL in privacy.redact else privacy.redact
    placeholders = Placeholders(kinds)
    body = placeholders.hide(request.body)
    if not placeholders.values:
        return request, {}
    if privacy.trail is not None:
        for kind, count in placeholders.counts.items():
            # Another attempt replaces the same again: what is noted is how many there are, not how many times.
            privacy.replaced(kind, max(count - privacy.trail.redacted.get(kind, 0), 0))
    return replace(request, body=body, raw=_encode(body)), placeholders.values


def whole(raw: bytes, restorer: Restorer) -> bytes:
    """The body of a non-streamed answer, restored; the same bytes when it holds no placeholder."""
    if b"<" not in raw and b"u003" not in raw:
        return raw
    try:
        body = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return raw
    if not isinstance(body, dict):
        return raw
    changed = False
    for choice in dicts(body.get("choices")):
        for said in (choice.get("message"), choice):
            if isinstance(said, dict):
                changed |= _Whole(restorer).restore(said)
    for result in dicts(body.get("results")):  # of reranking
        document = result.get("document")
        if isinstance(document, dict):
            changed |= _Whole(restorer).restore(document)
    return _encode(body) if changed else raw


class _Whole:
    """Restores an object of a whole answer in place."""

    __slots__ = ("_changed", "_restorer")

    def __init__(self, restorer: Restorer) -> None:
        self._restorer = restorer
        self._changed = False

    def restore(self, said: dict[str, Any]) -> bool:
        """Every text in it; whether one changed."""
        for name in (*_TEXTS, "text"):
            self._text(said, name)
        for part in dicts(said.get("content")):
            self._text(part, "text")
        for block in dicts(said.get("thinking_blocks")):
            self._text(block, "thinking")
        for call in (*dicts(said.get("tool_calls")), said):
            for name in ("function", "function_call"):
                self._text(call.get(name), "arguments", as_json=True)
            self._text(call.get("custom"), "input")
        return self._changed

    def _text(self, holder: object, name: str, *, as_json: bool = False) -> None:
        if not isinstance(holder, dict) or not isinstance(before := holder.get(name), str):
            return
        after = self._restorer.whole(before, as_json=as_json)
        if after != before:
            holder[name] = after
            self._changed = True


class _Mouth:
    """What was said of one stream, and what is held back of each of its texts."""

    __slots__ = ("_flows", "_head", "_restorer")

    def __init__(self, restorer: Restorer) -> None:
        self._restorer = restorer
        self._head: dict[str, Any] = {}
        self._flows: dict[tuple[int, str, int], Flow] = {}
        """By choice, text, and tool call."""

    @property
    def _holds(self) -> bool:
        return any(flow.holds for flow in self._flows.values())

    def events(self, raw: bytes) -> bytes:
        """Whole events, restored; the same object when nothing in them is touched."""
        # A backslash matters where it is one in the text itself, which takes two of them, or an escape.
        if b"<" not in raw and b"\\\\" not in raw and b"\\u00" not in raw and not self._holds:
            return raw
        return rewritten(raw, self._event, self._rest)

    def plain(self, delta: Delta) -> list[Delta]:
        """A Delta without bytes; what is left at its end comes before it."""
        piece = {"content": delta.text, **(delta.extra or {})} if delta.text else dict(delta.extra or {})
        choice = {"index": delta.index, "delta": piece, "finish_reason": delta.finish}
        self._choice(choice)
        left = self._left() if delta.done else {}
        if (own := left.pop(delta.index, None)) is not None:
            _add(choice, own)
        text = piece.pop("content", "")
        said = replace(delta, text=text if isinstance(text, str) else "", extra=piece or None)
        before = [Delta(text=rest.pop("content", ""), extra=rest or None, index=index) for index, rest in left.items()]
        return [*before, said]

    def _event(self, event: bytes, data: bytes) -> bytes:
        try:
            chunk = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return event
        choices = dicts(chunk.get("choices")) if isinstance(chunk, dict) else []
        if choices:
            self._head = {name: chunk[name] for name in _HEAD if name in chunk}
        changed = [self._choice(choice) for choice in choices]
        return wire_out.event(chunk) if any(changed) else event

    def _choice(self, choice: dict[str, Any]) -> bool:
        """Restore the piece of one choice in place; whether it changed."""
        index = choice.get("index")
        index = index if isinstance(index, int) else 0
        piece = choice.get("delta")
        changed = False
        if isinstance(piece, dict):
            changed = self._piece(index, piece)
        elif "text" in choice:
            changed = self._text((index, "text", 0), choice, "text")
        if choice.get("finish_reason") is not None:
            for rest in [self._left(index).get(index)]:
                if rest:
                    changed = True
                    _add(choice, rest)
        return changed

    def _piece(self, index: int, piece: dict[str, Any]) -> bool:
        changed = [self._text((index, name, 0), piece, name) for name in _TEXTS]
        changed += [
            self._text((index, "thinking", 0), block, "thinking") for block in dicts(piece.get("thinking_blocks"))
        ]
        changed.append(self._text((index, "function_call", 0), piece.get("function_call"), "arguments", as_json=True))
        for at, call in enumerate(dicts(piece.get("tool_calls"))):
            number = call.get("index")
            number = number if isinstance(number, int) else at
            changed.append(self._text((index, "function", number), call.get("function"), "arguments", as_json=True))
            changed.append(self._text((index, "custom", number), call.get("custom"), "input"))
        return any(changed)

    def _text(self, key: tuple[int, str, int], holder: object, name: str, *, as_json: bool = False) -> bool:
        if not isinstance(holder, dict) or not isinstance(before := holder.get(name), str) or not before:
            return False
        flow = self._flows.get(key)
        if flow is None:
            flow = self._flows[key] = Flow(self._restorer, as_json=as_json)
        holder[name] = flow.feed(before)
        return bool(holder[name] != before)

    def _left(self, only: int | None = None) -> dict[int, dict[str, Any]]:
        """What is held back and will not go on, as further pieces of its choices."""
        left: dict[int, dict[str, Any]] = {}
        for (index, name, number), flow in self._flows.items():
            if not flow.holds or (only is not None and index != only):
                continue
            piece, rest = left.setdefault(index, {}), flow.end()
            if name == "function":
                piece.setdefault("tool_calls", []).append({"index": number, "function": {"arguments": rest}})
            elif name == "custom":
                piece.setdefault("tool_calls", []).append({"index": number, "custom": {"input": rest}})
            elif name == "function_call":
                piece[name] = {"arguments": rest}
            elif name == "thinking":
                piece["thinking_blocks"] = [{"type": "thinking", "thinking": rest}]
            else:
                piece[name] = rest
        return left

    def _rest(self) -> bytes:
        """What is left of a stream that ends without a finish reason."""
        pieces = []
        for index, rest in self._left().items():
            said = {"text": rest["text"]} if "text" in rest else {"delta": rest}
            choice = {"index": index, **said, "finish_reason": None}
            pieces.append(wire_out.event({**self._head, "choices": [choice]}))
        return b"".join(pieces)


def _add(choice: dict[str, Any], rest: dict[str, Any]) -> None:
    """Put what was left behind what the last piece of a choice says."""
    if "text" in rest:
        choice["text"] = (choice.get("text") or "") + rest["text"]
        return
    piece = choice.get("delta")
    if not isinstance(piece, dict):
        piece = choice["delta"] = {}
    for name, value in rest.items():
        before = piece.get(name)
        if isinstance(value, str):
            piece[name] = (before if isinstance(before, str) else "") + value
        elif isinstance(value, list):
            piece[name] = _joined(before if isinstance(before, list) else [], value)
        else:
            said = before.get("arguments") if isinstance(before, dict) else None
            piece[name] = {**(before or {}), "arguments": (said or "") + value["arguments"]}


def _joined(before: list[Any], after: list[Any]) -> list[Any]:
    """Pieces of tool calls: one that is in this event already has its rest behind it."""
    joined = list(before)
    for rest in after:
        known = next(
            (each for each in joined if isinstance(each, dict) and each.get("index") == rest.get("index")), None
        )
        function = known.get("function") if known is not None and "function" in rest else None
        if isinstance(function, dict):
            function["arguments"] = (function.get("arguments") or "") + rest["function"]["arguments"]
        else:
            joined.append(rest)
    return joined


def _with_raw(delta: Delta, raw: bytes) -> Delta:
    return delta if raw is delta.raw else replace(delta, raw=raw)
