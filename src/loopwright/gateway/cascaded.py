"""Asks the cheap model first, and the dear one only when the cheap one's answer will not do.

The cheap answer is held back whole, for nobody can take back what was sent. A stream is replayed as a stream.
"""

from __future__ import annotations

import inspect
import logging
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import jsonschema_rs
import msgspec
from msgspec.structs import replace

from loopwright.core.chat import Chat, Delta, Request, answering
from loopwright.core.errors import InvalidOutput, LoopwrightError
from loopwright.core.money import Price, Usage
from loopwright.core.notes import CASCADE, CASCADE_REASON, SAVED_USD, Note, guessed, signed_usd
from loopwright.core.privacy import Privacy
from loopwright.gateway.verdict import verdict
from loopwright.kit.settings_routes import CascadeSettings
from loopwright.kit.sse import data_of, events
from loopwright.kit.wire import with_fields

Evaluator = Callable[[Mapping[str, Any], str], bool | Awaitable[bool]]
"""Plug-ins of group `loopwright.evaluators`: from the body of the request and the answer's text to whether it will do."""
_DONE: Final = b"[DONE]"
_LOGPROBS: Final = re.compile(rb'"logprobs"\s*:\s*\{')
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Ledger:
    """What a cascade has done so far."""

    kept: int = 0
    """Answers of the cheap model that went out."""
    escalated: int = 0
    saved_nano: int = 0
    """Nanodollars: what the dear model would have cost for the kept answers, less what the cheap one did."""
    spent_nano: int = 0
    """Nanodollars spent on cheap answers that would not do."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Why it went on: `failed`, `schema`, `logprob`, `evaluator`."""

    def note(self, reason: str) -> None:
        """It went on."""
        self.escalated += 1
        self.reasons[reason] = self.reasons.get(reason, 0) + 1


