import asyncio
import dataclasses
import time
from contextlib import suppress

import pytest
from msgspec.structs import replace

from loopwright.cache import shared, tally
from loopwright.cache.cache import Cache
from loopwright.cache.entry import OVERHEAD, Entry, Erasure, Likeness
from loopwright.cache.memory import MOST_KNOWN
from loopwright.cache.tally import Wrong
from loopwright.core.money import Usage
from loopwright.kit.db import Database
from loopwright.kit.ids import Ids
from loopwright.kit.keyring import SealingKey
from loopwright.kit.migrations import migrate
from loopwright.kit.seal import PLAIN, Seal
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


@pytest.mark.parametrize("seal", [PLAIN, Seal([SealingKey(id="one", secret=b"1" * 32)])], ids=["plain", "sealed"])
async def test_answers_of_one_batch_come_back_as_they_were(database_url: str, seal: Seal) -> None:
    db = await Database.open(database_url, size=1)
    await migrate(db, ["cache"])
    likeness = Likeness(partition=b"p" * 32, guard="en\0", vector=(1.0, 0.0))
    bodies = [b"{}", b'{"a":"\\u0000 \xc3\xa9"}', bytes(range(256)), b"", b"x" * 70_000]
    held = [entry(bytes([at]) * 32, body=body) for at, body in enumerate(bodies)]
    held[1] = replace(held[1], tags={}, session=None, usage=None, cost_nano=None)
    held[2] = replace(held[2], tags={"te\0am": "\0"}, session="a\0b")
    await shared.store(db, [(each, likeness if at == 3 else None) for at, each in enumerate(held)], seal)
    held[2] = replace(held[2], tags={"te\ufffdam": "\ufffd"}, session="a\ufffdb")  # PostgreSQL holds no NUL
    for each in held:
        found = await shared.fetch(db, each.key, seal)
        assert found is not None
        assert replace(found, expires=each.expires) == each
    rows = await db.rows("select key, size, length(body) as length, sealed_by from cache_entries order by key")
    assert [row["size"] - row["length"] for row in rows] == [OVERHEAD] * 5
    assert {row["sealed_by"] for row in rows} == {seal.first}
    near = await shared.nearest(db, dataclasses.replace(likeness, guard="en\ufffd"), seal)
    assert near is not None
    assert (near[0].key, near[1]) == (held[3].key, 1.0)
    changed = replace(held[0], body=b'{"new":1}', target="other")
    await shared.store(db, [(changed, None)], seal)
    assert (await shared.fetch(db, changed.key, seal)) == replace(changed, expires=pytest.approx(changed.expires))
    await db.close()


class OnRecord:
    """So many answers lie with their calls."""

    def __init__(self, answers: int) -> None:
        self.answers = answers

    async def find(self, key: bytes) -> Entry | None:  # noqa: ARG002
        return None

    async def known(self, most: int) -> list[tuple[bytes, int]]:
        until = int(time.time()) + 60
        return [(at.to_bytes(8), until) for at in range(min(self.answers, most))]

    async def questions_of(self, call_id: str) -> list[bytes]:  # noqa: ARG002
        return []

    async def forget(self, erasure: Erasure) -> int:  # noqa: ARG002
        return 0


async def test_answers_apart_are_known_beside_any_number_on_record(database_url: str) -> None:
    db = await Database.open(database_url, size=4)
    await migrate(db, ["cache"])
    held = [entry(b"\xff" + at.to_bytes(2) + bytes(29)) for at in range(300)]
    await shared.store(db, [(each, None) for each in held])
    cache = Cache(db, CacheSettings(), on_record=OnRecord(MOST_KNOWN * 2))
    watching = asyncio.create_task(cache.watch())
    await until(lambda: cache.memory.known)
    assert all(cache.elsewhere(each.key) for each in held)
    assert cache.memory.known == MOST_KNOWN
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
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
