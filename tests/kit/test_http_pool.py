"""Time-outs and cancellation: in every window the upstream's work stops and its connection is never used again."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

import pytest

from loopwright.core.errors import UpstreamTimeout
from loopwright.kit import http_pool
from loopwright.kit.http import HttpClient
from loopwright.kit.settings import Timeouts
from loopwright.testing import FaultyUpstream
from tests.kit.raw_http import Run, saying, serving, until

PATH = "/chat/completions"


def asking(fault: str, *, stream: bool = True) -> bytes:
    flag = b',"stream":true' if stream else b""
    return b'{"model":"fault:%b","messages":[{"role":"user","content":"hi"}]%b}' % (fault.encode(), flag)


async def read(client: HttpClient, fault: str, *, stream: bool) -> None:
    if stream:
        await (await client.stream("POST", PATH, asking(fault))).read()
    else:
        await client.request("POST", PATH, asking(fault, stream=False))


@pytest.mark.parametrize(
    ("fault", "stream", "timeouts", "named"),
    [
        ("latency=50", True, Timeouts(first_token=0.15), "first_token` = 0.15 s"),
        ("first-token=50", True, Timeouts(first_token=0.15), "first_token` = 0.15 s"),
        ("stall", True, Timeouts(between_tokens=0.15), "between_tokens` = 0.15 s"),
        ("between-tokens=0.02", True, Timeouts(total=0.15), "total` = 0.15 s"),
        ("latency=50", False, Timeouts(total=0.15), "total` = 0.15 s"),
        ("stall", False, Timeouts(between_tokens=0.15), "between_tokens` = 0.15 s"),
    ],
)
def test_each_time_out_is_named_and_stops_the_upstream(
    run: Run, *, fault: str, stream: bool, timeouts: Timeouts, named: str
) -> None:
    async def main() -> None:
        async with FaultyUpstream() as upstream:
            client = HttpClient(base_url=upstream.url, timeouts=timeouts)
            with pytest.raises(UpstreamTimeout, match=named):
                await read(client, fault, stream=stream)
            await upstream.until(lambda: upstream.cancelled == 1)
            assert (client.pool.idle, client.pool.busy) == (0, 0)
            assert (await client.request("GET", "/models")).status == 200
            await client.close()

    run(main())


def test_a_whole_answer_may_take_longer_than_a_first_token(run: Run) -> None:
    async def main() -> None:
        async with FaultyUpstream() as upstream:
            client = HttpClient(base_url=upstream.url, timeouts=Timeouts(first_token=0.05))
            assert (await client.request("POST", PATH, asking("latency=0.4", stream=False))).status == 200
            await client.close()

    run(main())


def test_a_consumer_that_takes_its_time_is_no_time_out(run: Run) -> None:
    async def main() -> None:
        big = b"HTTP/1.1 200 OK\r\ncontent-length: 4000000\r\n\r\n" + b"x" * 4_000_000
        async with serving(saying(big)) as server:
            client = HttpClient(base_url=server.url, timeouts=Timeouts(first_token=0.1, between_tokens=0.1))
            answer = await client.stream("GET", "/x")
            await asyncio.sleep(0.4)
            assert len(await answer.read()) == 4_000_000
            await client.close()

    run(main())


def test_no_connection_in_time(run: Run) -> None:
    async def main() -> None:
        # A listener whose backlog is full lets further connections hang.
        with socket.socket() as full, socket.socket() as first, socket.socket() as second:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            for filler in (first, second):
                filler.settimeout(0)
                with suppress(BlockingIOError):
                    filler.connect(full.getsockname())
            client = HttpClient(
                base_url=f"http://127.0.0.1:{full.getsockname()[1]}", timeouts=Timeouts(connect=0.2, total=5)
            )
            with pytest.raises(UpstreamTimeout, match=r"timeouts.connect` = 0.2 s"):
                await client.request("GET", "/x")
            assert client.pool.open == 0
            await client.close()

    run(main())


def test_cancelled_while_connecting(run: Run) -> None:
    async def main() -> None:
        async with FaultyUpstream() as upstream:
            client = HttpClient(base_url=upstream.url)
            for pause in range(6):  # at each step of making a connection
                asking_now = asyncio.create_task(client.request("GET", "/models"))
                for _ in range(pause):
                    await asyncio.sleep(0)
                asking_now.cancel()
                with suppress(asyncio.CancelledError):
                    await asking_now
            await upstream.until(lambda: upstream.in_flight == 0)
            await until(lambda: client.pool.open == client.pool.idle)
            assert (await client.request("GET", "/models")).status == 200
            await client.close()

    run(main())


@pytest.mark.parametrize("stream", [True, False])
def test_cancelled_before_the_first_byte(run: Run, *, stream: bool) -> None:
    async def main() -> None:
        async with FaultyUpstream() as upstream:
            client = HttpClient(base_url=upstream.url)
            send = client.stream if stream else client.request
            waiting = asyncio.ensure_future(send("POST", PATH, asking("latency=50", stream=stream)))
            await upstream.until(lambda: upstream.in_flight == 1)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await upstream.until(lambda: upstream.cancelled == 1)
            assert (client.pool.idle, client.pool.busy) == (0, 0)
            await client.close()

    run(main())


@pytest.mark.parametrize("stream", [True, False])
def test_cancelled_in_the_middle(run: Run, *, stream: bool) -> None:
    async def main() -> None:
        async with FaultyUpstream() as upstream:
            client = HttpClient(base_url=upstream.url)
            reading = asyncio.create_task(read(client, "stall", stream=stream))
            await upstream.until(lambda: upstream.sent > 200)
            await asyncio.sleep(0.01)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            await upstream.until(lambda: upstream.cancelled == 1)
            assert (client.pool.idle, client.pool.busy) == (0, 0)
            await client.close()

    run(main())


def test_left_in_the_middle(run: Run) -> None:
    async def main() -> None:
        async with FaultyUpstream() as upstream:
            client = HttpClient(base_url=upstream.url)
            answer = await client.stream("POST", PATH, asking("between-tokens=0.05"))
            assert await anext(answer)
            await answer.aclose()
            await answer.aclose()
            await upstream.until(lambda: upstream.cancelled == 1)
            assert (client.pool.idle, client.pool.busy) == (0, 0)
            await client.close()

    run(main())


def test_an_answer_somebody_forgot_frees_its_connection_at_last(run: Run) -> None:
    async def main() -> None:
        async with FaultyUpstream() as upstream:
            client = HttpClient(base_url=upstream.url, timeouts=Timeouts(total=0.2))
            await client.stream("POST", PATH, asking("stall"))
            await upstream.until(lambda: upstream.cancelled == 1)
            await until(lambda: client.pool.open == 0)
            await client.close()

    run(main())


def test_a_settled_answer_that_does_not_end_is_cut_off(run: Run) -> None:
    async def main() -> None:
        async with FaultyUpstream() as upstream:
            client = HttpClient(base_url=upstream.url)
            answer = await client.stream("POST", PATH, asking("stall"))
            assert await anext(answer)
            answer.settle()
            await answer.aclose()
            await upstream.until(lambda: upstream.cancelled == 1)
            assert (client.pool.idle, client.pool.busy) == (0, 0)
            await client.close()

    run(main())


def test_idle_connections_expire() -> None:
    async def main() -> None:
        async with FaultyUpstream() as upstream:
            client = HttpClient(base_url=upstream.url)
            await asyncio.gather(*(client.request("GET", "/models") for _ in range(3)))
            later = asyncio.get_running_loop().time() + http_pool.IDLE_SECONDS + 1
            client.pool.expire(later)
            await upstream.until(lambda: upstream.connections == 0)
            assert client.pool.idle == 0
            await client.close()

    asyncio.run(main())


def test_a_cancelled_waiter_passes_its_turn_on(run: Run) -> None:
    async def main() -> None:
        async with FaultyUpstream() as upstream:
            client = HttpClient(base_url=upstream.url, limit=1)
            held = await client.stream("POST", PATH, asking("stall=0"))
            waiting = [asyncio.create_task(client.request("GET", "/models")) for _ in range(3)]
            await asyncio.sleep(0)
            waiting[1].cancel()
            await held.aclose()
            waiting[0].cancel()
            done = await asyncio.gather(*waiting, return_exceptions=True)
            assert [isinstance(one, asyncio.CancelledError) for one in done] == [True, True, False]
            await client.close()

    run(main())
