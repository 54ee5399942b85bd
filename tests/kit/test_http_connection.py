"""Framing, limits and back-pressure: what comes back is read as it is meant, or refused."""

from __future__ import annotations

import asyncio

import pytest

from loopwright.core.errors import UpstreamBroke
from loopwright.kit.http import HttpClient
from loopwright.kit.http_connection import BARE_LIMIT
from loopwright.kit.http_exchange import HIGH_WATER
from tests.kit.raw_http import OK, Run, saying, serving, take_all, until


@pytest.mark.parametrize(
    ("answer", "close", "body"),
    [
        (OK, False, b"ok"),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\nt: v\r\n\r\n",
            False,
            b"ok",
        ),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil close", True, b"until close"),
        (b"HTTP/1.0 200 OK\r\n\r\nold", True, b"old"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK, False, b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", False, b""),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", False, b""),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", True, b"ok"),
    ],
)
def test_every_framing_is_read_whole_and_streamed(run: Run, *, answer: bytes, close: bool, body: bytes) -> None:
    async def main() -> None:
        async with serving(saying(answer), close=close) as server:
            client = HttpClient(base_url=server.url)
            for _ in range(2):
                assert (await client.request("POST", "/x", b"{}")).body == body
                streamed = await client.stream("POST", "/x", b"{}")
                assert b"".join([piece async for piece in streamed]) == body
            assert server.connections == (4 if close else 1)
            await client.close()

    run(main())


@pytest.mark.parametrize(
    "answer",
    [
        b"220 mail ESMTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * (BARE_LIMIT * 2),
        b"HTTP/1.1 100 Continue\r\n\r\n" * 5000,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nt: " + b"y" * (BARE_LIMIT * 8),
    ],
)
def test_what_is_not_http_breaks_and_is_not_pooled(run: Run, answer: bytes) -> None:
    async def main() -> None:
        async with serving(saying(answer)) as server:
            client = HttpClient(base_url=server.url)
            with pytest.raises(UpstreamBroke):
                await client.request("POST", "/x", b"{}")
            with pytest.raises(UpstreamBroke):
                await (await client.stream("POST", "/x", b"{}")).read()
            assert client.pool.idle == 0
            await client.close()

    run(main())


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", b"HTTP/1.1 200 OK\r\ncont"])
def test_an_answer_cut_off_breaks_after_what_came(run: Run, answer: bytes) -> None:
    async def main() -> None:
        async with serving(saying(answer), close=True) as server:
            client = HttpClient(base_url=server.url)
            with pytest.raises(UpstreamBroke, match="closed the connection"):
                await client.request("POST", "/x", b"{}")
            assert len(server.requests) == 1  # a fresh connection's request is never sent again
            taken: list[bytes] = []
            with pytest.raises(UpstreamBroke):
                await take_all(await client.stream("POST", "/x", b"{}"), taken)
            assert b"".join(taken) == (b"ok" if b"9" in answer else b"")
            await client.close()

    run(main())


def test_bytes_after_an_answer_are_never_taken_for_the_next(run: Run) -> None:
    async def main() -> None:
        async with serving(saying(OK + OK.replace(b"ok", b"NO"))) as server:
            client = HttpClient(base_url=server.url)
            for _ in range(3):
                assert (await client.request("POST", "/x")).body == b"ok"
            assert server.connections == 3
            await client.close()

    run(main())


def test_what_follows_an_answer_and_is_no_http_holds_nobody_up(run: Run) -> None:
    async def main() -> None:
        async with serving(saying(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok and more")) as server:
            client = HttpClient(base_url=server.url)
            assert (await client.request("POST", "/x", b"{}")).body == b"ok"
            assert await (await client.stream("POST", "/x", b"{}")).read() == b"ok"
            assert client.pool.idle == 0
            await client.close()

    run(main())


def test_unasked_bytes_on_an_idle_connection_close_it(run: Run) -> None:
    async def main() -> None:
        writers: list[asyncio.StreamWriter] = []

        async def answering(request: bytes, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            writer.write(OK)

        async with serving(answering) as server:
            client = HttpClient(base_url=server.url)
            await client.request("GET", "/x")
            writers[0].write(OK.replace(b"ok", b"NO"))
            await server.hung_up.wait()
            assert (await client.request("GET", "/x")).body == b"ok"
            await client.close()

    run(main())


def test_an_answer_over_the_limit_breaks(run: Run) -> None:
    async def main() -> None:
        async with serving(saying(b"HTTP/1.1 200 OK\r\ncontent-length: 900000\r\n\r\n" + b"x" * 900000)) as server:
            client = HttpClient(base_url=server.url, body_limit=500_000)
            with pytest.raises(UpstreamBroke, match="larger than 500000 bytes"):
                await client.request("GET", "/x")
            with pytest.raises(UpstreamBroke, match="larger than 500000 bytes"):
                await (await client.stream("GET", "/x")).read()
            streamed = [len(piece) async for piece in await client.stream("GET", "/x")]
            assert sum(streamed) == 900000  # a stream has no limit: it is never held
            await client.close()

    run(main())


def test_a_small_answer_over_a_small_limit_breaks(run: Run) -> None:
    async def main() -> None:
        async with serving(saying(OK)) as server:
            client = HttpClient(base_url=server.url, body_limit=1)
            with pytest.raises(UpstreamBroke, match="larger than 1 bytes"):
                await client.request("GET", "/x")
            assert (client.pool.idle, client.pool.busy) == (1, 0)
            await client.close()

    run(main())


def test_a_slow_consumer_slows_the_upstream_down(run: Run) -> None:
    total = 32 * 1024 * 1024

    async def main() -> None:
        async def answering(request: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
            for _ in range(total // 65536):
                writer.write(b"z" * 65536)
                await writer.drain()

        async with serving(answering) as server:
            client = HttpClient(base_url=server.url)
            answer = await client.stream("GET", "/x")
            taken = most = 0
            async for piece in answer:
                taken += len(piece)
                for _ in range(20):  # let the loop read as much as it would
                    await asyncio.sleep(0)
                most = max(most, answer.buffered)
            assert taken == total
            assert 0 < most <= HIGH_WATER + 262144
            assert (client.pool.idle, client.pool.busy) == (1, 0)
            await client.close()

    run(main())


def test_an_answer_that_comes_before_the_request_is_sent_is_read_but_not_pooled(run: Run) -> None:
    async def main() -> None:
        answered = asyncio.Event()

        async def client_of(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")  # and no more: the body stays in the network
            writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
            await answered.wait()
            writer.close()

        async with await asyncio.start_server(client_of, "127.0.0.1", 0, limit=1024) as server:
            port = server.sockets[0].getsockname()[1]
            client = HttpClient(base_url=f"http://127.0.0.1:{port}")
            reply = await client.request("POST", "/x", b"z" * 32_000_000)
            assert (reply.status, reply.body, client.pool.idle) == (413, b"no", 0)
            answered.set()
            await until(lambda: client.pool.open == 0)
            await client.close()

    run(main())


def test_settled_answers_give_their_connection_back(run: Run) -> None:
    async def main() -> None:
        go = asyncio.Event()

        async def answering(request: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nall\r\n")
            await go.wait()
            writer.write(b"0\r\n\r\n")

        async with serving(answering) as server:
            client = HttpClient(base_url=server.url)
            for _ in range(3):
                go.clear()
                answer = await client.stream("POST", "/x")
                assert await anext(answer) == b"all"
                answer.settle()
                await answer.aclose()
                assert client.pool.idle == 0
                go.set()
                await until(lambda: client.pool.idle == 1)
            assert server.connections == 1
            await client.close()

    run(main())
