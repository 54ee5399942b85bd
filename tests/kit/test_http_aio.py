"""Through an HTTP proxy: the same face, the same errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from loopwright.core.errors import SettingsError, Unavailable, UpstreamBroke, UpstreamTimeout
from loopwright.kit.http import HttpClient
from loopwright.kit.http_aio import proxy_for
from loopwright.kit.settings import Timeouts
from loopwright.testing import FaultyUpstream, answer_to


@asynccontextmanager
async def proxying() -> AsyncIterator[tuple[str, list[bytes]]]:
    """A small forward proxy; yields its URL and the request lines it saw."""
    seen: list[bytes] = []
    tasks: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        line = await reader.readline()
        seen.append(line)
        method, target, version = line.split(b" ")
        host, _, path = target.removeprefix(b"http://").partition(b"/")
        name, _, port = host.partition(b":")
        try:
            far_reader, far_writer = await asyncio.open_connection(name.decode(), int(port))
        except OSError:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n")
            writer.close()
            return
        far_writer.write(method + b" /" + path + b" " + version)
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    server = await asyncio.start_server(client, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", seen
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def asking(fault: str, *, stream: bool = True) -> bytes:
    flag = b',"stream":true' if stream else b""
    return b'{"model":"fault:%b","messages":[{"role":"user","content":"hi"}]%b}' % (fault.encode(), flag)


@pytest.mark.anyio
async def test_requests_and_streams_go_through_it() -> None:
    async with asyncio.timeout(30), FaultyUpstream() as upstream, proxying() as (proxy, seen):
        client = HttpClient(base_url=upstream.url, headers={"authorization": "Bearer k"}, proxy=proxy)
        reply = await client.request("POST", "/chat/completions", asking("ok", stream=False))
        assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
        assert answer_to("hi") in reply.body.decode()
        assert seen[0].startswith(f"POST {upstream.url}/chat/completions".encode())
        assert upstream.seen[0].headers["authorization"] == "Bearer k"
        answer = await client.stream("POST", "/chat/completions", asking("ok"))
        assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        assert (await answer.read()).endswith(b"data: [DONE]\n\n")
        await answer.aclose()
        await client.close()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("fault", "timeouts", "named"),
    [
        ("latency=20", Timeouts(first_token=0.1), "first_token"),
        ("first-token=20", Timeouts(first_token=0.2), "first_token"),
        ("stall", Timeouts(between_tokens=0.1), "between_tokens"),
        ("between-tokens=0.02", Timeouts(total=0.15), "total"),
    ],
)
async def test_time_outs_are_named(fault: str, timeouts: Timeouts, named: str) -> None:
    async with asyncio.timeout(30), FaultyUpstream() as upstream, proxying() as (proxy, _):
        client = HttpClient(base_url=upstream.url, timeouts=timeouts, proxy=proxy)
        with pytest.raises(UpstreamTimeout, match=named):
            await (await client.stream("POST", "/chat/completions", asking(fault))).read()
        await upstream.until(lambda: upstream.cancelled == 1)
        await client.close()


@pytest.mark.anyio
async def test_what_breaks_and_what_is_left() -> None:
    async with asyncio.timeout(30), FaultyUpstream() as upstream, proxying() as (proxy, _):
        client = HttpClient(base_url=upstream.url, proxy=proxy, body_limit=100)
        for fault in ("reset", "reset-midstream"):
            with pytest.raises(UpstreamBroke):
                await client.request("POST", "/chat/completions", asking(fault))
        with pytest.raises(UpstreamBroke, match="larger than 100 bytes"):
            await client.request("POST", "/chat/completions", asking("ok"))
        answer = await client.stream("POST", "/chat/completions", asking("stall"))
        assert await anext(answer)
        await answer.aclose()
        await upstream.until(lambda: upstream.cancelled == 1)
        waiting = asyncio.create_task(client.request("POST", "/chat/completions", asking("latency=20")))
        await upstream.until(lambda: upstream.in_flight == 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await upstream.until(lambda: upstream.cancelled == 2)
        await client.close()


@pytest.mark.anyio
async def test_no_proxy_there() -> None:
    client = HttpClient(base_url="http://far.example/v1", proxy="http://127.0.0.1:1")
    with pytest.raises(Unavailable, match="through the proxy"):
        await client.request("GET", "/models")
    await client.close()
    with pytest.raises(SettingsError):
        HttpClient(base_url="http://far.example/v1", proxy="socks5://127.0.0.1:1")


@pytest.mark.parametrize(
    ("url", "spared", "proxied"),
    [
        ("http://far.example/v1", "", True),
        ("https://far.example/v1", "", True),
        ("http://far.example/v1", "far.example", False),
        ("http://a.far.example/v1", ".far.example", False),
        ("http://afar.example/v1", "far.example", True),
        ("http://far.example:81/v1", "far.example:80", True),
        ("http://far.example:80/v1", "far.example:80", False),
        ("http://10.1.2.3/v1", "10.0.0.0/8", False),
        ("http://far.example/v1", "*", False),
        ("http://127.0.0.1:9/v1", "", False),
        ("http://localhost/v1", "", False),
        ("http://[::1]/v1", "", False),
        ("http://far.example/v1", " , near.example", True),
    ],
)
def test_which_proxy_an_environment_names(url: str, spared: str, *, proxied: bool) -> None:
    env = {"HTTP_PROXY": "proxy.example:3128", "https_proxy": "http://proxy.example:3128", "NO_PROXY": spared}
    assert proxy_for(url, env) == ("http://proxy.example:3128" if proxied else None)
    assert proxy_for(url, {}) is None
