"""What is sent, and whose answer it gets: headers, addresses, reuse, TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

import pytest
import trustme

from loopwright.core.errors import BadRequest, SettingsError, Unavailable, UpstreamBroke
from loopwright.kit.http import HttpClient
from loopwright.kit.settings import Timeouts
from loopwright.testing import FaultyUpstream
from tests.kit.raw_http import OK, Run, saying, serving


def test_headers_go_out_and_come_back(run: Run) -> None:
    async def main() -> None:
        answer = b"HTTP/1.1 429 Slow\r\nRetry-After: 2\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 0\r\n\r\n"
        async with serving(saying(answer)) as server:
            client = HttpClient(base_url=server.url + "?api-version=1", headers={"authorization": "Bearer k"})
            reply = await client.request("POST", "/chat", b"{}", {"traceparent": "00-a-b-01"})
            assert (reply.status, reply.headers["retry-after"], reply.headers["x-a"]) == (429, "2", "1, 2")
            head = server.requests[0].decode()
            assert head.startswith("POST /v1/chat?api-version=1 HTTP/1.1\r\nhost: 127.0.0.1:")
            for line in ("authorization: Bearer k", "traceparent: 00-a-b-01", "accept-encoding: identity"):
                assert f"\r\n{line}\r\n" in head
            assert head.endswith("content-length: 2\r\n\r\n{}")
            await client.request("GET", "/models?x=1")
            assert server.requests[1].startswith(b"GET /v1/models?x=1&api-version=1 HTTP/1.1\r\n")
            assert b"content-length" not in server.requests[1]
            await client.close()

    run(main())


@pytest.mark.parametrize(
    ("name", "value"),
    [("x-a", "1\r\nx-b: 2"), ("x-a", "1\n"), ("x-a", "\x00"), ("x a", "1"), ("x-a:", "1"), ("", "1"), ("x\r\n", "1"),
     ("Content-Length", "5"), ("transfer-encoding", "chunked"), ("x-a", "日本")],
)  # fmt: skip
def test_headers_cannot_be_injected(name: str, value: str) -> None:
    async def main() -> None:
        client = HttpClient(base_url="http://127.0.0.1:9")
        with pytest.raises(BadRequest):
            await client.request("POST", "/x", b"", {name: value})

    asyncio.run(main())
    with pytest.raises(SettingsError):
        HttpClient(base_url="http://127.0.0.1:9", headers={name: value})


@pytest.mark.parametrize("path", ["/a b", "/a\r\nx: y", "/ü", "a"])
def test_paths_cannot_be_injected(path: str) -> None:
    async def main() -> None:
        with pytest.raises(BadRequest):
            await HttpClient(base_url="http://127.0.0.1:9").request("GET", path)

    asyncio.run(main())


@pytest.mark.parametrize(
    "url", ["ftp://x", "127.0.0.1:80", "http://", "http://u:secret@h/", "http://h:99999", "http://h/a b", "http://h:0"]
)
def test_addresses_that_cannot_be_used_are_refused(url: str) -> None:
    with pytest.raises(SettingsError) as told:
        HttpClient(base_url=url)
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("method", ["HEAD", "CONNECT", "GET /x HTTP/1.1\r\nx:"])
def test_methods_it_cannot_read_the_answer_of_are_refused(method: str) -> None:
    async def main() -> None:
        with pytest.raises(BadRequest):
            await HttpClient(base_url="http://127.0.0.1:9").request(method, "/x")

    asyncio.run(main())


def test_a_connection_closed_while_idle_is_replaced_unseen(run: Run) -> None:
    async def main() -> None:
        async with FaultyUpstream() as upstream:
            client = HttpClient(base_url=upstream.url)
            for _ in range(5):
                assert (await client.request("GET", "/models")).status == 200
                upstream.drop_connections()  # the next request may well be written before the close is seen
            assert upstream.requests == 5
            await client.close()

    run(main())


def test_a_reused_connection_that_dies_silently_is_tried_once_more(run: Run) -> None:
    async def main() -> None:
        answered = 0

        async def answering(request: bytes, writer: asyncio.StreamWriter) -> None:
            nonlocal answered
            answered += 1
            if answered in (2, 4, 5):
                writer.close()
                raise ConnectionError
            writer.write(OK)

        async with serving(answering) as server:
            client = HttpClient(base_url=server.url)
            assert (await client.request("POST", "/x")).body == b"ok"
            assert (await client.request("POST", "/x")).body == b"ok"  # 2 dies, 3 answers
            with pytest.raises(UpstreamBroke, match="before it answered"):
                await client.request("POST", "/x")  # 4 dies, 5 on a fresh connection dies: enough
            assert len(server.requests) == 5
            await client.close()

    run(main())


def test_a_reused_connection_that_dies_after_a_first_byte_is_not_tried_again(run: Run) -> None:
    async def main() -> None:
        async def answering(request: bytes, writer: asyncio.StreamWriter) -> None:
            if b"second" not in request:
                writer.write(OK)
                return
            writer.write(b"HTTP/1.1 2")
            await writer.drain()
            writer.close()
            raise ConnectionError

        async with serving(answering) as server:
            client = HttpClient(base_url=server.url)
            await client.request("POST", "/x")
            with pytest.raises(UpstreamBroke):
                await client.request("POST", "/second")
            assert len(server.requests) == 2
            await client.close()

    run(main())


def test_two_hundred_at_once_get_their_own_answers(run: Run) -> None:
    async def main() -> None:
        async def answering(request: bytes, writer: asyncio.StreamWriter) -> None:
            body = request.partition(b"\r\n\r\n")[2]
            await asyncio.sleep(hash(body) % 7 / 1000)
            half = len(body) // 2
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body[:half])
            await asyncio.sleep(0)
            writer.write(body[half:])

        async with serving(answering) as server:
            client = HttpClient(base_url=server.url, limit=40)

            async def one(i: int) -> None:
                for j in range(5):
                    body = b"%d:%d:" % (i, j) * 50
                    if (i + j) % 2:
                        assert (await client.request("POST", "/x", body)).body == body
                    else:
                        assert await (await client.stream("POST", "/x", body)).read() == body

            await asyncio.gather(*(one(i) for i in range(200)))
            assert server.connections <= 40
            assert (client.pool.busy, client.pool.open) == (0, client.pool.idle)
            await client.close()

    run(main())


def test_more_than_the_limit_wait_and_then_are_told(run: Run) -> None:
    async def main() -> None:
        async with FaultyUpstream() as upstream:
            client = HttpClient(base_url=upstream.url, limit=2, timeouts=Timeouts(connect=0.1))
            body = b'{"model":"fault:stall=0","stream":true,"messages":[]}'
            held = [await client.stream("POST", "/chat/completions", body) for _ in range(2)]
            with pytest.raises(Unavailable, match="all 2 connections"):
                await client.request("GET", "/models")
            waiting = asyncio.create_task(client.request("GET", "/models"))
            await asyncio.sleep(0)
            await held[0].aclose()
            assert (await waiting).status == 200
            await held[1].aclose()
            await client.close()

    run(main())


def test_an_upstream_that_is_not_there_is_unavailable(run: Run) -> None:
    async def main() -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            client = HttpClient(base_url=f"http://127.0.0.1:{closed.getsockname()[1]}")
            with pytest.raises(Unavailable, match=r"cannot connect to http://127\.0\.0\.1"):
                await client.request("GET", "/x")
        unnamed = HttpClient(base_url="http://nobody.invalid")
        with pytest.raises(Unavailable, match=r"nobody\.invalid"):
            await unnamed.request("GET", "/x")
        assert (client.pool.open, unnamed.pool.open) == (0, 0)

    run(main())


def test_a_closed_client_says_so(run: Run) -> None:
    async def main() -> None:
        async with FaultyUpstream() as upstream:
            client = HttpClient(base_url=upstream.url)
            body = b'{"model":"fault:stall","messages":[]}'
            waiting = asyncio.create_task(client.request("POST", "/chat/completions", body))
            await upstream.until(lambda: upstream.in_flight == 1)
            await client.close()
            with pytest.raises(UpstreamBroke, match="client was closed"):
                await waiting
            with pytest.raises(Unavailable, match="is closed"):
                await client.request("GET", "/models")
            await upstream.until(lambda: upstream.connections == 0)

    run(main())


def test_many_connections(run: Run) -> None:
    async def main() -> None:
        async with FaultyUpstream(faults=["latency=0.2"]) as upstream:
            client = HttpClient(base_url=upstream.url, limit=400)
            replies = await asyncio.gather(*(client.request("GET", "/models") for _ in range(400)))
            assert {reply.status for reply in replies} == {200}
            assert client.pool.idle == upstream.connections
            await client.close()
            await upstream.until(lambda: upstream.connections == 0)

    run(main())


def test_tls_is_verified(run: Run, tmp_path: Path) -> None:
    trust, context = _certified(tmp_path)

    async def main() -> None:
        async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(OK)

        async def quiet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await answering(reader, writer)
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()

        server = await asyncio.start_server(quiet, "127.0.0.1", 0, ssl=context)
        url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
        strict = HttpClient(base_url=url)
        with pytest.raises(UpstreamBroke, match="TLS"):
            await strict.request("GET", "/x")
        for verify in (trust, False):
            client = HttpClient(base_url=url, verify=verify)
            for _ in range(3):
                assert (await client.request("GET", "/x")).body == b"ok"
            assert client.pool.open == 1
            await client.close()
        await strict.close()
        server.close()
        await asyncio.sleep(0.05)  # the TLS shutdown

    run(main())


def _certified(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """(a client context that trusts it, a server context) of a certificate for localhost made on the spot."""

    authority = trustme.CA()
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    return trust, server
