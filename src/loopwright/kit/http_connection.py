"""One HTTP/1.1 connection to an upstream: bytes in and out. Knows nothing of pools, URLs or retries."""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

import httptools

from loopwright.core.errors import UpstreamBroke
from loopwright.kit.http_exchange import Exchange

BARE_LIMIT = 64 * 1024
"""Bytes that may come without any of them being body: heads, chunk extensions, trailers."""
STALE_WITHIN = 1.0
"""Seconds after sending in which the silent close of a reused connection means that the upstream had already
given it up. Later than that, it may have died of the very request, which is then not sent again."""


class Owner(Protocol):
    """What a connection reports to."""

    origin: str
    """`scheme://host:port`, for messages."""

    def release(self, connection: Connection) -> None:
        """The answer was consumed to its end, or left."""

    def lost(self, connection: Connection) -> None:
        """The connection is closed."""


class Connection(asyncio.Protocol):
    """Bytes to and from one socket. One exchange at a time; the parser lives as long as the connection."""

    __slots__ = ("_bare", "_head", "_loop", "_origin", "_owner", "_parser", "_sent", "_spoiled", "exchange", "idle_since", "reused", "transport")  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop, owner: Owner) -> None:
        self._loop = loop
        self._owner: Owner | None = owner
        self._origin = owner.origin
        self._parser = httptools.HttpResponseParser(self)
        self._head: list[tuple[bytes, bytes]] = []
        self._bare = 0
        self._sent = 0.0
        self._spoiled = False
        self.exchange: Exchange | None = None
        self.transport: asyncio.Transport | None = None
        self.reused = False
        self.idle_since = 0.0

    def send(self, exchange: Exchange, request: bytes, now: float) -> None:
        """Write a whole request; its answer goes to `exchange`."""
        assert self.transport is not None
        self.exchange = exchange
        self._bare = 0
        self._sent = now
        self.transport.write(request)

    def usable(self) -> bool:
        """Whether another request may be sent on it."""
        return not self._spoiled and self.transport is not None and not self.transport.is_closing()

    def flushed(self) -> bool:
        """Whether the request has left this process whole; an answer can come before that."""
        return self.transport is not None and self.transport.get_write_buffer_size() == 0

    def abort(self) -> None:
        """Close at once, without flushing."""
        self._spoiled = True
        if self.transport is not None:
            self.transport.abort()

    def pause(self) -> None:
        """Stop reading."""
        if self.usable() and self.transport is not None:
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self.usable() and self.transport is not None:
            self.transport.resume_reading()

    def disown(self) -> None:
        """Nobody waits for this connection any more: close it, or see that it never opens."""
        self._owner = None
        self.abort()

    def finish(self, *, reusable: bool) -> None:
        """The exchange has been consumed or left."""
        self.exchange = None
        self.idle_since = self._loop.time()
        if not reusable or not self.flushed():
            self.abort()
        if self._owner is not None:
            self._owner.release(self)

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open (and its TLS handshake done)."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass of it
        if self._owner is None:
            self.abort()  # uvloop may open a socket after the wait for it was cancelled

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        exchange = self.exchange
        if exchange is None:
            self.abort()  # nobody asked: whatever it is, the next answer must not be taken for it
            return
        self._bare += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as problem:
            self.abort()
            if exchange.complete:  # what came after its answer is no concern of the asker's
                exchange.arrived(self._loop.time(), self)
            else:
                exchange.fail(UpstreamBroke(f"{self._origin} does not answer in HTTP/1.1: {problem}"))
            return
        if self._spoiled:
            self.abort()
        elif self._bare > BARE_LIMIT:
            exchange.fail(UpstreamBroke(f"{self._origin} sent over {BARE_LIMIT} bytes of headers"))
            self.abort()
            return
        exchange.arrived(self._loop.time(), self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed, by either side."""
        self._spoiled = True
        exchange = self.exchange
        if exchange is not None:
            origin = self._origin
            if exc is None and exchange.until_close():
                exchange.ended(keep=False)
                exchange.arrived(self._loop.time(), self)
            elif exchange.status:
                exchange.fail(UpstreamBroke(f"{origin} closed the connection in the middle of its answer"))
            else:
                silent = self._bare == 0 and self._loop.time() - self._sent < STALE_WITHIN
                failure = UpstreamBroke(f"{origin} closed the connection before it answered")
                exchange.fail(failure, stale=silent and self.reused)
        if self._owner is not None:
            self._owner.lost(self)

    # The parser's side.

    def on_message_begin(self) -> None:
        """A response begins; a second one to one request spoils the connection."""
        self._head = []
        if self.exchange is None or self.exchange.complete:
            self._spoiled = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, which nobody reads."""
        self._head.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is whole; 1xx only announce another."""
        status = self._parser.get_status_code()
        if status >= 200 and self.exchange is not None and not self._spoiled:
            self.exchange.headed(status, self._head)
            self._head = []

    def on_body(self, piece: bytes) -> None:
        """Bytes of the body."""
        if self.exchange is not None and not self._spoiled:
            self._bare = 0
            self.exchange.add(piece)

    def on_message_complete(self) -> None:
        """The response is whole."""
        if self.exchange is not None and not self._spoiled:
            self.exchange.ended(keep=self._parser.should_keep_alive())
