"""One request on its way and what has come back of it. Knows its connection only by what it may ask of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from enum import IntEnum
from typing import Protocol

from loopwright.core.errors import LoopwrightError, UpstreamBroke, UpstreamTimeout
from loopwright.kit.http_face import Answer, RawHeaders, fold
from loopwright.kit.settings import Timeouts

HIGH_WATER = 256 * 1024
"""Bytes of a stream that may wait for its consumer before the upstream is no longer read. One more read
(at most 256 KiB) can arrive on top."""
SETTLE_WITHIN = 1.0
"""Seconds that the end of a settled answer may take."""


class Want(IntEnum):
    """What the consumer of an answer waits for."""

    HEAD = 0
    PIECE = 1
    WHOLE = 2


class Carrier(Protocol):
    """What an exchange may ask of the connection that carries it."""

    def pause(self) -> None:
        """Stop reading."""

    def resume(self) -> None:
        """Read again."""

    def abort(self) -> None:
        """Close at once, without flushing."""

    def finish(self, *, reusable: bool) -> None:
        """The exchange has been consumed or left."""


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
        self, loop: asyncio.AbstractEventLoop, connection: Carrier, *, started: float, whole: bool, limit: int
    ) -> None:
        self._loop = loop
        self._connection: Carrier | None = connection
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
        """The body of a complete answer; gives its connection back.

        Raises:
            UpstreamBroke: it is over the limit.
        """
        self._leave()
        if self._size > self._limit:  # its last read brought both the excess and the end
            raise UpstreamBroke(f"the answer is larger than {self._limit} bytes")
        pieces = self._pieces
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

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

    def arrived(self, now: float, connection: Carrier) -> None:
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
