import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs
from msgspec.structs import asdict

from loopwright.access.allowances import Allowances
from loopwright.access.limits import Limits
from loopwright.cache.cache import Cache
from loopwright.core.chat import Chat, Request
from loopwright.core.errors import Unavailable
from loopwright.core.who import Principal
from loopwright.gateway.admitted import Admitted
from loopwright.gateway.cached import Cached, Policy
from loopwright.gateway.recorded import Recorded
from loopwright.gateway.repeated import Again, Repeat, Repeated
from loopwright.gateway.settled import Settled
from loopwright.kit import wire
from loopwright.kit.db import Database
from loopwright.kit.ids import Ids
from loopwright.kit.migrations import migrate
from loopwright.kit.settings import CacheSettings, ExactSettings, LimitSettings, ModelCacheSettings
from tests.gateway.roads import PRICE, Memory, ask, deltas, scripted

pytestmark = pytest.mark.anyio
PATH = "/v1/chat/completions"
WHO = Principal(key_id=1, key_name="k", project_id=1, project="default")
SAID = scripted({"answers": [{"text": "one two"}]}).chat
MOMENT = {"id", "started_ns", "latency_us", "ttft_us", "trace_id", "span_id", "client"}
IDS = Ids()


class Door:
    """A road with a cache and limits, and what answers before it."""

    def __init__(self, db: Database, *, ttl: float = 60) -> None:
        self.limits = Limits(db)
        self.allowances = Allowances(db, LimitSettings(), uuid.uuid4())
        self.spool = Memory()
        self.cache = Cache(db, CacheSettings())
        policies = {"m": Policy(model="m", settings=ModelCacheSettings(exact=ExactSettings(any=True)), ttl=ttl)}
        admitted = Admitted(Cached(SAID, self.cache, policies, lambda *_: PRICE), self.allowances, lambda _m: PRICE)
        recorded = Recorded(admitted, Settled(self.spool, self.allowances), lambda *_: PRICE)
        self.road: Chat = recorded
        self.repeated = Repeated(self.cache, policies, admitted=admitted, recorded=recorded)

    async def takes(self, request: Request) -> None:
        """By the road."""
        found = await deltas(self.road, request)
        self.repeated.note(PATH, request.raw or b"", request, found[0], b"")
        await asyncio.sleep(0)  # then it is kept

    async def noted(self, **body: Any) -> tuple[Request, Again]:
        """A question that was a hit."""
        request = now(**body)
        await self.takes(request)
        found = None
        for _ in range(2):
            request = now(**body)
            await self.takes(request)
            found = self.find(request)
        assert found is not None
        return request, found

    def find(self, request: Request) -> Again | None:
        return self.repeated.find(PATH, request.raw or b"")


def now(text: str = "q", *, who: Principal = WHO, **body: Any) -> Request:
    return structs.replace(ask(text, who=who, **body), started_ns=time.time_ns())


def again(who: Principal = WHO) -> Repeat:
    call_id = IDS.new()
    return Repeat(
        id=call_id,
        who=who,
        started_ns=time.time_ns(),
        began=time.perf_counter_ns(),
        tags={},
        trace=wire.new_trace(None, call_id),
        client="sdk",
    )


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url, size=4)
    await migrate(database, ["access", "cache"])
    yield database
    await database.close()


@pytest.mark.parametrize("stream", [False, True])
async def test_what_comes_again_is_counted_and_recorded_as_on_the_road(db: Database, *, stream: bool) -> None:
    door = Door(db)
    request, found = await door.noted(stream=stream)
    hits, before = door.cache.tally.total.hits, door.spool.records[-1]
    asked = again()
    assert door.repeated.answer(found, asked)
    after = door.spool.records[-1]
    assert (after.id, after.client, after.trace_id) == (asked.id, "sdk", asked.trace.trace_id)
    assert (after.ttft_us is not None) is stream
    ours, theirs = asdict(after), asdict(before)
    assert {name for name in ours if ours[name] != theirs[name]} <= MOMENT
    assert (after.request, after.answer) == (request.raw, found.body)
    assert door.cache.tally.total.hits == hits + 1


async def test_what_never_was_a_hit_takes_the_road(db: Database) -> None:
    door = Door(db)
    first = now()
    await door.takes(first)
    assert door.find(first) is None
    other = structs.replace(now("new"), cache_control="no-store")
    for _ in range(3):
        await door.takes(other)
    assert door.find(other) is None


async def test_an_answer_that_is_gone_is_not_given_at_the_door(db: Database) -> None:
    door = Door(db, ttl=0.4)
    request, found = await door.noted()
    door.cache.memory.drop_where(lambda entry: entry.call_id == found.note.call_id)
    assert door.find(request) is None
    assert door.cache.memory.bytes == 0
    request, _ = await door.noted()
    await asyncio.sleep(0.5)
    assert door.find(request) is None
    assert door.cache.memory.bytes == 0


async def test_who_may_not_have_it_takes_the_road(db: Database) -> None:
    door = Door(db)
    _, found = await door.noted()
    written = len(door.spool.records)
    for who in (
        replace(WHO, project_id=2),
        replace(WHO, models=frozenset({"other"})),
        replace(WHO, operations=frozenset({"embeddings"})),
    ):
        assert not door.repeated.answer(found, again(who))
    assert len(door.spool.records) == written


async def test_limits_hold_at_the_door(db: Database) -> None:
    door = Door(db)
    _, found = await door.noted()
    await door.limits.put("requests_per_minute", 3, project="default")
    await door.allowances.load()
    assert not door.repeated.answer(found, again())  # nothing is leased yet
    watching = asyncio.create_task(door.allowances.watch())
    await door.takes(now())
    given = [door.repeated.answer(found, again()) for _ in range(3)]
    watching.cancel()
    assert given.count(True) <= 2
    [pool] = door.allowances.of(again())
    assert (pool.account.spent, pool.account.reserved) == (1 + given.count(True), 0)


class Full:
    """A spool that takes nothing."""

    def write(self, _record: object) -> None:
        raise Unavailable("full")


async def test_what_cannot_be_recorded_is_not_answered(db: Database) -> None:
    door = Door(db)
    _, found = await door.noted()
    recorded = Recorded(door.road, Settled(Full(), door.allowances), lambda *_: PRICE)
    closed = Repeated(door.cache, {}, admitted=Admitted(SAID, door.allowances), recorded=recorded)
    hits = door.cache.tally.total.hits
    with pytest.raises(Unavailable):
        closed.answer(found, again())
    assert door.cache.tally.total.hits == hits
