"""A worker whose watch fails does not go on as if nothing were: it ends, and another one is started."""

import asyncio
import socket
from typing import Any

import httpx
import pytest
import uvicorn

from loopwright.api.server import watched

pytestmark = pytest.mark.anyio


async def hello(scope: Any, receive: Any, send: Any) -> None:
    del scope, receive
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


def server() -> uvicorn.Server:
    return uvicorn.Server(uvicorn.Config(hello, lifespan="off", log_config=None))


async def test_a_watch_that_fails_ends_the_worker() -> None:
    fail = asyncio.Event()

    async def watch() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(3600))
            await fail.wait()
            raise ValueError("the payload is too long")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = asyncio.create_task(watched(server(), watch(), listening))
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"http://127.0.0.1:{listening.getsockname()[1]}")).text == "hello"
        fail.set()
        with pytest.raises(ExceptionGroup, match="unhandled errors"):
            await asyncio.wait_for(serving, 30)
