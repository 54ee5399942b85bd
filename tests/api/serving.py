"""A real server on loopback around an `answer`, with nothing behind it; and a raw client."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from loopwright.api.asgi import AsgiExchange
from loopwright.api.lane import lane
from loopwright.api.lane_cycle import Answer, AtOnce

PATHS = {"/hot": "/hot"}


def listen() -> socket.socket:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(128)
    return listening


@asynccontextmanager
async def served(
    answer: Answer,
    *,
    paths: Mapping[str, str] = PATHS,
    body_limit: int = 1000,
    body_timeout: float = 60.0,
    keep_alive: int = 5,
    fast: bool = True,
    at_once: AtOnce | None = None,
) -> AsyncIterator[int]:
    """The port of a server whose hot paths go to `answer`, on the fast lane or as plain ASGI."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] in paths and scope["method"] == "POST":
            exchange = AsgiExchange(scope, receive, send, body_limit=body_limit, body_timeout=body_timeout)
            await answer(exchange)
            await exchange.close()
            return
        if scope["path"] == "/slow":
            await asyncio.sleep(0.6)
            while (await receive()).get("more_body"):
                pass
        body = scope["path"].encode()
        head = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]}
        await send(head)
        await send({"type": "http.response.body", "body": body})

    config = uvicorn.Config(
        app,
        http=lane(answer, paths, body_limit=body_limit, body_timeout=body_timeout, at_once=at_once)
        if fast
        else "httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        timeout_keep_alive=keep_alive,
    )
    server = uvicorn.Server(config)
    listening = listen()
    serving = asyncio.create_task(server._serve([listening]))
    try:
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        await serving
        listening.close()


def post(body: bytes, *, path: str = "/hot", headers: str = "", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return f"POST {path} HTTP/1.1\r\nhost: x\r\n{headers}content-length: {size}\r\n\r\n".encode() + body


class Raw:
    """A connection that sends and reads bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int) -> Raw:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """One whole response: status, headers, body."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(await self.reader.readline(), 16):
                body += await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            await self.reader.readexactly(2)
        elif "content-length" in headers:
            body = await self.reader.readexactly(int(headers["content-length"]))
        else:
            body = await self.reader.read()
        return int(head[0].split()[1]), headers, body

    async def closed(self) -> bool:
        """Whether the server closes the connection."""
        return await self.reader.read(1) == b""

    async def close(self) -> None:
        self.writer.close()
