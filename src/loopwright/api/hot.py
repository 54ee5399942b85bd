"""The hot routes, whatever their dialect: read, ask the road, write. What the road is made of stands in `app.py`."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec
from msgspec.structs import replace

from loopwright.api.dialect import Asked, Dialect, Voice
from loopwright.api.exchange import Exchange, Given
from loopwright.core.chat import Chat, Delta, Request
from loopwright.core.errors import BadRequest, LoopwrightError, Spent, Unauthenticated
from loopwright.core.money import usd
from loopwright.core.privacy import NO_STORE
from loopwright.core.who import Principal
from loopwright.gateway.repeated import Repeat, Repeated
from loopwright.kit import wire, wire_out
from loopwright.kit.ids import Ids

_JSON: Final = b"content-type: application/json\r\n"
_EVENTS: Final = (
    b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\nx-accel-buffering: no\r\n"
)
_CALL_ID: Final = b"x-loopwright-call-id: "
_CLIENT_LENGTH: Final = 200
_WISHES: Final = (b"x-loopwright-timeout", b"x-loopwright-no-store", b"cache-control")
"""Headers that change what becomes of a question."""
_TIMEOUT: Final = re.compile(r"(\d{1,8}(?:\.\d{1,6})?)(s|ms)?")
_NOT_WISHED: Final = frozenset({None, "", "0", "false", "no"})
_NOT_STORED: Final = re.compile(rb'"store"\s*:\s*false')
_SHORTEST, _LONGEST = 0.001, 86_400.0
_log = logging.getLogger(__name__)


class Refusals(Protocol):
    """Where requests go that were refused before they could take the road."""

    def refuse(self, request: Request, error: LoopwrightError) -> None:
        """Record one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HotRoutes:
    """Answers an Exchange of one of `dialects`."""

    chat: Chat
    dialects: Mapping[str, Dialect]
    """By path."""
    find: Callable[[str], Principal | None]
    """Who holds a secret."""
    refusals: Refusals
    repeated: Repeated | None = None
    """Answers what comes again; None is that everything takes the road."""
    ids: Ids = field(default_factory=Ids)

    def at_once(self, exchange: Exchange, raw: bytes) -> Given | None:
        """The answer to a question that came before, counted and recorded; None is that `answer` has to be asked."""
        repeated = self.repeated
        again = None if repeated is None else repeated.find(exchange.path, raw)
        if repeated is None or again is None:
            return None
        for name in _WISHES:
            if exchange.header(name) is not None:
                return None
        started_ns, began = time.time_ns(), time.perf_counter_ns()
        try:
            who = self.who(exchange)
            call_id = self.ids.new(started_ns)
            asked = Repeat(
                id=call_id,
                who=who,
                started_ns=started_ns,
                began=began,
                tags=again.tags,
                trace=wire.new_trace(exchange.header(b"traceparent"), call_id),
                client=(exchange.header(b"user-agent") or "")[:_CLIENT_LENGTH],
            )
            if not repeated.answer(again, asked):
                return None
        except LoopwrightError:
            return None  # told on the road, and on record there
        kind = _EVENTS if again.stream else _JSON
        headers = b"".join((kind, _CALL_ID, call_id.encode(), b"\r\n", again.head))
        return Given(headers, again.body, again.stream)

    async def answer(self, exchange: Exchange) -> None:
        """Take an exchange to its end; errors become answers in the dialect of its path."""
        started_ns = time.time_ns()
        call_id = self.ids.new(started_ns)
        head = _CALL_ID + call_id.encode() + b"\r\n"
        dialect = self.dialects[exchange.path]
        try:
            request, raw = await self._request(exchange, dialect, call_id, started_ns)
            voice = dialect.voice(request)
            answer = self.chat(request)
            try:
                if request.stream:
                    first = await _stream(exchange, head, answer, voice)
                    if voice is None and first.done:  # all of it was there
                        self._note(exchange, raw, request, first)
                    return
                delta = await _whole(answer)
            finally:
                await answer.aclose()
            body = delta.raw if voice is None else voice.whole(delta)
        except LoopwrightError as error:
            await refuse(exchange, error, head, dialect.error(error, call_id))
            return
        except Exception:  # noqa: BLE001 - an edge: the client gets a clean error, the log the rest
            _log.exception("call %s failed", call_id)
            failure = LoopwrightError("something failed inside Loopwright: its log says what")
            await refuse(exchange, failure, head, dialect.error(failure, call_id))
            return
        await exchange.respond(200, b"".join((_JSON, head, _about(delta))), body)
        if voice is None:
            self._note(exchange, raw, request, delta)

    def _note(self, exchange: Exchange, raw: bytes, request: Request, delta: Delta) -> None:
        if self.repeated is not None and delta.cache is not None and delta.cache.kind == "hit":
            self.repeated.note(exchange.path, raw, request, delta, _about(delta))

    async def _request(
        self, exchange: Exchange, dialect: Dialect, call_id: str, started_ns: int
    ) -> tuple[Request, bytes]:
        """The question, and the bytes it was sent in."""
        who = self.who(exchange)
        asked = Asked(
            raw=await exchange.body(),
            call_id=call_id,
            who=who,
            started_ns=started_ns,
            traceparent=exchange.header(b"traceparent"),
            client=(exchange.header(b"user-agent") or "")[:_CLIENT_LENGTH],
        )
        timeout = exchange.header(b"x-loopwright-timeout")
        wish = None if exchange.header(b"x-loopwright-no-store") in _NOT_WISHED else NO_STORE
        try:
            deadline = None if timeout is None else deadline_in(timeout)
            request = await dialect.request(asked)
        except LoopwrightError as error:
            self.refusals.refuse(
                Request(
                    id=call_id,
                    operation=dialect.operation,
                    model="",
                    body={},
                    raw=asked.raw,
                    stream=False,
                    who=who,
                    started_ns=started_ns,
                    trace=wire.new_trace(asked.traceparent, call_id),
                    client=asked.client,
                    privacy=NO_STORE if _NOT_STORED.search(asked.raw) else wish,
                ),
                error,
            )
            raise
        if deadline is not None:
            request = replace(request, deadline=deadline)
        if wish is not None:
            request = replace(request, privacy=wish)
        control = exchange.header(b"cache-control")
        if control is not None:
            request = replace(request, cache_control=control.lower())
        return request, asked.raw

    def who(self, exchange: Exchange) -> Principal:
        """Who asks, by `Authorization: Bearer` or, as Anthropic's SDKs send it, `x-api-key`.

        Raises:
            Unauthenticated: no key, or one that nobody holds.
        """
        given = exchange.header(b"authorization")
        if given is None:
            secret = exchange.header(b"x-api-key")
            if secret is None:
                raise Unauthenticated(
                    "no API key: send it as `Authorization: Bearer lw-…` (`loopwright keys create` makes one)"
                )
            who = self.find(secret.strip())
        else:
            scheme, _, secret = given.partition(" ")
            who = self.find(secret.strip()) if scheme.lower() == "bearer" else None
        if who is None:
            raise Unauthenticated(
                "this API key is not known or was revoked: `loopwright keys list` shows the live ones"
            )
        return who


