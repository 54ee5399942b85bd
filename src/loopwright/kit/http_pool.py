"""Connections to one upstream: taken, given back, expired, watched for time-outs. Knows nothing of URLs or headers."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque

from loopwright.core.errors import LoopwrightError, Unavailable, UpstreamBroke, UpstreamRefused, UpstreamTimeout
from loopwright.kit.addresses import Resolve, is_address, is_metadata, resolved
from loopwright.kit.http_connection import Connection
from loopwright.kit.http_exchange import Exchange
from loopwright.kit.settings import Timeouts

IDLE_SECONDS = 30.0
"""Seconds an unused connection is kept."""
SWEEP_SECONDS = 0.05
"""One timer for all connections looks at every deadline this often while anything is in flight; a timer for each
request would cost more than the rest of the request."""


class Pool:
    """At most `limit` connections to `host:port`, the last used first."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        tls: ssl.SSLContext | None,
        timeouts: Timeouts,
        limit: int,
        body_limit: int,
        link_local: bool = False,
        resolve: Resolve = resolved,
    ) -> None:
        shown = f"[{host}]" if ":" in host else host
        self.origin = f"{'http' if tls is None else 'https'}://{shown}:{port}"
        self._host = host
        self._port = port
        self._tls = tls
        self._timeouts = timeouts
        self._limit = limit
        self._body_limit = body_limit
        self._link_local = link_local
        self._resolve = None if is_address(host) else resolve
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._open = 0  # connections open or being opened
        self._turns: deque[asyncio.Future[None]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._watching = False  # the timer runs at SWEEP_SECONDS, not at the idle pace
        self._closed = False

    @property
    def open(self) -> int:
        """Connections open or being opened."""
        return self._open

    @property
    def idle(self) -> int:
        """Connections waiting for a request."""
        return len(self._idle)

    @property
    def busy(self) -> int:
        """Connections with an answer on its way."""
        return len(self._busy)

    async def exchange(self, request: bytes, *, whole: bool) -> Exchange:
        """Send a request; returns with its head, or with the whole answer when `whole`.

        A request that went out on a reused connection which the upstream had already closed is sent once more, on a
        fresh one: not a byte of an answer had come, and the close came at once.

        Raises:
            Unavailable: the upstream cannot be reached, or `limit` connections are busy for the connect time-out.
            UpstreamTimeout: the message names the time-out.
            UpstreamBroke: cut off or malformed.
        """
        loop = self._loop
        if loop is None:  # to ask each time is a system call
            loop = self._loop = asyncio.get_running_loop()
        started = loop.time()
        connection = await self._take(fresh=False)
        while True:
            exchange = Exchange(loop, connection, started=started, whole=whole, limit=self._body_limit)
            self._busy.add(connection)
            if not self._watching:
                self._watch(loop)
            connection.send(exchange, request, loop.time())
            await exchange.begun()
            failure = exchange.failure
            if failure is None:
                return exchange
            if not exchange.stale:
                raise failure
            connection = await self._take(fresh=True)

    def close(self) -> None:
        """Close every connection; answers in flight fail."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for connection in (*self._busy, *self._idle):
            if connection.exchange is not None:
                connection.exchange.fail(UpstreamBroke("the HTTP client was closed"))
            connection.abort()
        self._idle.clear()
        while self._turns:
            self._next_turn()

    # What connections report.

    def release(self, connection: Connection) -> None:
        """An answer was consumed to its end, or left."""
        self._busy.discard(connection)
        if connection.usable() and not self._closed:
            connection.reused = True
            self._idle.append(connection)
            if self._turns:
                self._next_turn()

    def lost(self, connection: Connection) -> None:
        """A connection is closed."""
        self._open -= 1
        self._busy.discard(connection)
        self._next_turn()

    # Taking one.

    async def _take(self, *, fresh: bool) -> Connection:
        waited = False
        while True:
            if self._closed:
                raise Unavailable(f"the HTTP client of {self.origin} is closed")
            if waited or not self._turns:
                while self._idle and not fresh:
                    connection = self._idle.pop()
                    if connection.usable():
                        return connection
                if self._open < self._limit:
                    return await self._connect()
                if fresh and self._idle:
                    self._idle.pop(0).abort()
            await self._turn()
            waited = True

    async def _turn(self) -> None:
        """Wait until a connection or a place for one may be free."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turns.append(turn)
        try:
            async with asyncio.timeout(self._timeouts.connect):
                await turn
        except TimeoutError:
            self._pass_on(turn)
            raise Unavailable(f"all {self._limit} connections to {self.origin} are busy", retry_after=1.0) from None
        except asyncio.CancelledError:
            self._pass_on(turn)
            raise

    def _pass_on(self, turn: asyncio.Future[None]) -> None:
        """Give up a turn; had it come already, the next one has it."""
        if turn.cancelled():
            if turn in self._turns:
                self._turns.remove(turn)
        else:
            self._next_turn()

    def _next_turn(self) -> None:
        while self._turns:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        connection = Connection(loop, self)
        self._open += 1
        made = False
        try:
            async with asyncio.timeout(self._timeouts.connect):
                await self._open_at(loop, connection, await self._addresses())
            made = True
        except OSError as problem:  # a TimeoutError is one as well
            raise self._unreached(problem) from None
        finally:
            if not made:
                connection.disown()
                self._open -= 1
                self._next_turn()
        return connection

    async def resolved(self) -> list[str]:
        """Where the host is now.

        Raises:
            Unavailable: nobody knows the name.
            UpstreamRefused: as `_addresses`.
        """
        try:
            async with asyncio.timeout(self._timeouts.connect):
                return await self._addresses()
        except OSError as problem:
            raise self._unreached(problem) from None

    async def _addresses(self) -> list[str]:
        """Where the host is now, best first. They are what is looked at and what is connected to.

        Raises:
            OSError: nobody knows the name.
            UpstreamRefused: it leads to where a cloud tells a machine its credentials.
        """
        if self._resolve is None:
            return [self._host]
        addresses = await self._resolve(self._host, self._port)
        for address in () if self._link_local else addresses:
            if is_metadata(address):
                why = "where a cloud tells a machine its credentials: `link_local: true` of the provider allows it"
                raise UpstreamRefused(f"{self.origin} leads to {address}, {why}")
        return addresses

    async def _open_at(self, loop: asyncio.AbstractEventLoop, connection: Connection, addresses: list[str]) -> None:
        """Connect to the first that takes us."""
        name = None if self._tls is None else self._host
        problem: OSError = OSError("the name has no address")
        for address in addresses:
            try:
                await loop.create_connection(
                    lambda: connection, address, self._port, ssl=self._tls, server_hostname=name
                )
            except ssl.SSLError:
                raise
            except OSError as found:
                problem = found
            else:
                return
        raise problem

    def _unreached(self, problem: OSError) -> LoopwrightError:
        if isinstance(problem, ssl.SSLError):
            return UpstreamBroke(f"no TLS connection to {self.origin}: {problem}")
        if isinstance(problem, TimeoutError):
            limit = self._timeouts.connect
            late = UpstreamTimeout(f"no connection to {self.origin} within `timeouts.connect` = {limit:g} s")
            late.asked = False
            return late
        why = problem.strerror or str(problem)
        return Unavailable(
            f"cannot connect to {self.origin}: {why}; check that it runs and the address is right", retry_after=1.0
        )

    # Watching.

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._watching = True
        self._timer = loop.call_later(SWEEP_SECONDS, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in tuple(self._busy):
            exchange = connection.exchange
            late = None if exchange is None else exchange.overdue(now, self._timeouts, self.origin)
            if late is not None and exchange is not None:
                exchange.fail(late)
                connection.abort()
        if self._idle and now - self._idle[0].idle_since > IDLE_SECONDS:
            self.expire(now)
        self._watching = bool(self._busy)
        if self._watching:
            self._timer = loop.call_later(SWEEP_SECONDS, self._sweep, loop)
        elif self._idle:
            self._timer = loop.call_later(IDLE_SECONDS, self._sweep, loop)
        else:
            self._timer = None

    def expire(self, now: float) -> None:
        """Close what has been idle for too long at loop time `now`."""
        kept = []
        for connection in self._idle:
            if not connection.usable():
                continue
            if now - connection.idle_since > IDLE_SECONDS:
                connection.abort()
            else:
                kept.append(connection)
        self._idle = kept
