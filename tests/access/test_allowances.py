import asyncio
import time
import uuid
from collections.abc import AsyncIterator

import pytest

from loopwright.access.allowances import Allowances
from loopwright.access.limits import Kind, Limits
from loopwright.access.spending import tidy
from loopwright.core.errors import Busy, LoopwrightError, Spent, Unavailable
from loopwright.core.money import NANO
from loopwright.kit.db import Database
from loopwright.kit.migrations import migrate
from loopwright.kit.settings import LimitSettings
from tests.access.leasing import PATIENT, drain, ended, request, use, working

pytestmark = pytest.mark.anyio
ONE = (1, 100, 1, 1000)


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url, size=12)
    await migrate(database, ["access"])
    yield database
    await database.close()


async def limited(db: Database, kind: Kind, amount: int, *, alert_at: int | None = None) -> Limits:
    limits = Limits(db)
    await limits.put(kind, amount, project="default", alert_at=alert_at)
    return limits


async def used(limits: Limits) -> int:
    [standing] = await limits.standings()
    return standing.used


async def until_used(limits: Limits, amount: int) -> None:
    async with asyncio.timeout(30):
        while await used(limits) != amount:  # noqa: ASYNC110 - another worker's report is no event here
            await asyncio.sleep(0.05)


async def test_without_limits_nothing_is_held(db: Database) -> None:
    async with working(db) as worker:
        assert worker.of(request(tags={"a": "b"})) == ()


async def test_what_is_reserved_is_settled_by_what_was_used(db: Database) -> None:
    limits = await limited(db, "usd_per_day", 10_000)
    async with working(db) as worker:
        asked = request()
        await use(worker, asked, ONE)
        worker.settle(ended(asked, cost=700))
        worker.settle(ended(asked, cost=700))  # only once
        await until_used(limits, 700)


async def test_a_budget_ends_with_a_word_on_when_it_begins_anew(db: Database) -> None:
    await limited(db, "usd_per_day", 3_000)
    async with working(db) as worker:
        for _ in range(3):
            asked = request()
            await use(worker, asked, ONE)
            worker.settle(ended(asked, cost=1000))
        with pytest.raises(Spent, match=r"is used up .* begins anew at") as caught:
            await use(worker, request(), ONE)
        assert (caught.value.status, caught.value.code, caught.value.retry_after) == (429, "insufficient_quota", None)
        # What is free passes.
        await use(worker, request(), (1, 100, 1, 0))


async def test_what_requests_in_flight_hold_comes_back_and_the_message_says_so(db: Database) -> None:
    await limited(db, "usd_per_day", 1_500)
    async with working(db) as worker:
        first = request()
        await use(worker, first, ONE)
        with pytest.raises(Busy, match="requests in flight may need") as caught:
            await use(worker, request(), ONE)
        assert caught.value.retry_after == 1
        worker.settle(ended(first, cost=0))
        await use(worker, request(), ONE)


async def test_a_request_larger_than_the_budget_is_told_so(db: Database) -> None:
    await limited(db, "usd_per_day", 10)
    async with working(db) as worker:
        with pytest.raises(Spent, match="this request may cost"):
            await use(worker, request(), ONE)


async def test_requests_a_minute_hold_over_workers(db: Database) -> None:
    await limited(db, "requests_per_minute", 10)
    at = time.time_ns() // 60_000_000_000 * 60_000_000_000
    waits: list[float] = []
    async with working(db) as one, working(db) as two, working(db) as three:

        async def ask(worker: Allowances) -> bool:
            asked = request(now_ns=at)
            try:
                await use(worker, asked, ONE)
            except Busy as error:
                waits.append(error.retry_after or 0)
                return False
            worker.settle(ended(asked))
            return True

        let_in = [await ask(worker) for _ in range(6) for worker in (one, two, three)]
    assert sum(let_in) == 10
    assert len(waits) == 8
    assert all(1 <= wait <= 60 for wait in waits)
    assert let_in[:10] == [True] * 10