async def _whole(answer: AsyncGenerator[Delta, None]) -> Delta:
    """The one Delta of a non-streamed answer, once the road behind it is at its end and the call is recorded."""
    found: Delta | None = None
    async for delta in answer:
        found = delta
    if found is None:
        raise LoopwrightError("the answer was empty: see the log")
    return found


async def _stream(exchange: Exchange, head: bytes, answer: AsyncGenerator[Delta, None], voice: Voice | None) -> Delta:
    """Events as they come; the first of them. It is awaited before the status goes out, so a refusal is a 4xx even here."""
    first = await anext(answer, None)
    if first is None:
        raise LoopwrightError("the answer was empty: see the log")
    await exchange.start(b"".join((_EVENTS, head, _about(first))))
    try:
        await _say(exchange, first, voice)
        last = first
        async for delta in answer:
            await _say(exchange, delta, voice)
            last = delta
        if last.done:
            return first
        failure = LoopwrightError("the answer has no end: see the log")
    except LoopwrightError as error:
        failure = error
    except Exception:  # noqa: BLE001 - an edge: the client gets a clean event, the log the rest
        _log.exception("a stream failed")
        failure = LoopwrightError("something failed inside Loopwright: its log says what")
    await exchange.end(wire_out.event(wire_out.error_body(failure)) if voice is None else voice.failed(failure))
    return first


async def _say(exchange: Exchange, delta: Delta, voice: Voice | None) -> None:
    """One piece; the last one ends the answer in the same breath."""
    piece = delta.raw if voice is None else voice.piece(delta)
    if delta.done:
        await exchange.end(piece)
    else:
        await exchange.write(piece)


def _about(delta: Delta) -> bytes:
    """Headers that say what answered and what it cost."""
    lines = f"x-loopwright-model: {_safe(delta.model)}\r\n" if delta.model else ""
    if delta.attempts > 1:
        lines += f"x-loopwright-attempts: {delta.attempts}\r\n"
    if delta.cost_nano is not None:
        lines += f"x-loopwright-cost-usd: {usd(delta.cost_nano)}\r\n"
    if delta.cache is not None:
        lines += f"x-loopwright-cache: {delta.cache.kind}\r\n"
        if delta.cache.call_id:
            lines += f"x-loopwright-cache-of: {delta.cache.call_id}\r\n"
    for name, value in delta.headers:
        lines += f"{name}: {_safe(value)}\r\n"
    return lines.encode("latin-1")


def deadline_in(timeout: str) -> float:
    """The `time.monotonic()` that `x-loopwright-timeout` (seconds, `2.5` or `2.5s`, or `800ms`) stands for.

    Raises:
        BadRequest: it is none of these, or not between a millisecond and a day.
    """
    found = _TIMEOUT.fullmatch(timeout.strip())
    seconds = 0.0 if found is None else float(found[1]) * (0.001 if found[2] == "ms" else 1.0)
    if not _SHORTEST <= seconds <= _LONGEST:
        raise BadRequest(
            "x-loopwright-timeout: allowed are seconds such as 2.5, or 800ms, up to a day", param="x-loopwright-timeout"
        )
    return time.monotonic() + seconds


def _safe(value: str) -> str:
    """A header value: visible Latin-1, whatever a configuration or an upstream calls its models."""
    if value.isascii() and value.isprintable():
        return value
    return "".join(char if " " <= char <= "~" else "?" for char in value)


async def refuse(exchange: Exchange, error: LoopwrightError, head: bytes = b"", body: bytes | None = None) -> None:
    """Answer with an error; `body` is OpenAI's unless its dialect has another."""
    lines = [_JSON, head]
    if error.retry_after is not None:
        lines.append(b"retry-after: %d\r\n" % max(round(error.retry_after), 1))
    if isinstance(error, Spent):
        lines.append(b"x-should-retry: false\r\n")  # OpenAI's and Anthropic's SDKs heed it
    if isinstance(error, Unauthenticated):
        lines.append(b"www-authenticate: Bearer\r\n")
    await exchange.respond(error.status, b"".join(lines), body or msgspec.json.encode(wire_out.error_body(error)))
