"""The server: takes requests, lets fate choose their faults, counts what became of them."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, cast

import httptools

from loopwright.core.errors import SettingsError
from loopwright.kit.http_face import fold
from loopwright.testing.delivery import Delivery, model_in, refuse
from loopwright.testing.faults import Fate

_REMEMBERED = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class FaultyUpstream:
    """An OpenAI-compatible server that fails on demand. An async context manager; see the package for its use."""

    def __init__(
        self,
        *,
        faults: Iterable[str] = (),
        sequence: Sequence[str] = (),
        seed: int = 0,
        models: Sequence[str] = ("faulty-1",),
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        """`faults` strike every request by chance; before them request i meets `sequence[i]`. `port` 0: any free one.

        Raises:
            SettingsError: a fault is unknown or malformed.
        """
        self._fate = Fate(faults=faults, sequence=sequence, seed=seed)
        self._models = tuple(models)
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._changed = asyncio.Event()
        self._closing = False
        self.requests = 0
        """Requests that have arrived whole."""
        self.in_flight = 0
        """Requests being answered now."""
        self.cancelled = 0
        """Requests whose client hung up before its answer was complete."""
        self.accepted = 0
        """Connections made so far."""
        self.sent = 0
        """Bytes handed to the network so far."""
        self.seen: deque[Seen] = deque(maxlen=_REMEMBERED)
        """The last requests."""

    @property
    def url(self) -> str:
        """The base URL, with `/v1`."""
        return f"http://{self._host}:{self._port}/v1"

    @property
    def connections(self) -> int:
        """Connections open now."""
        return len(self._connections)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), self._host, self._port, backlog=1024)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        if self._server is not None:
            self._server.close()
        tasks = [connection.task for connection in self._connections if connection.task is not None]
        self.drop_connections()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.until(lambda: not self._connections)

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until `true()` of our counts, which is looked at whenever one changes."""
        while not true():
            self._changed.clear()
            await self._changed.wait()

    def drop_connections(self) -> None:
        """Close every connection, idle ones too, as a restart does."""
        for connection in tuple(self._connections):
            connection.close()

    # What connections report.

    def changed(self) -> None:
        """A count has changed."""
        self._changed.set()

    def joined(self, connection: _Connection) -> None:
        """A client has connected."""
        self.accepted += 1
        self._connections.add(connection)
        if self._closing:
            connection.close()
        self.changed()

    def left(self, connection: _Connection) -> None:
        """A connection is closed."""
        self._connections.discard(connection)
        self.changed()

    async def serve(self, connection: _Connection, seen: Seen) -> None:
        """Answer one request."""
        self.requests += 1
        self.in_flight += 1
        self.seen.append(seen)
        self.changed()
        try:
            faults = self._fate.choose(model_in(seen.body, seen.path))
            await Delivery(connection, faults, self._models).respond(seen.method, seen.path, seen.body)
        except SettingsError as problem:
            await refuse(connection, problem)
        except asyncio.CancelledError:
            self.cancelled += 1
        finally:
            self.in_flight -= 1
            self.changed()


class _Connection(asyncio.Protocol):
    """One client. Requests on it are answered one after the other."""

    def __init__(self, upstream: FaultyUpstream) -> None:
        self._upstream = upstream
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._waiting: deque[Seen] = deque()
        self.task: asyncio.Task[None] | None = None

    async def send(self, data: bytes) -> None:
        """Write, and wait while the client does not read."""
        if self._transport is None or self._transport.is_closing():
            raise asyncio.CancelledError
        self._transport.write(data)
        self._upstream.sent += len(data)
        await self._writable.wait()

    def close(self) -> None:
        """Close once everything is written."""
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        """Close at once with a TCP reset."""
        if self._transport is not None:
            sock = cast("socket.socket", self._transport.get_extra_info("socket"))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=64 * 1024)
        self._upstream.joined(self)

    def data_received(self, data: bytes) -> None:
        """Part of a request."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.close()

    def pause_writing(self) -> None:
        """The client does not read."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio gives it
        """The client has gone, or we have."""
        self._waiting.clear()
        if self.task is not None:
            self.task.cancel()
        self._writable.set()
        self._upstream.left(self)

    # The parser's side.

    def on_message_begin(self) -> None:
        """A request begins."""
        self._url, self._headers, self._body = b"", [], []

    def on_url(self, url: bytes) -> None:
        """Part of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        self._headers.append((name, value))

    def on_body(self, piece: bytes) -> None:
        """Part of the body."""
        self._body.append(piece)

    def on_message_complete(self) -> None:
        """The request is whole."""
        seen = Seen(
            method=self._parser.get_method().decode(),
            path=self._url.decode("latin-1").partition("?")[0],
            headers=fold(self._headers),
            body=b"".join(self._body),
        )
        self._waiting.append(seen)
        if self.task is None:
            self.task = asyncio.get_running_loop().create_task(self._serve())

    async def _serve(self) -> None:
        try:
            while self._waiting:
                await self._upstream.serve(self, self._waiting.popleft())
        finally:
            self.task = None
