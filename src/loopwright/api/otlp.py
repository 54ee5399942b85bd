"""`POST /otlp/v1/{traces,metrics,logs}`: telemetry of any program that speaks OpenTelemetry, over HTTP.

In protobuf or JSON, plain, gzip or deflate; answered in the encoding of the request. 200 only when all that is not named
in `partialSuccess` is durable; what is sent again is known. Under pressure 429 and 503 say when to come back.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec
import psycopg
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from loopwright.api.callers import caller, house
from loopwright.app import App
from loopwright.core.errors import BadRequest, Busy, LoopwrightError, TooLarge
from loopwright.core.who import Principal
from loopwright.kit.db import unfit
from loopwright.kit.settings_telemetry import TelemetrySettings
from loopwright.telemetry.intake import Accepted, Form

OPERATION: Final = "telemetry"
"""What a key must be allowed."""
_TYPES: Final[Mapping[Form, str]] = {"protobuf": "application/x-protobuf", "json": "application/json"}
_FORMS: Final[Mapping[str, Form]] = {
    "application/x-protobuf": "protobuf",
    "application/protobuf": "protobuf",
    "application/json": "json",
}
_REJECTED: Final = {"traces": "rejectedSpans", "metrics": "rejectedDataPoints", "logs": "rejectedLogRecords"}
_CODES: Final = {400: 3, 401: 16, 403: 7, 404: 12, 413: 8, 415: 3, 429: 8, 503: 14}
"""gRPC's number of each status."""
_WAITING: Final = 8
"""Requests that wait for each that is worked on."""
_RETRY_AFTER: Final = 1.0
_MEMBERS: Final = 1_024
"""Of one gzip body."""
_PIECE: Final = 1 << 18
"""Bytes that are unpacked at once."""
Take = Callable[[bytes, Form, Principal, str], Awaitable[Accepted]]


class UnknownForm(BadRequest):
    """Neither of the encodings that OTLP has."""

    status = 415


@dataclass(slots=True)
class Gate:
    """Bounds what one worker takes in at once."""

    settings: TelemetrySettings
    held: int = 0
    """Bytes of bodies in memory."""
    inside: int = 0
    """Requests whose bodies are here."""
    working: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        """Open."""
        self.working = asyncio.Semaphore(self.settings.at_once)

    def check(self) -> None:
        """See that there is room for another one.

        Raises:
            Busy: there is none.
        """
        if self.inside >= self.settings.at_once * _WAITING or self.held > self.settings.body_limit * 2:
            raise Busy("more telemetry comes in than can be stored: send it again later", retry_after=_RETRY_AFTER)


def otlp(app: App) -> Starlette:
    """The three routes."""
    intake, gate = app.telemetry, Gate(app.settings.monitoring.telemetry)
    takes: dict[str, Take] = {
        "traces": lambda body, form, who, here: intake.spans(body, form, who, here=here),
        "metrics": lambda body, form, who, _: intake.points(body, form, who),
        "logs": lambda body, form, who, _: intake.logs(body, form, who),
    }
    ends = {signal: _endpoint(signal, take, gate) for signal, take in takes.items()}
    routes = Starlette(
        routes=[
            Route("/otlp/v1/traces", ends["traces"], methods=["POST"]),
            Route("/otlp/v1/metrics", ends["metrics"], methods=["POST"]),
            Route("/otlp/v1/logs", ends["logs"], methods=["POST"]),
        ],
        exception_handlers={
            LoopwrightError: _refused,
            HTTPException: _elsewhere,
            ClientDisconnect: _gone,
            psycopg.DataError: _unstorable,
        },
    )
    routes.state.house = app
    return routes


def _endpoint(signal: str, take: Take, gate: Gate) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        who = caller(request, OPERATION)
        form = _FORMS.get(_media_type(request))
        if form is None:
            raise UnknownForm(
                "OTLP over HTTP comes as application/x-protobuf or application/json", param="content-type"
            )
        gate.check()
        gate.inside += 1
        body = b""
        try:
            async with asyncio.timeout(house(request).settings.server.body_timeout):
                body = await _body(request, gate)
            async with gate.working:
                data = await _inflated(body, request, gate.settings.body_limit)
                accepted = await take(data, form, who, request.headers.get("host", ""))
            count = house(request).meters.event
            count("otlp", signal, "accepted", amount=accepted.new)
            count("otlp", signal, "refused", amount=accepted.refused)
        except TimeoutError:
            raise BadRequest("the body did not come in time (server.body_timeout)") from None
        finally:
            gate.inside -= 1
            gate.held -= len(body)
        return Response(_answer(signal, form, accepted), media_type=_TYPES[form])

    return endpoint