async def test_tokens_a_minute_are_settled_by_the_real_ones(db: Database) -> None:
    limits = await limited(db, "tokens_per_minute", 250)
    async with working(db) as worker:
        at = time.time_ns()
        for _ in range(4):
            asked = request(now_ns=at)
            await use(worker, asked, ONE)
            worker.settle(ended(asked, tokens=40))
        with pytest.raises(Busy, match="250 tokens a minute"):
            await use(worker, request(now_ns=at), ONE)
        with pytest.raises(Busy, match="ask for less"):
            await use(worker, request(now_ns=at), (1, 251, 1, 0))
        assert (await limits.standings())[0].used <= 160


async def test_requests_at_once_hold_over_workers_and_idle_workers_give_theirs_back(db: Database) -> None:
    await limited(db, "concurrent_requests", 3)
    async with working(db) as one, working(db) as two:
        held = [(worker, request()) for worker in (one, two, one)]
        for worker, asked in held:
            await use(worker, asked, ONE)
        with pytest.raises(Busy, match="3 requests at once"):
            await use(two, request(), ONE)
        for worker, asked in held:
            worker.settle(ended(asked))
        # All three were held by both; now one worker needs them all.
        await asyncio.sleep(0.3)
        for _ in range(3):
            await use(two, request(), ONE)


async def test_a_tags_budget_holds_for_its_calls_only(db: Database) -> None:
    limits = Limits(db)
    await limits.put("usd_per_month", 1_000, project="default", tag=("team", "red"))
    async with working(db) as worker:
        asked = request(tags={"team": "red", "x": "y"})
        await use(worker, asked, ONE)
        worker.settle(ended(asked, cost=1000))
        with pytest.raises(Spent, match="tag team=red of project 'default'"):
            await use(worker, request(tags={"team": "red"}), ONE)
        await use(worker, request(tags={"team": "blue"}), ONE)
        await use(worker, request(), ONE)


async def test_nothing_is_reserved_when_one_of_several_limits_has_no_room(db: Database) -> None:
    limits = await limited(db, "usd_per_day", 10_000)
    await limits.put("concurrent_requests", 0, project="default")
    async with working(db) as worker:
        with pytest.raises(Busy):
            await use(worker, request(), ONE)
        assert all(pool.account.reserved == 0 for pool in worker.of(request()))


async def test_a_limit_that_is_changed_or_lifted_reaches_every_worker(db: Database) -> None:
    limits = await limited(db, "usd_per_day", 1_000)
    async with working(db) as worker:
        asked = request()
        await use(worker, asked, ONE)
        worker.settle(ended(asked, cost=1000))
        with pytest.raises(Spent):
            await use(worker, request(), ONE)
        limit = await limits.put("usd_per_day", 5_000, project="default")
        await eventually(worker, admitted=True)
        await limits.put("usd_per_day", 500, project="default")
        await eventually(worker, admitted=False)
        await limits.remove(limit.id)
        async with asyncio.timeout(30):
            while worker.of(request()):  # noqa: ASYNC110 - word comes by NOTIFY
                await asyncio.sleep(0.02)


async def eventually(worker: Allowances, *, admitted: bool) -> None:
    async with asyncio.timeout(30):
        while True:
            asked = request()
            try:
                await use(worker, asked, ONE)
            except LoopwrightError:
                if not admitted:
                    return
            else:
                worker.settle(ended(asked))
                if admitted:
                    return
            await asyncio.sleep(0.05)


async def test_what_a_dead_worker_held_is_free_after_its_lease_and_what_it_spent_is_not(db: Database) -> None:
    limits = await limited(db, "usd_per_day", 3_000)
    quick, holder = LimitSettings(wait=2.0, lease=5.0, on_outage="refuse"), uuid.uuid4()
    dead = Allowances(db, quick, holder)
    await dead.load()
    watching = asyncio.create_task(dead.watch())
    calls = [request() for _ in range(3)]
    for asked in calls:
        await use(dead, asked, ONE)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    # It dies without a word; two of its calls came on record, with less than was reserved.
    async with working(db, quick) as worker:
        with pytest.raises((Busy, Unavailable)):
            await use(worker, request(), ONE)
        await drain(db, holder, ended(calls[0], cost=900), ended(calls[1], cost=500))
        await eventually(worker, admitted=True)
        assert await used(limits) == 1_400