def _always(_privacy: Privacy) -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascaded:
    """Cheap, then dear."""

    cheap: Chat
    dear: Chat
    settings: CascadeSettings
    cheap_price: Price | None
    dear_price: Price | None
    evaluator: Evaluator | None = None
    allows: tuple[Callable[[Privacy], bool], Callable[[Privacy], bool]] = (_always, _always)
    """Whether the cheap one and the dear one may be asked under a policy."""
    ledger: Ledger = field(default_factory=Ledger)

    def __call__(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Answer; what is no chat is for the first, and where a policy allows one of both it alone answers."""
        privacy = request.privacy
        if privacy is not None and privacy.confines:
            cheap, dear = (allows(privacy) for allows in self.allows)
            if not (cheap and dear):
                return self.dear(request) if dear else self.cheap(request)
        return self._chat(request) if request.operation == "chat" else self.cheap(request)

    async def _chat(self, request: Request) -> AsyncGenerator[Delta, None]:
        asked = _with_logprobs(request) if self.settings.min_logprob is not None else request
        held: list[Delta] = []
        usage: Usage | None = None
        began = time.monotonic()
        try:
            async with answering(self.cheap, asked) as answer:
                held.extend([delta async for delta in answer])
            reason = await self._doubt(request, held)
        except LoopwrightError as error:
            if verdict(error) == "final":
                raise
            reason = "failed"
            usage = error.usage if isinstance(error, InvalidOutput) else None
        if held and usage is None:
            told = next((delta.usage for delta in reversed(held) if delta.usage is not None), None)
            usage = told or guessed(request.raw, len([delta for delta in held if delta.speaks]))
        seconds = time.monotonic() - began
        if reason is None:
            self._keep(request, usage, seconds)
            for delta in held:
                yield delta if asked is request else _without_logprobs(delta, request)
            return
        self.ledger.note(reason)
        self._go_on(request, reason, usage, seconds)
        async with answering(self.dear, request) as answer:
            async for delta in answer:
                yield replace(delta, attempts=delta.attempts + 1) if delta.provider else delta

    async def _doubt(self, request: Request, held: list[Delta]) -> str | None:
        """Why the answer will not do; None when it will."""
        try:
            said = _said(held, stream=request.stream)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError, AttributeError, KeyError):
            return "failed"
        settings = self.settings
        if settings.schema and not _fits(request.body, said):
            return "schema"
        lowest = settings.min_logprob
        if lowest is not None and (not said.logprobs or sum(said.logprobs) / len(said.logprobs) < lowest):
            return "logprob"
        if self.evaluator is not None:
            try:
                will_do = self.evaluator(request.body, said.text)
                if inspect.isawaitable(will_do):
                    will_do = await will_do
            except Exception as error:  # noqa: BLE001 - a plug-in: the dear model answers when nobody can say
                quiet = request.privacy is not None and not request.privacy.store  # its words may be the answer's
                _log.error(
                    "the evaluator of model %s failed (%s)", request.model, type(error).__name__, exc_info=not quiet
                )
                return "evaluator"
            return None if will_do else "evaluator"
        return None

    def _keep(self, request: Request, usage: Usage | None, seconds: float) -> None:
        """The cheap answer goes out: what the dear one would have cost for the same tokens is saved, less its own."""
        self.ledger.kept += 1
        tags = {CASCADE: "kept"}
        if usage is not None and self.cheap_price is not None and self.dear_price is not None:
            saved = self.dear_price.cost(usage) - self.cheap_price.cost(usage, seconds=seconds)
            self.ledger.saved_nano += saved
            tags[SAVED_USD] = signed_usd(saved)
        request.notes.append(Note(tags=tags))

    def _go_on(self, request: Request, reason: str, usage: Usage | None, seconds: float) -> None:
        """The cheap answer would not do: what it took is part of what the call costs."""
        tags = {CASCADE: "escalated", CASCADE_REASON: reason}
        spent = 0 if usage is None or self.cheap_price is None else self.cheap_price.cost(usage, seconds=seconds)
        self.ledger.spent_nano += spent
        request.notes.append(Note(tags=tags, wasted_nano=spent, estimated=usage is not None and usage.estimated))


@dataclass(slots=True)
class _Said:
    """An answer, read."""

    text: str = ""
    logprobs: list[float] = field(default_factory=list)
    arguments: dict[int, tuple[str, str]] = field(default_factory=dict)
    """Name and arguments of each tool call."""


def _said(held: list[Delta], *, stream: bool) -> _Said:
    raw = b"".join(delta.raw for delta in held)
    said = _Said()
    if not stream:
        _read(said, msgspec.json.decode(raw), "message")
        return said
    for event in events(raw):
        data = data_of(event)
        if data is not None and data != _DONE:
            _read(said, msgspec.json.decode(data), "delta")
    return said


def _read(said: _Said, body: Mapping[str, Any], member: str) -> None:
    for choice in body.get("choices") or ():
        if choice.get("index", 0):
            continue
        message = choice.get(member) or {}
        said.text += message.get("content") or ""
        tokens = (choice.get("logprobs") or {}).get("content") or ()
        said.logprobs.extend(token["logprob"] for token in tokens)
        for at, call in enumerate(message.get("tool_calls") or ()):
            function = call.get("function") or {}
            index = call.get("index", at)
            name, arguments = said.arguments.get(index, ("", ""))
            said.arguments[index] = (name or function.get("name") or "", arguments + (function.get("arguments") or ""))


def _fits(body: Mapping[str, Any], said: _Said) -> bool:
    """Whether text and tool calls are what the request's schemas say; schemas that cannot be used ask for nothing."""
    wanted = body.get("response_format") or {}
    kind = wanted.get("type")
    tools = {tool.get("function", {}).get("name"): tool.get("function", {}) for tool in body.get("tools") or ()}
    for name, arguments in said.arguments.values():
        if name not in tools or not _valid(arguments or "{}", tools[name].get("parameters")):
            return False
    if said.arguments or kind not in ("json_schema", "json_object"):
        return True
    return _valid(said.text, (wanted.get("json_schema") or {}).get("schema"))


def _valid(text: str, schema: Any) -> bool:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    if not isinstance(schema, dict | bool):
        return True
    try:
        return jsonschema_rs.is_valid(schema, value)
    except ValueError:
        return True


def _with_logprobs(request: Request) -> Request:
    if request.body.get("logprobs"):
        return request
    raw = with_fields(request.raw if request.raw is not None else msgspec.json.encode(request.body), logprobs=True)
    return replace(request, body={**request.body, "logprobs": True}, raw=raw)


def _without_logprobs(delta: Delta, request: Request) -> Delta:
    """As it would be had they not been asked for."""
    if not _LOGPROBS.search(delta.raw):
        return delta
    if not request.stream:
        return replace(delta, raw=_bare(delta.raw))
    out = b""
    for event in events(delta.raw):
        data = data_of(event)
        out += event if data is None or data == _DONE else b"data: " + _bare(data) + b"\n\n"
    return replace(delta, raw=out)


def _bare(raw: bytes) -> bytes:
    body = msgspec.json.decode(raw)
    for choice in body.get("choices") or ():
        if "logprobs" in choice:
            choice["logprobs"] = None
    return msgspec.json.encode(body)
