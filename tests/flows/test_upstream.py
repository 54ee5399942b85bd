"""What a client sees when a provider or an engine fails: a status before the answer, an event in the middle of it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from loopwright.testing import FaultyUpstream, answer_to
from tests.flows.house import House, wait

pytestmark = pytest.mark.anyio
ASK: Any = [{"role": "user", "content": "hello there"}]
FAULTS = {
    "fine": "fine",
    "slow": "fault:between-tokens=0.2",
    "late": "fault:latency=9",
    "limited": "fault:status=429:7",
    "broken": "fault:status=500",
    "refusing": "fault:status=401",
    "dropping": "fault:drop",
    "resetting": "fault:reset-midstream",
    "truncated": "fault:truncate",
    "malformed": "fault:malformed-json",
    "page": "fault:html",
    "lying": "fault:error-body",
    "failing": "fault:error-event",
    "stalling": "fault:stall",
    "split": "fault:split-utf8",
    "uncounted": "fault:no-usage",
}


@pytest.fixture(scope="module")
async def upstream() -> AsyncIterator[FaultyUpstream]:
    async with FaultyUpstream(seed=1) as serving:
        yield serving


@pytest.fixture(scope="module")
async def faulty(upstream: FaultyUpstream, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A house whose models fail in every way a provider can."""
    models = "".join(f"  {name}: {{provider: up, model: '{model}'}}\n" for name, model in FAULTS.items())
    config = (
        f"providers:\n  up: {{base_url: '{upstream.url}', api_key: sk-up-secret,"
        " timeouts: {first_token: 2s, between_tokens: 1s, total: 20s}}\n"
        f"  gone: {{base_url: 'http://127.0.0.1:9/v1'}}\nmodels:\n{models}  nowhere: {{provider: gone}}\n"
    )
    house = House(tmp_path_factory.mktemp("faulty"), config=config)
    await asyncio.to_thread(house.start)
    yield house
    assert await asyncio.to_thread(house.stop) == 0


@pytest.fixture
async def client(faulty: House) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{faulty.url}/v1", api_key=faulty.key, max_retries=0, timeout=30) as client:
        yield client


async def streamed(client: AsyncOpenAI, model: str) -> tuple[str, openai.APIError | None]:
    """What was said, and the error it ended with."""
    said = ""
    try:
        stream = await client.chat.completions.create(model=model, messages=ASK, stream=True)
        async for chunk in stream:
            said += (chunk.choices[0].delta.content or "") if chunk.choices else ""
    except openai.APIError as error:
        return said, error
    return said, None


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        ("limited", 429, "rate_limit_exceeded"),
        ("broken", 502, "upstream_error"),
        ("refusing", 502, "upstream_refused"),
        ("dropping", 502, "upstream_broke"),
        ("truncated", 502, "upstream_broke"),
        ("malformed", 502, "upstream_broke"),
        ("page", 502, "upstream_broke"),
        ("lying", 502, "upstream_broke"),
        ("stalling", 504, "upstream_timeout"),
        ("nowhere", 503, "unavailable"),
    ],
)
async def test_a_failure_is_a_status_and_says_why(
    faulty: House, client: AsyncOpenAI, model: str, status: int, code: str
) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        await client.chat.completions.create(model=model, messages=ASK)
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert "sk-up-secret" not in str(caught.value.body)
    if model == "limited":
        assert caught.value.response.headers["retry-after"] == "7"
    call_id = caught.value.response.headers["x-loopwright-call-id"]
    call = (await asyncio.to_thread(faulty.api, "GET", f"/api/calls/{call_id}")).json()["call"]
    assert (call["error_code"], call["status"]) == (code, status)


@pytest.mark.parametrize("model", ["limited", "broken", "refusing", "dropping", "page", "lying", "nowhere"])
async def test_a_failure_before_the_first_piece_is_a_status_also_when_streaming(
    client: AsyncOpenAI, model: str
) -> None:
    said, error = await streamed(client, model)
    assert said == ""
    assert isinstance(error, openai.APIStatusError)


@pytest.mark.parametrize("model", ["resetting", "truncated", "failing", "stalling"])
async def test_a_failure_in_the_middle_is_an_error_event_after_what_was_said(client: AsyncOpenAI, model: str) -> None:
    said, error = await streamed(client, model)
    assert said
    assert isinstance(error, openai.APIError)
    assert not isinstance(error, openai.APIStatusError)


@pytest.mark.parametrize("model", ["fine", "split", "uncounted", "slow"])
async def test_an_odd_but_whole_answer_is_whole(faulty: House, client: AsyncOpenAI, model: str) -> None:
    said, error = await streamed(client, model)
    assert error is None
    assert said == answer_to("hello there")
    if model == "uncounted":
        await asyncio.to_thread(wait, lambda: faulty.calls(model="uncounted"))
        [call] = await asyncio.to_thread(faulty.calls, model="uncounted")
        assert call["usage_estimated"]
        assert call["output_tokens"] > 0


async def test_a_client_that_hangs_up_stops_the_upstream(
    faulty: House, upstream: FaultyUpstream, client: AsyncOpenAI
) -> None:
    before = upstream.cancelled
    stream = await client.chat.completions.create(model="slow", messages=ASK, stream=True)
    await anext(aiter(stream))
    await stream.close()
    async with asyncio.timeout(10):
        await upstream.until(lambda: upstream.cancelled == before + 1)
    waiting = asyncio.create_task(client.chat.completions.create(model="late", messages=ASK))
    async with asyncio.timeout(10):
        await upstream.until(lambda: upstream.in_flight == 1)
        waiting.cancel()
        await upstream.until(lambda: upstream.cancelled == before + 2)
    await asyncio.gather(waiting, return_exceptions=True)
    await asyncio.to_thread(wait, lambda: len(faulty.calls(outcome="cancelled")) == 2)


def test_an_engine_that_dies_mid_answer_fails_that_client_only_and_comes_back(house: House) -> None:
    client = OpenAI(base_url=f"{house.url}/v1", api_key=house.key, max_retries=0, timeout=120)
    story: Any = [{"role": "user", "content": "Tell a very long story about the sea and its ships."}]
    stream = client.chat.completions.create(model="smollm2-135m-instruct", messages=story, stream=True, max_tokens=3000)
    other = client.chat.completions.create(model="fake", messages=story, stream=True)
    next(stream)
    [engine] = house.children("llamacpp_server")
    engine.kill()
    with pytest.raises(openai.APIError):
        for _ in stream:
            pass
    assert "".join(chunk.choices[0].delta.content or "" for chunk in other if chunk.choices)

    def answers() -> bool:
        try:
            client.chat.completions.create(model="smollm2-135m-instruct", messages=story, max_tokens=1)
        except (openai.InternalServerError, openai.APIConnectionError):
            return False
        return True

    wait(answers)
    engines = house.api("GET", "/api/status").json()["engines"]
    wait(lambda: any(one["restarts"] for one in house.api("GET", "/api/status").json()["engines"]))
    assert {one["name"] for one in engines} == {"smollm2-135m-instruct", "all-minilm-l6-v2"}
