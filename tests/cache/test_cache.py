import asyncio
import time
from contextlib import suppress

import pytest
from msgspec.structs import replace

from loopwright.cache import tally
from loopwright.cache.cache import Cache
from loopwright.cache.entry import Entry
from loopwright.cache.tally import Wrong
from loopwright.core.money import Usage
from loopwright.kit.db import Database
from loopwright.kit.ids import Ids
from loopwright.kit.migrations import migrate
from loopwright.kit.settings import CacheSettings

pytestmark = pytest.mark.anyio
IDS = Ids()


def entry(key: bytes = b"k" * 32, **changes: object) -> Entry:
    made = Entry(
        key=key, body=b'{"a":1}', expires=time.time() + 60, call_id=IDS.new(), project_id=1, key_id=2, session="s",
        tags={"team": "x"}, model="m", target="t", usage=Usage(input=3, output=4), cost_nano=5, started_ns=time.time_ns(),
    )  # fmt: skip
    return replace(made, **changes)


async def until(condition: object) -> None:
    for _ in range(600):
        if condition():  # type: ignore[operator]
            return
        await asyncio.sleep(0.02)
    raise AssertionError("waited in vain")


async def test_many_answers_at_once_are_learnt_by_all(database_url: str) -> None:
    db = await Database.open(database_url, size=6)
    await migrate(db, ["cache"])
    one, two = Cache(db, CacheSettings()), Cache(db, CacheSettings())
    watching = [asyncio.create_task(cache.watch()) for cache in (one, two)]
    await asyncio.sleep(0.3)
    # Keys that are as long as they get where they are told.
    held = [entry(b"\xff" * 6 + at.to_bytes(2, "big") + bytes(24)) for at in range(1_200)]
    for each in held:
        one.put(each)
    await until(lambda: all(two.elsewhere(each.key) for each in held))
    for task in watching:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await db.close()


async def test_workers_share_and_forget_together(database_url: str) -> None:
    db = await Database.open(database_url, size=6)
    await migrate(db, ["cache"])
    one, two = Cache(db, CacheSettings()), Cache(db, CacheSettings())
    watching = [asyncio.create_task(cache.watch()) for cache in (one, two)]
    await asyncio.sleep(0.3)
    held = entry()
    one.put(held)
    await until(lambda: two.elsewhere(held.key))
    assert two.find(held.key) is None
    fetched = await two.fetch(held.key)
    assert fetched is not None
    assert replace(fetched, expires=held.expires) == held
    assert await two.forget(project_id=7, session="s") == 0
    assert await two.forget(project_id=1, session="s") == 1
    await until(lambda: one.find(held.key) is None)
    one.put(held)
    assert one.find(held.key) is None, "its call began before it was to be forgotten"
    wrong = Wrong(call_id=IDS.new(), of_call_id=held.call_id, project_id=1, key_id=2, model="m", kind="semantic-hit", similarity=0.97, threshold=0.95)  # fmt: skip
    assert [await two.report_wrong(wrong), await two.report_wrong(wrong)] == [True, False]
    await until(lambda: one.threshold(1, "m", 0.95) > 0.97)
    assert one.threshold(2, "m", 0.95) == 0.95
    [row] = await tally.thresholds(db)
    assert row["wrong"] == 1
    for task in watching:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await db.close()


async def test_what_is_over_goes_and_so_does_the_oldest_over_the_limit(database_url: str) -> None:
    db = await Database.open(database_url, size=2)
    await migrate(db, ["cache"])
    cache = Cache(db, CacheSettings(storage=1500))
    cache.put(entry(b"e" * 32, expires=time.time() - 1))
    assert cache.find(b"e" * 32) is None
    for letter in (b"a", b"b", b"c"):
        cache.put(entry(letter * 32))
        await cache.flush()
    assert await cache.expire() == 2
    assert await cache.fetch(b"a" * 32) is None
    assert await cache.fetch(b"c" * 32) is not None
    await db.close()


async def test_memory_is_bounded_by_bytes(database_url: str) -> None:
    db = await Database.open(database_url, size=1)
    cache = Cache(db, CacheSettings(memory=20_000, shared=False))
    for number in range(100):
        cache.put(entry(bytes([number]) * 32))
    assert cache.memory.bytes <= 20_000
    assert cache.find(bytes([99]) * 32) is not None
    assert cache.find(bytes([0]) * 32) is None
    await db.close()
