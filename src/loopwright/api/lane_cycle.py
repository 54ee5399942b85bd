"""One request on the fast lane and its answer, with the face of uvicorn's request cycle. Knows its connection as a `Line`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final, Protocol

from uvicorn.protocols.http.flow_control import FlowControl

from loopwright.api.exchange import Exchange, Given
from loopwright.core.errors import TooLarge

Answer = Callable[[Exchange], Awaitable[None]]
AtOnce = Callable[[Exchange, bytes], Given | None]
"""The answer to an exchange with this body, if it is there already."""

SLOW_READER: Final = 60.0
"""Seconds a client may leave a streamed answer unread before it is hung up on."""
_STATUS: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_LENGTH: Final = b"content-length: %d\r\n\r\n%b"
_log = logging.getLogger(__name__)


class Line(Protocol):
    """The connection that a request came on."""

    transport: asyncio.Transport
    headers: list[tuple[bytes, bytes]]
    flow: FlowControl
    body_limit: int
    tasks: set[Any]
    running: LaneCycle | None

    @property
    def answer(self) -> Answer:
        """What takes an exchange to its end."""
        ...

    def linger(self) -> None:
        """Close after an answer to a body that is still being sent."""
        ...

    def on_response_complete(self) -> None:
        """An answer is whole."""
        ...


class LaneCycle:
    """One request on the fast lane: an Exchange, with the face of uvicorn's RequestResponseCycle."""

    __slots__ = (
        "_arrived", "_chunked", "_head", "_headers", "_limit", "_pieces", "_protocol", "_size", "_transport", "_waiter",
        "disconnected", "flow", "keep_alive", "more_body", "path", "response_complete", "response_started", "task",
    )  # fmt: skip

    def __init__(self, protocol: Line, path: str, *, keep_alive: bool, chunked: bool) -> None:
        self._protocol = protocol
        self._transport = protocol.transport
        # Of a header that is there twice the first counts, as in a search from the front.
        self._headers = dict(reversed(protocol.headers))
        self._limit = protocol.body_limit
        self._chunked = chunked
        self._pieces: list[bytes] = []
        self._head = b""
        self._size = 0
        self._arrived = False
        self._waiter: asyncio.Future[None] | None = None
        self.flow: FlowControl = protocol.flow
        self.path = path
        self.keep_alive = keep_alive
        self.more_body = True
        self.disconnected = False
        self.response_started = False
        self.response_complete = False
        self.task: asyncio.Task[None] | None = None

    # ---- what the protocol tells us ----

    def feed(self, piece: bytes) -> None:
        """A piece of the body; past the limit nothing more is kept."""
        self._size += len(piece)
        if self._size <= self._limit:
            self._pieces.append(piece)
        else:
            self._pieces.clear()
            self.finish()

    def length(self) -> int:
        """Bytes of the body as announced; 0 when they are not."""
        found = self._headers.get(b"content-length", b"")
        return int(found) if found.isdigit() else 0

    def announce(self, size: int) -> None:
        """A body over the limit is refused before it is sent."""
        self._size = size
        self.finish()

    def finish(self) -> None:
        """The body is complete, or over the limit."""
        self.more_body = False
        self._arrived = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def hang_up(self) -> None:
        """The client is gone: stop answering at once."""
        self.disconnected = True
        if self.task is not None:
            # One that is ended before its first step never comes to its own end.
            self.task.add_done_callback(self._protocol.tasks.discard)
            self.task.cancel()

    async def run_asgi(self, _app: Any) -> None:
        """Answer; named as uvicorn's."""
        self._protocol.running = self
        try:
            await self._protocol.answer(self)
        except asyncio.CancelledError:
            if not self.disconnected:
                self._transport.close()
        except Exception:  # noqa: BLE001 - an edge: one bad exchange must not end the connection's server
            _log.exception("answering %s failed", self.path)
            self._transport.close()
        else:
            if not self.response_complete and not self.disconnected:
                _log.error("%s was left without a whole answer", self.path)
                self._transport.close()
        finally:
            self._protocol.tasks.discard(self.task)

    def answered_at_once(self, at_once: AtOnce) -> bool:
        """Answer now, without a task, if the answer is there and nothing is in its way."""
        if self._size > self._limit or self.flow.write_paused or self._transport.is_closing():
            return False
        try:
            given = at_once(self, self._body())
        except Exception:  # noqa: BLE001 - an edge: what goes wrong here is tried again, and told, as any other exchange
            _log.exception("answering %s at once failed", self.path)
            return False
        if given is None:
            return False
        if given.stream:
            self._start(given.headers)
            self._end(given.body)
        else:
            self._respond(200, given.headers, given.body)
        return True

    # ---- Exchange ----

    def header(self, name: bytes) -> str | None:
        """A request header by its lower-case name."""
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")

    async def body(self) -> bytes:
        """The whole request body."""
        if not self._arrived:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._size > self._limit:
            self.keep_alive = False
            raise TooLarge(f"the request body is over the limit of {self._limit} bytes (server.body_limit)")
        return self._body()

    def _body(self) -> bytes:
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    async def respond(self, status: int, headers: bytes, body: bytes) -> None:
        """A whole answer."""
        if self.disconnected:
            return
        if self.flow.write_paused:
            await self._drain()
        self._respond(status, headers, body)

    def _respond(self, status: int, headers: bytes, body: bytes) -> None:
        closing = b"" if self.keep_alive else b"connection: close\r\n"
        self.response_started = True
        self._transport.write(b"".join((_STATUS[status], closing, headers, _LENGTH % (len(body), body))))
        self._complete()

    async def start(self, headers: bytes) -> None:
        """Begin a streamed answer; its head goes out with the first piece, in one system call."""
        self._start(headers)

    def _start(self, headers: bytes) -> None:
        if not self._chunked:
            self.keep_alive = False
        closing = b"" if self.keep_alive else b"connection: close\r\n"
        framing = b"transfer-encoding: chunked\r\n\r\n" if self._chunked else b"\r\n"
        self.response_started = True
        self._head = b"".join((_STATUS[200], closing, headers, framing))

    async def write(self, data: bytes) -> None:
        """A piece of a streamed answer."""
        if self.disconnected or not data:
            return
        if self.flow.write_paused:
            await self._drain()
        self._transport.write(self._framed(data))

    async def end(self, data: bytes = b"") -> None:
        """The last piece of a streamed answer, and its end."""
        if self.disconnected:
            return
        if self.flow.write_paused:
            await self._drain()
        self._end(data)

    def _end(self, data: bytes) -> None:
        last = self._framed(data) if data else self._take_head()
        self._transport.write(last + b"0\r\n\r\n" if self._chunked else last)
        self._complete()

    def _framed(self, data: bytes) -> bytes:
        framed = b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data
        return self._take_head() + framed if self._head else framed

    def _take_head(self) -> bytes:
        head, self._head = self._head, b""
        return head

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(SLOW_READER):
                await self.flow.drain()
        except TimeoutError:
            _log.info("%s: hung up on a client that stopped reading", self.path)
            self._transport.abort()
            raise asyncio.CancelledError from None

    def _complete(self) -> None:
        self.response_complete = True
        if self._size > self._limit:
            self._protocol.linger()
        elif not self.keep_alive:
            self._transport.close()
        self._protocol.on_response_complete()
