"""What a client saw is on record: through `kill -9`, an outage of the database, and a restart. Exactly once."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from loopwright.kit.postgres import EmbeddedPostgres
from tests.flows.house import SCRIPTED, House, wait

pytestmark = pytest.mark.anyio


async def chat(client: AsyncOpenAI, number: int, *, stream: bool) -> str | None:
    """The id of a call whose answer was seen to its end; None when it was not."""
    asked: Any = {"model": "fake", "messages": [{"role": "user", "content": f"count {number}"}]}
    try:
        if stream:
            raw = await client.chat.completions.with_raw_response.create(**asked, stream=True)
            said = "".join([chunk.choices[0].delta.content or "" async for chunk in raw.parse()])
        else:
            raw = await client.chat.completions.with_raw_response.create(**asked)
            said = raw.parse().choices[0].message.content
    except (openai.APIError, httpx.HTTPError):
        return None
    if said != f"answer {number}":
        # The SDK takes a connection that breaks in the middle of a stream for its end.
        assert f"answer {number}".startswith(said)
        return None
    call_id: str = raw.headers["x-loopwright-call-id"]
    return call_id


class Load:
    """Clients that ask without pause, or with one of so many seconds, and the calls they saw answered."""

    def __init__(self, house: House, clients: int = 8, pause: float = 0.0) -> None:
        self.seen: list[str] = []
        self._house = house
        self._pause = pause
        self._number = 0
        self._tasks = [asyncio.create_task(self._ask()) for _ in range(clients)]

    async def _ask(self) -> None:
        url = f"{self._house.url}/v1"
        async with AsyncOpenAI(base_url=url, api_key=self._house.key, timeout=30, max_retries=0) as client:
            while True:
                self._number += 1
                call_id = await chat(client, self._number, stream=self._number % 2 == 0)
                if call_id is not None:
                    self.seen.append(call_id)
                await asyncio.sleep(0.05 if call_id is None else self._pause)

    async def until(self, count: int) -> None:
        """Until so many answers were seen."""
        async with asyncio.timeout(120):
            while len(self.seen) < count:  # noqa: ASYNC110 - counts what others do
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def recorded_exactly_once(house: House, seen: list[str]) -> None:
    house.settled()
    found = Counter(call["id"] for call in house.calls())
    assert set(found.values()) <= {1}
    missing = [call_id for call_id in seen if call_id not in found]
    assert not missing, f"{len(missing)} of {len(seen)} answered calls are not on record"
    by_id = {call["id"]: call for call in house.calls()}
    assert all(by_id[call_id]["outcome"] == "ok" for call_id in seen)
    requests = house.api("GET", "/api/overview").json()["summary"]["counts"]["requests"]
    assert requests == len(found)


async def test_kill_9_of_everything_under_load_loses_nothing(tmp_path: Path) -> None:
    house = House(tmp_path, config=SCRIPTED, arguments=("--workers", "2")).start()
    load = Load(house)
    await load.until(400)
    await asyncio.sleep(random.uniform(0, 0.3))
    house.kill()
    await load.stop()
    house.start()
    try:
        recorded_exactly_once(house, load.seen)
        unfinished = house.calls(outcome="interrupted")
        assert all(call["stream"] for call in unfinished)
    finally:
        assert house.stop() == 0


async def test_kill_9_of_a_worker_and_of_the_recorder_loses_nothing(tmp_path: Path) -> None:
    house = House(tmp_path, config=SCRIPTED, arguments=("--workers", "2")).start()
    try:
        load = Load(house)
        for target in ("_gateway", "_recorder"):
            before = len(load.seen)
            await load.until(before + 200)
            victim = house.children(target)[0]
            victim.kill()
            await load.until(before + 400)
        await load.stop()
        recorded_exactly_once(house, load.seen)
    finally:
        assert house.stop() == 0


@contextlib.asynccontextmanager
async def database(folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    server = await EmbeddedPostgres.start(folder)
    try:
        yield server
    finally:
        await server.stop()


async def test_ten_seconds_without_the_database_are_not_noticed_by_clients(tmp_path: Path) -> None:
    async with database(tmp_path / "elsewhere" / "pg") as server:
        house = House(tmp_path, config=SCRIPTED, LOOPWRIGHT_DATABASE_URL=server.url).start()
        try:
            load = Load(house, pause=0.1)
            await load.until(100)
            await server.stop()
            down = asyncio.get_running_loop().time() + 10
            before = len(load.seen)
            await load.until(before + 300)
            await asyncio.sleep(max(down - asyncio.get_running_loop().time(), 0))
            assert "cannot answer" in house.api("GET", "/api/status").json()["database"]
            assert house.api("GET", "/api/calls").status_code == 503
            again = await EmbeddedPostgres.start(tmp_path / "elsewhere" / "pg")
            try:
                before = len(load.seen)
                await load.until(before + 100)
                await load.stop()
                wait(lambda: house.api("GET", "/api/status").json()["database"] == "up")
                recorded_exactly_once(house, load.seen)
                assert house.stop() == 0
            finally:
                await again.stop()
        except BaseException:
            house.kill()
            raise


async def test_a_second_up_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    house = House(tmp_path, config=SCRIPTED).start()
    try:
        second = House(tmp_path)
        second.log = tmp_path / "second.log"
        with pytest.raises(AssertionError, match="in use by another Loopwright"):
            second.start()
    finally:
        assert house.stop() == 0
    assert "stopped" in house.log.read_text()


async def test_answers_in_flight_finish_before_it_stops(tmp_path: Path) -> None:
    slow = SCRIPTED.replace("between: 0.001", "between: 0.5, otherwise: one two three four")
    house = House(tmp_path, config=slow).start()
    headers = {"authorization": f"Bearer {house.key}"}
    async with httpx.AsyncClient(base_url=house.url, headers=headers, timeout=30) as client:
        body = {"model": "fake", "messages": [{"role": "user", "content": "hi"}], "stream": True}
        async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            pieces = answer.aiter_bytes()
            seen = await anext(pieces)
            stopping = asyncio.create_task(asyncio.to_thread(house.stop))
            async for piece in pieces:
                seen += piece
            assert seen.endswith(b"data: [DONE]\n\n")
        assert await stopping == 0
