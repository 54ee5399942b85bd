"""A fast lane inside uvicorn: its parser, limits and shutdown, without ASGI's messages on the hot routes.

`Lane` takes POSTs of hot paths out of uvicorn's protocol and gives them to `answer` as an Exchange; every other path
goes to the ASGI application as usual. Pipelined requests keep their order through uvicorn's own queue, because a
`LaneCycle` has the face of uvicorn's request cycle. Saves about 20 µs a request against raw ASGI (bench/gateway.py).
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from loopwright.api.exchange import Exchange
from loopwright.core.errors import TooLarge

Answer = Callable[[Exchange], Awaitable[None]]

SLOW_READER: Final = 60.0
"""Seconds a client may leave a streamed answer unread before it is hung up on."""
LINGER: Final = 2.0
"""Seconds of an over-long body that are read and thrown away, so that the refusal is not lost in a reset."""
BARE_LIMIT: Final = 65_536
"""Bytes that may come without any of them being body: heads, chunk extensions, trailers."""
_STATUS: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_H2C: Final = re.compile(rb"\r\nupgrade: *h2c(?=\r\n|$)", re.IGNORECASE)
_HEAD_SEARCH: Final = 4096
_SOON: Final = 0.05
"""Seconds: a wait that is as good as over."""
_LENGTH: Final = b"content-length: %d\r\n\r\n%b"
_log = logging.getLogger(__name__)


class LaneCycle:
    """One request on the fast lane: an Exchange, with the face of uvicorn's RequestResponseCycle."""

    __slots__ = (
        "_arrived", "_chunked", "_head", "_headers", "_limit", "_pieces", "_protocol", "_size", "_transport", "_waiter",
        "disconnected", "flow", "keep_alive", "more_body", "path", "response_complete", "response_started", "task",
    )  # fmt: skip

    def __init__(self, protocol: Lane, path: str, *, keep_alive: bool, chunked: bool) -> None:
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
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    async def respond(self, status: int, headers: bytes, body: bytes) -> None:
        """A whole answer."""
        if self.disconnected:
            return
        if self.flow.write_paused:
            await self._drain()
        closing = b"" if self.keep_alive else b"connection: close\r\n"
        self.response_started = True
        self._transport.write(b"".join((_STATUS[status], closing, headers, _LENGTH % (len(body), body))))
        self._complete()

    async def start(self, headers: bytes) -> None:
        """Begin a streamed answer; its head goes out with the first piece, in one system call."""
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


