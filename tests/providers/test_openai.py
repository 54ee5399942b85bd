"""The OpenAI-compatible provider against an upstream that does everything wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from loopwright.core.chat import Delta, answering
from loopwright.core.errors import (
    Busy,
    LoopwrightError,
    SettingsError,
    Unavailable,
    UpstreamBroke,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
)
from loopwright.core.money import Usage
from loopwright.kit.settings import ProviderSettings, Timeouts
from loopwright.providers.openai import OpenAICompatible
from loopwright.testing import FaultyUpstream, answer_to
from tests.providers.asking import ask, request, sent, text_in

QUICK = Timeouts(connect=5, first_token=0.3, between_tokens=0.3, total=20)
SAID = Usage(input=1, output=16)


@asynccontextmanager
async def facing(
    *, timeouts: Timeouts = QUICK, args: dict[str, object] | None = None, **upstream: Any
) -> AsyncIterator[tuple[FaultyUpstream, OpenAICompatible]]:
    async with asyncio.timeout(30), FaultyUpstream(**upstream) as server:
        settings = ProviderSettings(base_url=server.url, api_key="sk-very-secret", timeouts=timeouts, args=args or {})
        provider = OpenAICompatible("far", settings)
        yield server, provider
        await provider.close()


@pytest.mark.anyio
async def test_a_whole_answer_passes_through() -> None:
    async with facing() as (upstream, provider):
        (delta,) = await ask(provider.chat("m"), request("m"))
        assert json.loads(delta.raw)["choices"][0]["message"]["content"] == answer_to("hello")
        assert (delta.usage, delta.done, delta.model, delta.provider) == (SAID, True, "m", "far")
        assert upstream.seen[0].body == request("m").raw
        assert upstream.seen[0].headers["authorization"] == "Bearer sk-very-secret"
        assert upstream.seen[0].path == "/v1/chat/completions"


@pytest.mark.anyio
@pytest.mark.parametrize("wanted", [True, False])
async def test_a_stream_passes_through_and_usage_is_always_asked_for(*, wanted: bool) -> None:
    async with facing() as (upstream, provider):
        extra: dict[str, Any] = {"stream_options": {"include_usage": True, "x": 1}} if wanted else {}
        deltas = await ask(provider.chat("m"), request("m", stream=True, **extra))
        stream = sent(deltas)
        assert text_in(stream) == answer_to("hello")
        assert stream.endswith(b"data: [DONE]\n\n")
        assert (b'"usage":{' in stream) is wanted
        assert (deltas[0].model, deltas[0].provider) == ("m", "far")
        assert [delta.done for delta in deltas] == [False] * (len(deltas) - 1) + [True]
        assert deltas[-1].usage == SAID
        body = json.loads(upstream.seen[0].body)
        assert body["stream_options"] == {"include_usage": True, **({"x": 1} if wanted else {})}


@pytest.mark.anyio
async def test_other_stream_options_are_kept_and_usage_can_be_left_alone() -> None:
    async with facing() as (upstream, provider):
        await ask(provider.chat("m"), request("m", stream=True, stream_options={"include_usage": False, "x": 1}))
        assert json.loads(upstream.seen[0].body)["stream_options"] == {"include_usage": True, "x": 1}
    async with facing(args={"include_usage": False}) as (upstream, provider):
        deltas = await ask(provider.chat("m"), request("m", stream=True))
        assert "stream_options" not in json.loads(upstream.seen[0].body)
        assert deltas[-1].usage is None


@pytest.mark.anyio
@pytest.mark.parametrize("raw", [True, False])
async def test_the_upstream_name_is_sent(*, raw: bool) -> None:
    async with facing() as (upstream, provider):
        await ask(provider.chat("far-name"), request("near", raw=raw, seed=2**60, temperature=0.1))
        body = json.loads(upstream.seen[0].body)
        assert (body["model"], body["seed"], body["temperature"]) == ("far-name", 2**60, 0.1)
        assert body["messages"] == [{"role": "user", "content": "hello"}]


@pytest.mark.anyio
async def test_completions_embeddings_and_models() -> None:
    async with facing(models=["b", "a"]) as (upstream, provider):
        deltas = await ask(provider.chat("m"), request("m", operation="completion", prompt="hello", stream=True))
        assert text_in(sent(deltas)) == answer_to("hello")
        (delta,) = await ask(provider.chat("m"), request("m", operation="embeddings", input=["a b", "c"]))
        assert len(json.loads(delta.raw)["data"]) == 2
        assert delta.usage == Usage(input=3)
        assert [seen.path for seen in upstream.seen] == ["/v1/completions", "/v1/embeddings"]
        assert await provider.models() == ["a", "b"]


@pytest.mark.anyio
@pytest.mark.parametrize("fault", ["ok", "split-utf8", "crlf", "ping", "until-close", "usage-in-choices",
                                   "connection-close", "hang-up-after", "latency=0.01,between-tokens=0.001"])  # fmt: skip
@pytest.mark.parametrize("stream", [True, False])
async def test_odd_but_whole_answers_are_whole(fault: str, *, stream: bool) -> None:
    async with facing(faults=[] if fault == "ok" else fault.split(",")) as (_, provider):
        for _ in range(3):
            deltas = await ask(provider.chat("m"), request("m", stream=stream))
            stream_of = sent(deltas)
            said = text_in(stream_of) if stream else json.loads(stream_of)["choices"][0]["message"]["content"]
            assert said == answer_to("hello")
            assert deltas[-1].usage == SAID
            assert deltas[-1].done


@pytest.mark.anyio
async def test_without_usage_it_is_left_to_be_counted() -> None:
    async with facing(faults=["no-usage"]) as (_, provider):
        for stream in (True, False):
            assert (await ask(provider.chat("m"), request("m", stream=stream)))[-1].usage is None


@pytest.mark.anyio
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("drop", UpstreamBroke),
        ("reset", UpstreamBroke),
        ("malformed-http", UpstreamBroke),
        ("html", UpstreamBroke),
        ("html=502", UpstreamError),
        ("error-body", UpstreamBroke),
        ("gzip", UpstreamBroke),
        ("status=500", UpstreamError),
        ("status=503", UpstreamError),
        ("status=401", UpstreamRefused),
        ("status=403", UpstreamRefused),
        ("status=404", UpstreamRefused),
        ("status=302", UpstreamRefused),
        ("status=429:7", Busy),
    ],
)
async def test_failures_before_the_first_delta(fault: str, error: type[LoopwrightError], *, stream: bool) -> None:
    async with facing(faults=[fault]) as (_, provider):
        taken: list[Delta] = []
        with pytest.raises(error) as told:
            await ask(provider.chat("m"), request("m", stream=stream), taken)
        assert type(told.value) is error
        assert taken == []
        assert "very-secret" not in told.value.message
        if isinstance(told.value, UpstreamError) and "=" in fault:
            assert told.value.upstream_status == int(fault.partition("=")[2])
        if error is Busy:
            assert told.value.retry_after == 7


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("latency=9", UpstreamTimeout),
        ("first-token=9", UpstreamTimeout),
        ("stall", UpstreamTimeout),
        ("reset-midstream", UpstreamBroke),
        ("truncate", UpstreamBroke),
        ("truncate,until-close", UpstreamBroke),
        ("malformed-json", UpstreamBroke),
        ("malformed-sse", UpstreamBroke),
        ("error-event", UpstreamError),
    ],
)
async def test_failures_in_a_stream_come_after_what_was_said(fault: str, error: type[LoopwrightError]) -> None:
    async with facing(faults=fault.split(",")) as (upstream, provider):
        taken: list[Delta] = []
        with pytest.raises(error) as told:
            await ask(provider.chat("m"), request("m", stream=True), taken)
        assert type(told.value) is error
        assert answer_to("hello").startswith(text_in(sent(taken)))
        assert not any(delta.done for delta in taken)
        if fault.startswith("truncate"):
            assert taken[-1].usage == SAID  # what was generated is paid for, [DONE] or not
        await upstream.until(lambda: upstream.in_flight == 0)


@pytest.mark.anyio
@pytest.mark.parametrize("fault", ["truncate", "reset-midstream", "malformed-json", "malformed-sse"])
async def test_whole_answers_that_break(fault: str) -> None:
    async with facing(faults=[fault]) as (_, provider):
        with pytest.raises(UpstreamBroke):
            await ask(provider.chat("m"), request("m"))


@pytest.mark.anyio
async def test_done_can_be_optional_after_a_finish_reason() -> None:
    async with facing(faults=["truncate"], args={"done_optional": True}) as (_, provider):
        deltas = await ask(provider.chat("m"), request("m", stream=True))
        assert sent(deltas).endswith(b"data: [DONE]\n\n")
        assert (deltas[-1].done, deltas[-1].usage) == (True, SAID)
        with pytest.raises(UpstreamTimeout):
            await ask(provider.chat("fault:stall"), request("fault:stall", stream=True))


@pytest.mark.anyio
async def test_nobody_there() -> None:
    async with facing() as (upstream, provider):
        pass
    gone = OpenAICompatible("far", ProviderSettings(base_url=upstream.url))
    with pytest.raises(Unavailable):
        await ask(gone.chat("m"), request("m", stream=True))
    with pytest.raises(Unavailable):
        await gone.models()
    await gone.close()
    await provider.close()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("fault", "stream"),
    [
        ("latency=20", True),
        ("first-token=20", True),
        ("between-tokens=0.05", True),
        ("stall", True),
        ("latency=20", False),
        ("stall", False),
    ],
)
async def test_hanging_up_stops_the_upstream(fault: str, *, stream: bool) -> None:
    async with facing(faults=[fault], timeouts=Timeouts()) as (upstream, provider):
        asking = asyncio.create_task(ask(provider.chat("m"), request("m", stream=stream)))
        await upstream.until(lambda: upstream.in_flight == 1)
        await asyncio.sleep(0.02)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await upstream.until(lambda: upstream.cancelled == 1)
        assert upstream.in_flight == 0


@pytest.mark.anyio
async def test_leaving_after_some_deltas_stops_the_upstream() -> None:
    async with facing(faults=["between-tokens=0.02"]) as (upstream, provider):
        async with answering(provider.chat("m"), request("m", stream=True)) as answer:
            async for delta in answer:
                if delta.speaks:
                    break
        await upstream.until(lambda: upstream.cancelled == 1)


@pytest.mark.anyio
async def test_two_hundred_at_once_are_never_mixed_up() -> None:
    async with facing(faults=["between-tokens=0.002@0.5"], timeouts=Timeouts()) as (upstream, provider):

        async def one(i: int) -> None:
            asked = [{"role": "user", "content": f"question {i}"}]
            deltas = await ask(provider.chat("m"), request("m", stream=bool(i % 2), messages=asked))
            out = sent(deltas)
            said = text_in(out) if i % 2 else json.loads(out)["choices"][0]["message"]["content"]
            assert said == answer_to(f"question {i}")

        for _ in range(2):
            await asyncio.gather(*(one(i) for i in range(200)))
        assert upstream.requests == 400
        assert upstream.accepted <= 200


@pytest.mark.anyio
async def test_streams_give_their_connection_back() -> None:
    async with facing(faults=["between-tokens=0.001"]) as (upstream, provider):
        for _ in range(5):
            await ask(provider.chat("m"), request("m", stream=True, max_tokens=3))
            await upstream.until(lambda: upstream.in_flight == 0)
            await asyncio.sleep(0.01)  # the last bytes of the body may still be on their way
        assert upstream.accepted == 1


@pytest.mark.parametrize(
    "settings",
    [
        ProviderSettings(),
        ProviderSettings(base_url="nonsense"),
        ProviderSettings(base_url="http://h/v1", args={"poxy": "x"}),
        ProviderSettings(base_url="http://h/v1", args={"proxy": 3}),
        ProviderSettings(base_url="http://h/v1", args={"verify": "no"}),
        ProviderSettings(base_url="http://h/v1", api_key="a\r\nb: c"),
    ],
)
def test_settings_that_do_not_suffice(settings: ProviderSettings) -> None:
    with pytest.raises(SettingsError):
        OpenAICompatible("far", settings)