async def _body(request: Request, gate: Gate) -> bytes:
    """The whole body as it comes; `gate` holds its bytes from now on."""
    pieces, size, whole = [], 0, False
    try:
        async for piece in request.stream():
            size += len(piece)
            gate.held += len(piece)
            pieces.append(piece)
            if size > gate.settings.body_limit:
                break
        else:
            whole = True
    finally:
        if not whole:
            gate.held -= size
    if not whole:
        raise _too_large(gate.settings.body_limit)
    return b"".join(pieces)


async def _inflated(body: bytes, request: Request, limit: int) -> bytes:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "deflate"):
        raise UnknownForm(f"content-encoding {encoding[:40]!r} is none of gzip, deflate", param="content-encoding")
    return await asyncio.to_thread(inflated, body, encoding, limit)


def inflated(body: bytes, encoding: str, limit: int) -> bytes:
    """What was compressed, of at most `limit` bytes; gzip in one member or several.

    Raises:
        TooLarge: there is more.
        BadRequest: it is damaged, cut short or followed by something else.
    """
    ways, most = ((zlib.MAX_WBITS | 16,), _MEMBERS) if encoding == "gzip" else ((zlib.MAX_WBITS, -zlib.MAX_WBITS), 1)
    for bits in ways:
        pieces: list[bytes] = []
        at, room = 0, limit
        try:
            for _ in range(most):
                at = _member(body, at, bits, room, pieces)
                room = limit - sum(len(piece) for piece in pieces)
                if at == len(body) or room < 0:
                    break
        except zlib.error:
            continue
        if room < 0:
            raise _too_large(limit)
        if at == len(body):
            return b"".join(pieces)
    raise BadRequest(f"the body is no {encoding}, cut short, or more than that")


def _member(body: bytes, at: int, bits: int, room: int, pieces: list[bytes]) -> int:
    """Unpack what begins at `at`, hardly more than `room` bytes; where it ends.

    Raises:
        zlib.error: it is damaged or cut short.
    """
    unpacker, view = zlib.decompressobj(bits), memoryview(body)
    # In pieces: what is left over behind a member is copied each time.
    while not unpacker.eof and room >= 0:
        some = unpacker.unconsumed_tail or view[at : (at := min(at + _PIECE, len(body)))]
        if not some:
            raise zlib.error("cut short")
        pieces.append(unpacker.decompress(some, room + 1))
        room -= len(pieces[-1])
    return at - len(unpacker.unused_data)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body has more than {limit:,} bytes (monitoring.telemetry.body_limit): send it in several")


def _answer(signal: str, form: Form, accepted: Accepted) -> bytes:
    """All three answers have one form: 1 partial_success, of which 1 rejected and 2 error_message."""
    if not accepted.refused:
        return b"{}" if form == "json" else b""
    if form == "json":
        told = {_REJECTED[signal]: str(accepted.refused), "errorMessage": accepted.message}
        return msgspec.json.encode({"partialSuccess": told})
    return _field(1, b"\x08" + _varint(accepted.refused) + _field(2, accepted.message.encode()))


def _status(form: Form, status: int, message: str) -> bytes:
    """A `google.rpc.Status`."""
    code = _CODES.get(status, 13 if status >= 500 else 3)
    if form == "json":
        return msgspec.json.encode({"code": code, "message": message})
    return b"\x08" + _varint(code) + _field(2, message.encode())


def _field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _told(request: Request, status: int, message: str, retry_after: float | None = None) -> Response:
    form = _FORMS.get(_media_type(request), "json")
    headers = {} if retry_after is None else {"retry-after": str(max(round(retry_after), 1))}
    return Response(_status(form, status, message), status, headers=headers, media_type=_TYPES[form])


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, LoopwrightError)
    retry = error.retry_after
    if error.status in (429, 503) and retry is None:
        retry = _RETRY_AFTER
    return _told(request, error.status, error.message, retry)


async def _elsewhere(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _told(request, error.status_code, str(error.detail))


async def _unstorable(request: Request, error: Exception) -> Response:
    assert isinstance(error, psycopg.DataError)
    return _told(request, 400, unfit(error).message)


async def _gone(_request: Request, _error: Exception) -> Response:
    """The client hung up while it was sending: nobody reads this."""
    return Response(status_code=400)
