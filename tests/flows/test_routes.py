"""Names that lead to several targets, from the configuration to the record: what clients see when targets fail."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from loopwright.testing import FaultyUpstream, answer_to
from tests.flows.house import House

pytestmark = pytest.mark.anyio
ASK: Any = [{"role": "user", "content": "hello there"}]
CONFIG = """
providers:
  up: {{base_url: '{url}', api_key: k, timeouts: {{first_token: 2s, between_tokens: 1s, total: 20s}}}}
  other: {{base_url: '{url}', api_key: k}}
models:
  sure:
    targets:
      - {{provider: up, model: 'fault:status=500', price: {{input: 1, output: 1}}}}
      - {{provider: other, model: fine, price: {{input: 2, output: 2}}}}
    aliases: [surely]
    breaker: {{in_a_row: 3, pause: 60s}}
  hedged:
    targets: [{{provider: up, model: 'fault:latency=9'}}, {{provider: other, model: fine}}]
    hedge: {{after: 100ms}}
  late:
    targets: [{{provider: up, model: 'fault:latency=9'}}]
    deadline: 500ms
  full:
    targets: [{{provider: up, model: 'fault:latency=1'}}]
    concurrency: 1
    queue: {{size: 0}}
  thrifty:
    targets:
      - {{provider: up, model: cheap, price: {{input: 1, output: 1}}}}
      - {{provider: other, model: dear, price: {{input: 10, output: 10}}}}
    cascade: {{}}
  plain: {{provider: up, model: 'fault:latency=9'}}
"""


@pytest.fixture(scope="module")
async def upstream() -> AsyncIterator[FaultyUpstream]:
    async with FaultyUpstream(seed=1) as serving:
        yield serving


@pytest.fixture(scope="module")
async def house(upstream: FaultyUpstream, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    made = House(tmp_path_factory.mktemp("routes"), config=CONFIG.format(url=upstream.url))
    await asyncio.to_thread(made.start)
    yield made
    assert await asyncio.to_thread(made.stop) == 0


@pytest.fixture
async def client(house: House) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{house.url}/v1", api_key=house.key, max_retries=0, timeout=30) as made:
        yield made


async def told(house: House, path: str) -> Any:
    answer = await asyncio.to_thread(house.api, "GET", path)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("model", ["sure", "surely"])
async def test_another_target_answers_is_priced_and_the_attempts_are_told(
    house: House, client: AsyncOpenAI, model: str
) -> None:
    raw = await client.chat.completions.with_raw_response.create(model=model, messages=ASK)
    answer = raw.parse()
    assert answer.choices[0].message.content == answer_to("hello there")
    assert (raw.headers["x-loopwright-attempts"], raw.headers["x-loopwright-model"]) == ("2", "fine")
    call = (await told(house, f"/api/calls/{raw.headers['x-loopwright-call-id']}"))["call"]
    assert (call["provider"], call["target"], call["tags"]) == ("other", "fine", {"loopwright.attempts": "2"})
    assert answer.usage is not None
    assert float(call["cost_usd"]) == pytest.approx(answer.usage.total_tokens * 2e-6)


async def test_a_stream_comes_from_another_target_once(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model="sure", messages=ASK, stream=True)
    said = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
    assert "".join(said) == answer_to("hello there")


async def test_a_route_shows_how_its_targets_are(house: House, client: AsyncOpenAI) -> None:
    for _ in range(3):
        await client.chat.completions.create(model="sure", messages=ASK)
    routes = {route["name"]: route for route in (await told(house, "/api/routes"))["routes"]}
    assert set(routes) >= {"sure", "hedged", "late", "full", "thrifty", "plain"}
    bad, good = routes["sure"]["targets"]
    assert (bad["state"], good["state"], routes["sure"]["strategy"]) == ("open", "healthy", "fallback")
    assert bad["attempts"] == bad["failures"] == 3
    assert good["whole_ms"] > 0
    assert routes["plain"]["targets"][0]["state"] == "unwatched"


async def test_the_first_token_of_two_wins(client: AsyncOpenAI, upstream: FaultyUpstream) -> None:
    cancelled = upstream.cancelled
    answer = await client.chat.completions.create(model="hedged", messages=ASK)
    assert answer.choices[0].message.content == answer_to("hello there")
    await upstream.until(lambda: upstream.cancelled > cancelled)


@pytest.mark.parametrize(("model", "headers"), [("late", {}), ("plain", {"x-loopwright-timeout": "300ms"})])
async def test_a_deadline_is_a_504_and_ends_the_work_upstream(
    client: AsyncOpenAI, upstream: FaultyUpstream, model: str, headers: dict[str, str]
) -> None:
    cancelled = upstream.cancelled
    with pytest.raises(openai.APIStatusError, match="deadline") as caught:
        await client.chat.completions.create(model=model, messages=ASK, extra_headers=headers)
    assert (caught.value.status_code, caught.value.code) == (504, "upstream_timeout")
    await upstream.until(lambda: upstream.cancelled > cancelled)


async def test_a_timeout_that_is_none_is_refused(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="x-loopwright-timeout"):
        await client.chat.completions.create(model="sure", messages=ASK, extra_headers={"x-loopwright-timeout": "soon"})


async def test_a_full_route_says_when_to_come_back(client: AsyncOpenAI) -> None:
    asked = [client.chat.completions.create(model="full", messages=ASK) for _ in range(3)]
    found = await asyncio.gather(*asked, return_exceptions=True)
    busy = [each for each in found if isinstance(each, openai.RateLimitError)]
    assert len(busy) == 2
    assert int(busy[0].response.headers["retry-after"]) >= 1


async def test_a_cascade_keeps_what_fits_and_shows_what_it_saved(house: House, client: AsyncOpenAI) -> None:
    schema: Any = {
        "name": "n",
        "schema": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    }
    wanted: Any = {"type": "json_schema", "json_schema": schema}
    answer = await client.chat.completions.with_raw_response.create(
        model="thrifty", messages=ASK, response_format=wanted
    )
    assert answer.headers["x-loopwright-model"] == "cheap"
    routes = {route["name"]: route for route in (await told(house, "/api/routes"))["routes"]}
    assert routes["thrifty"]["cascade"]["kept"] == 1
    assert float(routes["thrifty"]["cascade"]["saved_usd"]) > 0
