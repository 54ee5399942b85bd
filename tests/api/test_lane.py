import asyncio
from typing import TypedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.api.exchange import Exchange, Given
from loopwright.api.hot import refuse
from loopwright.core.errors import LoopwrightError
from tests.api.serving import Raw, post, served

pytestmark = pytest.mark.anyio
PLAIN = b"content-type: text/plain\r\n"


async def echo(exchange: Exchange) -> None:
    try:
        body = await exchange.body()
    except LoopwrightError as error:
        await refuse(exchange, error)
        return
    await exchange.respond(200, PLAIN, body)


async def stream(exchange: Exchange) -> None:
    body = await exchange.body()
    await exchange.start(PLAIN)
    for byte in body:
        await exchange.write(bytes([byte]))
        await asyncio.sleep(0)
    await exchange.end()


class Lanes(TypedDict):
    fast: bool


LANES = pytest.mark.parametrize("lanes", [{"fast": True}, {"fast": False}], ids=["lane", "asgi"])


@LANES
async def test_a_request_is_answered_and_the_connection_kept(lanes: Lanes) -> None:
    async with served(echo, **lanes) as port:
        raw = await Raw.open(port)
        for word in (b"one", b"two", b""):
            await raw.send(post(word))
            status, headers, body = await raw.answer()
            assert (status, body, headers["content-type"]) == (200, word, "text/plain")
        await raw.close()


@LANES
async def test_a_connection_that_rests_is_closed_and_none_that_does_not(lanes: Lanes) -> None:
    async with served(echo, keep_alive=1, **lanes) as port:
        raw = await Raw.open(port)
        for _ in range(3):
            await raw.send(post(b"one"))
            assert (await raw.answer())[2] == b"one"
            await asyncio.sleep(0.6)
        assert await raw.closed()
        await raw.close()


async def test_an_offer_of_http2_is_declined_without_losing_the_body() -> None:
    async with served(echo) as port:
        raw = await Raw.open(port)
        offer = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk\r\n"
        await raw.send(post(b"upgrade: h2c", headers=offer))
        assert (await raw.answer())[2] == b"upgrade: h2c"
        await raw.send(post(b"two"))
        assert (await raw.answer())[2] == b"two"
        await raw.close()


@LANES
async def test_a_stream_arrives_in_chunks_and_the_connection_is_kept(lanes: Lanes) -> None:
    async with served(stream, **lanes) as port:
        raw = await Raw.open(port)
        for word in (b"hello", b"again"):
            await raw.send(post(word))
            status, headers, body = await raw.answer()
            assert (status, body, headers["transfer-encoding"]) == (200, word, "chunked")
        await raw.close()


async def test_an_old_client_gets_its_stream_unchunked() -> None:
    async with served(stream) as port:
        raw = await Raw.open(port)
        await raw.send(b"POST /hot HTTP/1.0\r\ncontent-length: 5\r\n\r\nhello")
        status, headers, body = await raw.answer()
        assert (status, body) == (200, b"hello")
        assert "transfer-encoding" not in headers
        await raw.close()


async def test_pipelined_requests_are_answered_in_order() -> None:
    async def slow_first(exchange: Exchange) -> None:
        body = await exchange.body()
        if body == b"1":
            await asyncio.sleep(0.05)
        await exchange.respond(200, PLAIN, body)

    async with served(slow_first) as port:
        raw = await Raw.open(port)
        get = b"GET /cold HTTP/1.1\r\nhost: x\r\n\r\n"
        await raw.send(post(b"1") + post(b"2") + get + post(b"3"))
        answers = [(await raw.answer())[2] for _ in range(4)]
        assert answers == [b"1", b"2", b"/cold", b"3"]
        await raw.close()


async def test_what_is_there_already_is_answered_at_once_and_in_its_turn() -> None:
    def at_once(_exchange: Exchange, raw: bytes) -> Given | None:
        if raw.startswith(b"broken"):
            raise ValueError(raw)
        return Given(PLAIN, raw + b"!", raw.startswith(b"stream")) if raw.endswith(b"known") else None

    async with served(echo, body_limit=12, at_once=at_once) as port:
        raw = await Raw.open(port)
        words = [b"known", b"stream known", b"new", b"known", b"broken", b"known"]
        await raw.send(b"".join(map(post, words)) + post(b"known")[:-3])
        answers = [(await raw.answer())[1:] for _ in words]
        # What had to wait for its turn takes the usual way.
        assert [body for _, body in answers] == [b"known!", b"stream known!", b"new", b"known", b"broken", b"known"]
        assert answers[1][0]["transfer-encoding"] == "chunked"
        await raw.send(b"own")
        assert (await raw.answer())[2].startswith(b"known")
        await raw.send(post(b"known") + post(b"known"))
        assert [(await raw.answer())[2] for _ in range(2)] == [b"known!", b"known!"]
        await raw.send(post(b"much too long, known"))
        assert (await raw.answer())[0] == 413
        await raw.close()
        old = await Raw.open(port)
        await old.send(b"POST /hot HTTP/1.0\r\ncontent-length: 12\r\n\r\nstream known")
        assert (await old.answer())[2] == b"stream known!"
        await old.close()


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(1, 120), max_size=8))
def test_a_request_may_arrive_in_any_pieces(cuts: list[int]) -> None:
    async def main() -> None:
        async with served(echo) as port:
            raw = await Raw.open(port)
            whole = post(b"x" * 40, headers="a: b\r\n") + post(b"y" * 10)
            at = 0
            for cut in [*sorted(cuts), len(whole)]:
                await raw.send(whole[at:cut])
                at = max(cut, at)
                await asyncio.sleep(0)
            assert (await raw.answer())[2] == b"x" * 40
            assert (await raw.answer())[2] == b"y" * 10
            await raw.close()

    asyncio.run(main())