class Lane(HttpToolsProtocol):
    """uvicorn's HTTP protocol with a fast lane; `lane()` makes a class of it with its settings."""

    answer: Answer
    paths: Mapping[bytes, str] = {}
    body_limit = 20_000_000
    body_timeout = 60.0
    running: LaneCycle | None = None
    _arrival: asyncio.TimerHandle | None = None
    _idle: asyncio.TimerHandle | None = None
    _idle_since: float | None = None
    """Loop time of the last answer's end; None while a request is coming or being answered."""
    _bare = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client connected: it must say something whole within the time for a body."""
        super().connection_made(transport)
        self._await_arrival()

    def connection_lost(self, exc: Exception | None) -> None:
        """A client hung up: end what is being answered on this connection, and what waits in line."""
        self._arrived()
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self.running is not None and not self.running.response_complete:
            self.running.hang_up()
        self.pipeline.clear()
        if isinstance(self.cycle, LaneCycle):
            self.cycle = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a request; the clock runs while one has begun and not arrived."""
        head = data.find(b"\r\n\r\n", 0, _HEAD_SEARCH)
        if data.find(b"h2c", 0, _HEAD_SEARCH if head < 0 else head) >= 0:
            data = self._declined(data)
        self._idle_since = None
        self._bare += len(data)
        super().data_received(data)
        if self._bare > BARE_LIMIT:
            self.transport.close()
        cycle: Any = self.cycle
        if cycle is None or cycle.response_complete or cycle.more_body:
            if self._arrival is None and not self.transport.is_closing() and self._idle_since is None:
                self._await_arrival()
        else:
            self._arrived()

    def on_response_complete(self) -> None:
        """An answer is whole: go on with the next request that waits, or wait for one for so long.

        As uvicorn does, but one timer a connection goes off now and then and looks; two for each request cost more than
        reading its head.
        """
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self._idle is None:
            self._idle = self.loop.call_later(self.timeout_keep_alive, self._look_idle)

    def _look_idle(self) -> None:
        since = self.loop.time() if self._idle_since is None else self._idle_since
        left = since + self.timeout_keep_alive - self.loop.time()
        if left > _SOON:
            self._idle = self.loop.call_later(left, self._look_idle)
        else:
            self._idle = None
            self.transport.close()

    def linger(self) -> None:
        """Close after an answer to a body that is still being sent, in a way that lets the client read the answer."""
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER, self.transport.close)

    def _declined(self, data: bytes) -> bytes:
        """Without the offer of HTTP/2 that Java's client makes: the parser would take it and lose the body."""
        cycle: Any = self.cycle
        if cycle is not None and not cycle.response_complete:
            return data
        head, end, body = data.partition(b"\r\n\r\n")
        return _H2C.sub(b"", head) + end + body

    def _await_arrival(self) -> None:
        if self._arrival is None:
            self._arrival = self.loop.call_later(self.body_timeout, self._too_late)

    def _arrived(self) -> None:
        if self._arrival is not None:
            self._arrival.cancel()
            self._arrival = None

    def _too_late(self) -> None:
        self._arrival = None
        _log.info("closed a connection whose request did not arrive within %g s", self.body_timeout)
        self.transport.close()

    def on_message_begin(self) -> None:
        """A request begins; uvicorn's description of it is made when the application is to read it."""
        self.url, self.headers, self.expect_100_continue = b"", [], False

    def _describe(self) -> None:
        url, headers, expecting = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expecting
        self.headers += headers  # which the description holds

    def on_headers_complete(self) -> None:
        """Where a hot POST leaves the ASGI road."""
        path = self.paths.get(self.url.partition(b"?")[0])
        if path is None or self.parser.get_method() != b"POST" or self.parser.should_upgrade():
            self._describe()
            super().on_headers_complete()
            return
        modern = self.parser.get_http_version() != "1.0"
        waiting: Any = self.cycle
        cycle = LaneCycle(self, path, keep_alive=modern and self.parser.should_keep_alive(), chunked=modern)
        self.cycle = cycle  # type: ignore[assignment]
        if self.expect_100_continue:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if waiting is not None and not waiting.response_complete:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))  # type: ignore[arg-type]
            return
        length = cycle.length()
        if length > self.body_limit:
            cycle.announce(length)
            self._begin(cycle)

    def on_body(self, body: bytes) -> None:
        """A piece of a request body."""
        self._bare = 0
        cycle: Any = self.cycle
        if not isinstance(cycle, LaneCycle):
            super().on_body(body)
            return
        if cycle.more_body:
            cycle.feed(body)
            if not cycle.more_body:
                self._begin(cycle)

    def on_message_complete(self) -> None:
        """A request is whole: answer it, unless it waits for its turn."""
        self._bare = 0
        cycle: Any = self.cycle
        if not isinstance(cycle, LaneCycle):
            super().on_message_complete()
            return
        if cycle.more_body:
            cycle.finish()
            self._begin(cycle)

    def _begin(self, cycle: LaneCycle) -> None:
        queue: Any = self.pipeline
        if not queue or all(waiting is not cycle for waiting, _app in queue):
            self._start_asgi_task(cycle, self.app)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if type(cycle) is LaneCycle:
            cycle.task = self.loop.create_task(cycle.run_asgi(app))
            self.tasks.add(cycle.task)
        else:
            super()._start_asgi_task(cycle, app)


def lane(answer: Answer, paths: Mapping[str, str], *, body_limit: int, body_timeout: float) -> type[Lane]:
    """The `http=` class for uvicorn that answers POSTs of `paths` through `answer`.

    Args:
        answer: takes an Exchange to its end.
        paths: request path → the path the Exchange is told.
        body_limit: bytes of a body; more is TooLarge.
        body_timeout: seconds for a whole request to arrive.
    """
    members = {
        "answer": staticmethod(answer),
        "paths": {path.encode(): told for path, told in paths.items()},
        "body_limit": body_limit,
        "body_timeout": body_timeout,
    }
    return type("HouseLane", (Lane,), members)
