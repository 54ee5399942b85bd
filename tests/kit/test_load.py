"""The load generator against a small real server: closed and open loops, errors, stopping; and the sums made of it."""

from __future__ import annotations

import asyncio
import json
import math
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import repeat
from typing import Any

import pytest

from loopwright.core.errors import BadRequest
from loopwright.kit.http import HttpClient
from loopwright.kit.lengths import Length
from loopwright.kit.load import Generator, Load, Sample
from loopwright.kit.load_report import quantile, report_of, slo_of, spread_of

Answer = Callable[[dict[str, Any], asyncio.StreamWriter], Awaitable[None]]
LENGTH = Length(prompt=30, output=4)


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[HttpClient]:
    """A server that gives each request's body to `answer`, and a client of it."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
                )
                await answer(json.loads(await reader.readexactly(length)), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    client = HttpClient(base_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
    try:
        yield client
    finally:
        await client.close()
        server.close()
        await server.wait_closed()


def events(*said: object) -> bytes:
    return b"".join(b"data: " + (one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n\n" for one in said)


def whole(status: int, raw: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(raw), raw)


WORD = {"choices": [{"delta": {"content": "a"}}]}
USAGE = {"choices": [], "usage": {"prompt_tokens": 33, "completion_tokens": 2}}


async def good(body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
    if body.get("stream"):
        writer.write(whole(200, events({"choices": [{"delta": {"role": "assistant"}}]}, WORD, WORD, USAGE, b"[DONE]")))
    else:
        words = len(body["messages"][0]["content"].split())
        writer.write(
            whole(200, json.dumps({"usage": {"prompt_tokens": 2 * words + 7, "completion_tokens": 2}}).encode())
        )
    await writer.drain()


async def samples_of(answer: Answer, **load: Any) -> list[Sample]:
    heard: list[Sample] = []
    async with serving(answer) as client:
        load = {"requests": 8, "lengths": repeat(LENGTH), **load}
        await Generator(client, Load(model="m", **load), heard.append).run()
    return heard


@pytest.mark.anyio
async def test_a_closed_loop_keeps_so_many_in_flight() -> None:
    now, most = 0, 0

    async def answer(body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.02)
        now -= 1
        await good(body, writer)

    heard = await samples_of(answer, concurrency=3)
    assert (len(heard), most) == (8, 3)
    for sample in heard:
        assert sample.error is None
        assert sample.counted
        assert (sample.input_tokens, sample.output_tokens, len(sample.gaps)) == (33, 2, 1)
        assert sample.ttft is not None
        assert 0 < sample.ttft <= sample.latency
        assert sample.tpot is not None


@pytest.mark.anyio
async def test_an_open_loop_goes_on_while_nothing_is_answered_and_counts_from_when_it_was_due() -> None:
    arrived = 0
    free = asyncio.Event()

    async def answer(body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        nonlocal arrived
        arrived += 1
        if arrived == 20:
            free.set()
        await free.wait()  # a closed loop of one would wait here for ever
        await good(body, writer)

    heard = await samples_of(answer, rate=1000.0, requests=20)
    assert len(heard) == 20
    first = min(heard, key=lambda sample: sample.due)
    last = max(heard, key=lambda sample: sample.due)
    # Every time counts from its due moment, so the first waited at least for the last to fall due.
    assert first.latency >= last.due - first.due


@pytest.mark.anyio
async def test_the_same_seed_draws_the_same_moments() -> None:
    dues = [sorted(sample.due for sample in await samples_of(good, rate=2000.0, seed=seed)) for seed in (5, 5, 6)]
    assert dues[0] == dues[1] != dues[2]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (whole(429, b'{"error": {"message": "slow down", "code": "rate_limit_exceeded"}}'), "429 rate_limit_exceeded"),
        (whole(500, b"<html>"), "500 error"),
        (whole(200, events(WORD)), "cut_off"),
        (whole(200, events(WORD, {"error": {"message": "died", "type": "server_error"}})), "200 server_error"),
        (whole(200, events(WORD, b"{nonsense")), "malformed"),
        (b"HTTP/1.1 200 X\r\ncontent-length: 999\r\n\r\n" + events(WORD), "upstream_broke"),
    ],
)
async def test_errors_have_a_class(raw: bytes, error: str) -> None:
    async def answer(_body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()
        if error == "upstream_broke":
            writer.close()

    heard = await samples_of(answer, requests=2)
    assert [sample.error for sample in heard] == [error, error]


@pytest.mark.anyio
async def test_without_usage_events_are_counted() -> None:
    async def answer(_body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        writer.write(whole(200, events(WORD, WORD, WORD, b"[DONE]")))

    heard = await samples_of(answer, requests=1)
    assert (heard[0].output_tokens, heard[0].counted) == (3, False)


@pytest.mark.anyio
async def test_the_warm_up_learns_the_tokens_of_a_word() -> None:
    async with serving(good) as client:
        load = Load(model="m", lengths=repeat(Length(prompt=107, output=4)), requests=1, warmup=2, stream=False)
        heard: list[Sample] = []
        generator = Generator(client, load, heard.append)
        assert len(await generator.warm_up()) == 2
        assert (generator.words_a_token, generator.overhead) == (0.5, 7.0)
        await generator.run()
    assert heard[0].input_tokens == 107
    assert heard[0].ttft is None


@pytest.mark.anyio
async def test_stop_leaves_what_is_in_flight() -> None:
    asked = asyncio.Event()

    async def answer(_body: dict[str, Any], _writer: asyncio.StreamWriter) -> None:
        asked.set()

    async with serving(answer) as client:
        generator = Generator(client, Load(model="m", lengths=repeat(LENGTH), duration=600.0, concurrency=2))
        running = asyncio.create_task(generator.run())
        await asked.wait()
        generator.stop()
        assert await running < 600
        assert generator.in_flight == 0


@pytest.mark.anyio
async def test_a_load_must_end() -> None:
    async with serving(good) as client:
        with pytest.raises(BadRequest, match="when to stop"):
            Generator(client, Load(model="m", lengths=repeat(LENGTH)))


def sample(**changed: Any) -> Sample:
    plain: dict[str, Any] = {
        "due": 0.0,
        "late": 0.0,
        "asked": LENGTH,
        "ttft": 0.1,
        "latency": 1.1,
        "gaps": array("d", [0.5, 0.5]),
        "input_tokens": 10,
        "output_tokens": 3,
        "counted": True,
    }
    return Sample(**{**plain, **changed})


def test_a_report_sums_up() -> None:
    samples = [sample(), sample(ttft=0.9, latency=1.9), sample(error="429 x", message="why", output_tokens=0)]
    report = report_of(samples, 2.0, {"ttft": 0.5, "tpot": 0.5})
    assert (report.requests, report.answered, report.errors, report.examples) == (3, 2, {"429 x": 1}, {"429 x": "why"})
    assert report.requests_per_second == 1.0
    assert report.output_tokens_per_second == 3.0
    assert report.ttft is not None
    assert report.ttft.p50 == pytest.approx(0.5)
    assert report.tpot is not None
    assert report.tpot.mean == pytest.approx(0.5)
    assert report.inter_token is not None
    assert report.inter_token.count == 4
    assert (report.good, report.goodput) == (1, 0.5)
    json.dumps(report.as_json())


def test_a_report_of_nothing() -> None:
    report = report_of([], 0.0)
    assert (report.requests, report.ttft, report.latency, report.good) == (0, None, None, None)
    assert report_of([sample(error="x")], 1.0).latency is None


def test_quantiles_interpolate() -> None:
    ranked = [1.0, 2.0, 3.0, 4.0]
    assert quantile(ranked, 0.5) == 2.5
    assert quantile(ranked, 0.0) == 1.0
    assert quantile(ranked, 1.0) == 4.0
    spread = spread_of([3.0, 1.0, 2.0])
    assert spread is not None
    assert (spread.mean, spread.high, spread.p50) == (2.0, 3.0, 2.0)
    assert math.isclose(spread.p99, 2.98)
    assert spread_of([]) is None


def test_targets() -> None:
    assert slo_of("ttft=500ms, tpot=50ms,e2e=2.5s") == {"ttft": 0.5, "tpot": 0.05, "latency": 2.5}
    for wrong in ("", "ttft", "ttft=5", "speed=1s", "ttft=-1s"):
        with pytest.raises(BadRequest, match="is no target"):
            slo_of(wrong)