async def test_a_budget_made_today_counts_what_today_has_cost(db: Database) -> None:
    holder = uuid.uuid4()
    before = request()
    await drain(db, holder, ended(before, cost=800))
    limits = await limited(db, "usd_per_month", 1_700)
    async with working(db, holder=holder) as worker:
        with pytest.raises(Spent):
            await use(worker, request(), ONE)
        asked = request()
        await use(worker, asked, (1, 1, 1, 900))
        worker.settle(ended(asked, cost=850))
        await drain(db, holder, ended(asked, cost=850))
        await until_used(limits, 1_650)
    assert await used(limits) == 1_650
    [(_, nano)] = await limits.spent((await limits.all())[0].id, windows=1)
    assert nano == 1_650


async def test_an_outage_goes_on_with_what_was_held_or_a_part_of_the_limit(db: Database, database_url: str) -> None:
    await limited(db, "usd_per_day", 100_000)
    own = await Database.open(database_url, size=2)
    worker = Allowances(own, LimitSettings(wait=0.2, outage_grace=0.3), uuid.uuid4())
    await worker.load()
    watching = asyncio.create_task(worker.watch())
    await use(worker, request(), ONE)
    await own.close()
    for _ in range(29):
        await use(worker, request(), ONE)
    with pytest.raises(Unavailable, match="does not answer"):
        await use(worker, request(), ONE)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_an_outage_may_be_told_to_refuse(db: Database, database_url: str) -> None:
    await limited(db, "usd_per_day", 10_000)
    own = await Database.open(database_url, size=2)
    worker = Allowances(own, LimitSettings(wait=0.2, on_outage="refuse"), uuid.uuid4())
    await worker.load()
    watching = asyncio.create_task(worker.watch())
    await own.close()
    with pytest.raises(Unavailable):
        await use(worker, request(), ONE)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_a_budget_near_its_end_warns_the_client_and_the_log_once(db: Database) -> None:
    limits = await limited(db, "usd_per_day", 10 * NANO, alert_at=80)
    async with working(db) as worker:
        asked = request()
        await use(worker, asked, (1, 1, 1, 8 * NANO))
        worker.settle(ended(asked, cost=8 * NANO))
        async with asyncio.timeout(30):
            while not worker.warning(worker.of(request())):  # noqa: ASYNC110 - the report is no event here
                await asyncio.sleep(0.05)
        assert worker.warning(worker.of(request())) == "usd_per_day 80% of $10"
        for _ in range(3):
            asked = request()
            await use(worker, asked, (1, 1, 1, NANO // 10))
            worker.settle(ended(asked, cost=NANO // 10))
        await until_used(limits, 8 * NANO + 3 * (NANO // 10))
    acts = await db.rows("select act, detail from audit where act like 'limit.%' order by id")
    assert [row["act"] for row in acts] == ["limit.put", "limit.alert"]


async def test_windows_long_closed_are_joined_and_their_sum_stays(db: Database) -> None:
    limits = await limited(db, "usd_per_day", 10_000)
    [limit] = await limits.all()
    old = time.time_ns() - 6 * 86_400 * 10**9
    for cost in (300, 200):
        await drain(db, uuid.uuid4(), ended(request(now_ns=old), cost=cost))
    before = await limits.spent(limit.id, windows=8)
    await tidy(db)
    assert await limits.spent(limit.id, windows=8) == before
    assert sum(nano for _, nano in before) == 500
    rows = await db.rows("select * from spend where period = 'day' and scope = 'project'")
    assert [row["holder"] for row in rows] == [uuid.UUID(int=0)]


async def test_a_worker_at_rest_asks_the_database_nothing(db: Database) -> None:
    await limited(db, "usd_per_day", 10_000)
    async with working(db, PATIENT) as worker:
        asked = request()
        await use(worker, asked, ONE)
        worker.settle(ended(asked, cost=1))
        await asyncio.sleep(2.5)
        rounds = worker.rounds
        await asyncio.sleep(2.5)
        assert worker.rounds == rounds
