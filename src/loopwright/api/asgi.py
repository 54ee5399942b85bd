"""The hot routes over plain ASGI: for other servers, and for requests that ask to upgrade the connection."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from loopwright.core.errors import BadRequest, TooLarge

Message = dict[str, Any]


class AsgiExchange:
    """An Exchange over `receive` and `send`."""

    def __init__(self, scope: Message, receive: Any, send: Any, *, body_limit: int, body_timeout: float) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._limit = body_limit
        self._timeout = body_timeout
        self._watch: asyncio.Task[None] | None = None
        self.path: str = scope["path"]

    def header(self, name: bytes) -> str | None:
        """A request header by its lower-case name."""
        return next((value.decode("latin-1") for key, value in self._scope["headers"] if key == name), None)

    async def body(self) -> bytes:
        """The whole request body; from then on a client that hangs up cancels the task."""
        pieces: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._timeout):
                more = True
                while more:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise asyncio.CancelledError
                    size += len(message.get("body", b""))
                    if size > self._limit:
                        raise TooLarge(f"the request body is over the limit of {self._limit} bytes (server.body_limit)")
                    pieces.append(message.get("body", b""))
                    more = message.get("more_body", False)
        except TimeoutError:
            raise BadRequest(f"the request body did not arrive within {self._timeout:g} s") from None
        task = asyncio.current_task()
        assert task is not None
        self._watch = asyncio.create_task(self._hang_up(task))
        return b"".join(pieces)

    async def _hang_up(self, task: asyncio.Task[Any]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        task.cancel()

    async def respond(self, status: int, headers: bytes, body: bytes) -> None:
        """A whole answer."""
        self._unwatch()
        lines = [*_pairs(headers), (b"content-length", str(len(body)).encode())]
        await self._send({"type": "http.response.start", "status": status, "headers": lines})
        await self._send({"type": "http.response.body", "body": body})

    async def start(self, headers: bytes) -> None:
        """Begin a streamed answer."""
        await self._send({"type": "http.response.start", "status": 200, "headers": _pairs(headers)})

    async def write(self, data: bytes) -> None:
        """A piece of a streamed answer."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes = b"") -> None:
        """The last piece of a streamed answer, and its end."""
        self._unwatch()
        await self._send({"type": "http.response.body", "body": data})

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    async def close(self) -> None:
        """Leave nothing running."""
        watch = self._watch
        self._unwatch()
        if watch is not None:
            with suppress(asyncio.CancelledError):
                await watch


def _pairs(lines: bytes) -> list[tuple[bytes, bytes]]:
    pairs = [line.partition(b": ") for line in lines.split(b"\r\n") if line]
    return [(name, value) for name, _, value in pairs]