async def test_a_chunked_body_is_read() -> None:
    async with served(echo) as port:
        raw = await Raw.open(port)
        head = b"POST /hot HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        await raw.send(head + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")
        assert (await raw.answer())[2] == b"hello world"
        await raw.close()


@pytest.mark.parametrize("how", ["announced", "chunked"])
async def test_a_body_over_the_limit_is_refused_in_a_readable_way(how: str) -> None:
    async with served(echo, body_limit=1000) as port:
        raw = await Raw.open(port)
        if how == "announced":
            await raw.send(post(b"", length=2000))
        else:
            head = b"POST /hot HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
            await raw.send(head + b"7d0\r\n" + b"x" * 2000 + b"\r\n")
        status, headers, body = await raw.answer()
        assert (status, headers["connection"]) == (413, "close")
        assert b"limit of 1000 bytes" in body
        assert await raw.closed()
        await raw.close()


async def test_a_client_that_asks_before_sending_is_told_to_go_on() -> None:
    async with served(echo) as port:
        raw = await Raw.open(port)
        await raw.send(post(b"", headers="expect: 100-continue\r\n", length=5))
        assert await raw.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await raw.send(b"hello")
        assert (await raw.answer())[2] == b"hello"
        await raw.close()


@pytest.mark.parametrize("sent", [b"", b"POST /hot HTTP/1.1\r\nhos", post(b"abc", length=9)])
async def test_a_request_that_does_not_arrive_ends_the_connection(sent: bytes) -> None:
    async with served(echo, body_timeout=0.2) as port:
        raw = await Raw.open(port)
        await raw.send(sent)
        assert await raw.closed()
        await raw.close()


async def test_a_body_that_waits_for_its_reader_is_not_too_late() -> None:
    async with served(echo, body_timeout=0.2) as port:
        raw = await Raw.open(port)
        await raw.send(post(b"x" * 3_000_000, path="/slow"))
        assert (await raw.answer())[2] == b"/slow"
        await raw.close()


@LANES
@pytest.mark.parametrize("when", ["before", "during"])
async def test_a_client_that_hangs_up_cancels_the_answer(when: str, lanes: Lanes) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def endless(exchange: Exchange) -> None:
        await exchange.body()
        try:
            if when == "during":
                await exchange.start(PLAIN)
                await exchange.write(b"x")
            began.set()
            while True:
                await asyncio.sleep(0.01)
                if when == "during":
                    await exchange.write(b"x")
        except asyncio.CancelledError:
            ended.set()
            raise

    async with served(endless, **lanes) as port:
        raw = await Raw.open(port)
        await raw.send(post(b"x"))
        await began.wait()
        await raw.close()
        async with asyncio.timeout(10):
            await ended.wait()


async def test_a_slow_reader_holds_the_writer_back() -> None:
    written = 0
    done = asyncio.Event()

    async def flood(exchange: Exchange) -> None:
        nonlocal written
        await exchange.body()
        await exchange.start(PLAIN)
        for _ in range(2000):
            await exchange.write(b"x" * 100_000)
            written += 100_000
        await exchange.end()
        done.set()

    async with served(flood) as port:
        raw = await Raw.open(port)
        await raw.send(post(b"x"))
        await raw.reader.readexactly(10)
        before = -1
        while written != before:
            before = written
            await asyncio.sleep(0.3)
        assert written < 50_000_000
        assert not done.is_set()
        await raw.close()


async def test_a_failing_answer_closes_its_connection_and_no_other() -> None:
    async def failing(exchange: Exchange) -> None:
        if await exchange.body() == b"fail":
            raise RuntimeError("on purpose")
        await exchange.respond(200, PLAIN, b"fine")

    async with served(failing) as port:
        bad, good = await Raw.open(port), await Raw.open(port)
        await bad.send(post(b"fail"))
        assert await bad.closed()
        await good.send(post(b"x"))
        assert (await good.answer())[2] == b"fine"
        await bad.close()
        await good.close()
