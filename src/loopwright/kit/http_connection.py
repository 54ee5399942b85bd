"""One HTTP/1.1 connection to an upstream, and the answer arriving on it. Knows nothing of pools, URLs or retries."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from enum import IntEnum
from typing import Protocol, cast

import httptools

from loopwright.core.errors import LoopwrightError, UpstreamBroke, UpstreamTimeout
from loopwright.kit.http_face import Answer, RawHeaders, fold
from loopwright.kit.settings import Timeouts

HIGH_WATER = 256 * 1024
"""Bytes of a stream that may wait for its consumer before the upstream is no longer read. One more read
(at most 256 KiB) can arrive on top."""
BARE_LIMIT = 64 * 1024
"""Bytes that may come without any of them being body: heads, chunk extensions, trailers."""
STALE_WITHIN = 1.0
"""Seconds after sending in which the silent close of a reused connection means that the upstream had already
given it up. Later than that, it may have died of the very request, which is then not sent again."""
SETTLE_WITHIN = 1.0
"""Seconds that the end of a settled answer may take."""


class Want(IntEnum):
    """What the consumer of an answer waits for."""

    HEAD = 0
    PIECE = 1
    WHOLE = 2


class Owner(Protocol):
    """What a connection reports to."""

    origin: str
    """`scheme://host:port`, for messages."""

    def release(self, connection: Connection) -> None:
        """The answer was consumed to its end, or left."""

    def lost(self, connection: Connection) -> None:
        """The connection is closed."""


class Exchange(Answer):
    """One request on a connection and what has come back so far.

    It owns its bytes: a connection that has moved on to another exchange cannot change them.
    """

    __slots__ = (
        "_bound",
        "_complete",
        "_connection",
        "_failure",
        "_head",
        "_heard",
        "_keep",
        "_limit",
        "_loop",
        "_paused",
        "_pieces",
        "_settled",
        "_size",
        "_stale",
        "_started",
        "_status",
        "_waiter",
        "_want",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, connection: Connection, *, started: float, whole: bool, limit: int
    ) -> None:
        self._loop = loop
        self._connection: Connection | None = connection
        self._started = started
        self._limit = limit
        self._bound = limit if whole else HIGH_WATER
        self._want = Want.WHOLE if whole else Want.HEAD
        self._status = 0
        self._head: RawHeaders = []
        self._pieces: list[bytes] = []
        self._size = 0
        self._complete = False
        self._keep = False
        self._stale = False
        self._paused = False
        self._failure: LoopwrightError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._heard = 0.0  # loop time of the last body byte; 0 before the first
        self._settled = 0.0  # loop time by which a settled answer must have ended

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._status

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers by lower-case name."""
        return fold(self._head)

    @property
    def raw_headers(self) -> RawHeaders:
        """Headers as they came."""
        return self._head

    @property
    def buffered(self) -> int:
        """Bytes that have arrived and were not yet taken."""
        return self._size

    @property
    def complete(self) -> bool:
        """The body is whole, taken or not."""
        return self._complete

    @property
    def stale(self) -> bool:
        """Failed because a reused connection had been closed by the upstream before this request reached it."""
        return self._stale

    @property
    def failure(self) -> LoopwrightError | None:
        """Why it ended early, if it did."""
        return self._failure

    # The consumer's side.

    async def begun(self) -> None:
        """Wait for what was wanted at the start, a head or the whole; a failure is left in `failure`."""
        if not self._satisfied():
            await self._wait()

    def whole(self) -> bytes:
        """The body of a complete answer; gives its connection back."""
        pieces = self._pieces
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._leave()
        return body

    async def read(self) -> bytes:
        """The rest of the body. Raises as `Answer.read` does."""
        taken: list[bytes] = []
        size = 0
        async for piece in self:
            size += len(piece)
            if size > self._limit:
                await self.aclose()
                raise UpstreamBroke(f"the answer is larger than {self._limit} bytes")
            taken.append(piece)
        return b"".join(taken)

    async def __anext__(self) -> bytes:
        if not self._pieces:
            if not self._complete and self._failure is None:
                self._want = Want.PIECE
                await self._wait()
            if not self._pieces:
                if self._failure is not None:
                    raise self._failure
                self._leave()
                raise StopAsyncIteration
        pieces = self._pieces
        piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._size = 0
        if self._complete:
            self._leave()
        elif self._paused:
            self._resume()
        return piece

    async def aclose(self) -> None:
        """Leave at once."""
        if self._complete:
            self._leave()
        elif not self._settled:
            self.abandon()

    def settle(self) -> None:
        """Expect the end and don't wait for it."""
        self._pieces.clear()
        self._size = 0
        if self._complete:
            self._leave()
        elif self._connection is not None and self._failure is None:
            self._settled = self._loop.time() + SETTLE_WITHIN
            if self._paused:
                self._resume()

    def abandon(self) -> None:
        """Close the connection under an answer nobody waits for any more."""
        if self._failure is None and not self._complete:
            self._failure = UpstreamBroke("the answer was left before its end")
        self._pieces.clear()
        self._size = 0
        if self._connection is not None:
            self._connection.abort()
            self._leave()

    def _leave(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.finish(reusable=self._complete and self._keep)

    def _resume(self) -> None:
        self._paused = False
        self._heard = self._loop.time()  # the silence while we did not read was ours
        if self._connection is not None:
            self._connection.resume()

    async def _wait(self) -> None:
        self._waiter = waiter = self._loop.create_future()
        try:
            await waiter
        except BaseException:  # cancelled: whoever asked has gone, so the upstream must stop
            self._waiter = None
            self.abandon()
            raise

    def _satisfied(self) -> bool:
        return (
            self._complete
            or self._failure is not None
            or (self._want == Want.PIECE and bool(self._pieces))
            or (self._want == Want.HEAD and self._status != 0)
        )

    # The connection's side.

    def arrived(self, now: float, connection: Connection) -> None:
        """Bytes were parsed: wake the consumer if it has what it wants, and slow the upstream down if it lags."""
        if self._size:
            self._heard = now
            if self._settled:
                self._pieces.clear()
                self._size = 0
            elif self._size > self._bound and not self._complete:
                if self._want == Want.WHOLE:
                    self.fail(UpstreamBroke(f"the answer is larger than {self._limit} bytes"))
                    connection.abort()
                    return
                if not self._paused:
                    self._paused = True
                    connection.pause()
        if self._settled and self._complete:
            self._leave()
        elif self._waiter is not None and self._satisfied():
            self._wake()

    def fail(self, failure: LoopwrightError, *, stale: bool = False) -> None:
        """End it early; what has arrived can still be taken, then the failure is raised."""
        if self._failure is None and not self._complete:
            self._failure = failure
            self._stale = stale
            self._wake()

    def headed(self, status: int, head: RawHeaders) -> None:
        """The final head is here."""
        self._status = status
        self._head = head

    def add(self, piece: bytes) -> None:
        """More of the body."""
        self._pieces.append(piece)
        self._size += len(piece)

    def ended(self, *, keep: bool) -> None:
        """The body is whole; `keep` when the connection can carry another request. A 1xx ends nothing."""
        if self._status:
            self._complete = True
            self._keep = keep

    def until_close(self) -> bool:
        """Whether the end of the body is the end of the connection (RFC 9112, 6.3)."""
        if not self._status:
            return False
        headers = fold(self._head)
        return "content-length" not in headers and "chunked" not in headers.get("transfer-encoding", "").lower()

    def overdue(self, now: float, timeouts: Timeouts, origin: str) -> LoopwrightError | None:
        """The time-out that has passed, if one has."""
        if self._settled:
            return UpstreamTimeout(f"{origin} did not end its answer") if now > self._settled else None
        if now - self._started > timeouts.total:
            return _late(origin, "the answer was not complete", "total", timeouts.total)
        if self._complete or self._paused or (self._pieces and self._want != Want.WHOLE):
            return None  # it is not the upstream that is waited for
        if self._heard:
            if now - self._heard > timeouts.between_tokens:
                return _late(origin, "nothing more came", "between_tokens", timeouts.between_tokens)
        elif self._want != Want.WHOLE and now - self._started > timeouts.first_token:
            return _late(origin, "nothing came", "first_token", timeouts.first_token)
        return None

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


def _late(origin: str, what: str, which: str, seconds: float) -> UpstreamTimeout:
    return UpstreamTimeout(f"{what} from {origin} within `timeouts.{which}` = {seconds:g} s")


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
            exchange.fail(UpstreamBroke(f"{self._origin} does not answer in HTTP/1.1: {problem}"))
            self.abort()
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
