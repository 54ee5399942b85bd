"""A server that answers with whatever bytes a test wants, for what no well-behaved server would do."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from loopwright.kit.http import Answer

Run = Callable[[Coroutine[Any, Any, None]], None]
Answering = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


@dataclass
class Raw:
    url: str
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)


def saying(answer: bytes) -> Answering:
    async def say(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    return say


@asynccontextmanager
async def serving(answering: Answering, *, close: bool = False) -> AsyncIterator[Raw]:
    """Answer each request by `answering`; `close` hangs up after every answer."""
    raw = Raw("")
    tasks: set[asyncio.Task[None]] = set()

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        raw.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                found = _LENGTH.search(head)
                body = await reader.readexactly(int(found[1])) if found else b""
                raw.requests.append(head + body)
                await answering(head + body, writer)
                if close:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            raw.hung_up.set()
        finally:
            writer.close()

    server = await asyncio.start_server(client, "127.0.0.1", 0)
    raw.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield raw
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)


async def until(true: Callable[[], bool]) -> None:
    """Wait for what no event tells; the caller bounds the time."""
    for _ in range(100_000):
        if true():
            return
        await asyncio.sleep(0.001)


async def take_all(answer: Answer, taken: list[bytes]) -> None:
    async for piece in answer:
        taken.append(piece)  # noqa: PERF401 - what came before a failure counts


async def bounded(main: Coroutine[Any, Any, None]) -> None:
    async with asyncio.timeout(30):
        await main
