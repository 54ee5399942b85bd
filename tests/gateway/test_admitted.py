import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from loopwright.access.allowances import Allowances
from loopwright.access.limits import Limits
from loopwright.core.chat import Chat, Delta, Request
from loopwright.core.errors import Busy, Refused, Spent, UpstreamBroke
from loopwright.core.money import Price, Usage
from loopwright.core.who import Principal
from loopwright.gateway.admitted import Admitted
from loopwright.gateway.recorded import Recorded
from loopwright.gateway.settled import Settled
from loopwright.kit.db import Database
from loopwright.kit.migrations import migrate
from loopwright.kit.settings import LimitSettings
from tests.gateway.roads import PRICE, Memory, ask, deltas, saying

pytestmark = pytest.mark.anyio
WHO = Principal(key_id=1, key_name="k", project_id=1, project="default")
SAID = saying(Delta(raw=b"{}", provider="p", model="m", usage=Usage(input=10, output=20), done=True))
COST = 10 * 1000 + 20 * 2000


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url, size=6)
    await migrate(database, ["access"])
    yield database
    await database.close()


class Gate:
    """A worker whose allowances are open for a test."""

    def __init__(self, db: Database, settings: LimitSettings, price: Price | None) -> None:
        self.settings = settings
        self.price = price
        self.limits = Limits(db)
        self.allowances = Allowances(db, settings, uuid.uuid4())
        self.spool = Memory()

    def road(self, inner: Chat) -> Chat:
        admitted = Admitted(inner, self.allowances, lambda _model: self.price, self.settings)
        return Recorded(admitted, Settled(self.spool, self.allowances), lambda *_served: PRICE)

    async def limited(self, kind: str, amount: int, **options: int) -> None:
        await self.limits.put(kind, amount, project="default", **options)  # type: ignore[arg-type]
        await self.allowances.load()

    def held(self, request: Request) -> list[tuple[int, int]]:
        return [(pool.account.reserved, pool.account.spent) for pool in self.allowances.of(request)]


@pytest.fixture
async def gate(db: Database) -> AsyncIterator[Gate]:
    made = Gate(db, LimitSettings(wait=20.0), PRICE)
    watching = asyncio.create_task(made.allowances.watch())
    yield made
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


def now(**fields: Any) -> Request:
    """A request of this moment: its window is the present one."""
    return replace(ask(who=WHO, **fields), started_ns=time.time_ns())


async def test_without_limits_the_answer_is_the_inner_one_itself() -> None:
    answer = SAID(ask())
    admitted = Admitted(lambda _request: answer)
    assert admitted(ask(who=WHO)) is answer
    await answer.aclose()


async def test_a_key_is_kept_to_its_routes_and_tasks() -> None:
    who = Principal(
        key_id=1, key_name="k", project_id=1, project="p", operations=frozenset({"embeddings"}), tasks=frozenset({"t"})
    )
    with pytest.raises(Refused, match="may not use chat; it may use: embeddings"):
        await deltas(Admitted(SAID), ask(who=who))
    tasks = Principal(key_id=1, key_name="k", project_id=1, project="p", tasks=frozenset({"sort"}))
    assert await deltas(Admitted(SAID), ask(who=tasks, model="task/sort@b"))
    with pytest.raises(Refused, match="may not call 'task/other'"):
        await deltas(Admitted(SAID), ask(who=tasks, model="task/other"))


async def test_the_record_settles_what_was_reserved(gate: Gate) -> None:
    await gate.limited("usd_per_day", 10**9)
    request = now(max_tokens=100)
    answer = gate.road(SAID)(request)
    await anext(answer)
    assert gate.held(request) == [(0, COST)]
    await answer.aclose()
    assert gate.spool.records[0].cost_nano == COST


@pytest.mark.parametrize(
    ("body", "tokens"), [({"max_tokens": 7}, 7), ({"max_completion_tokens": 9, "n": 3}, 27), ({}, 1024)]
)
async def test_the_estimate_is_the_most_the_request_allows(gate: Gate, body: dict[str, int], tokens: int) -> None:
    await gate.limited("tokens_per_minute", 10**6)
    request = now(**body)
    assert request.raw is not None
    sizes = Admitted(SAID, gate.allowances, lambda _m: PRICE, gate.settings).most(request)
    assert sizes is not None
    assert sizes[1] == len(request.raw) // 3 + 1 + tokens


async def test_a_failure_and_a_client_that_hangs_up_give_back_what_was_not_used(gate: Gate) -> None:
    await gate.limited("concurrent_requests", 1)
    await gate.limited("usd_per_day", 10**9)
    with pytest.raises(UpstreamBroke):
        await deltas(gate.road(saying(error=UpstreamBroke("x"))), now())
    assert [reserved for reserved, _ in gate.held(now())] == [0, 0]
    endless = saying(Delta(raw=b"data: {}\n\n", provider="p", usage=Usage(input=1, output=1)), Delta(raw=b"x"))
    answer = gate.road(endless)(now(stream=True))
    await anext(answer)
    with pytest.raises(Busy, match="1 requests at once"):
        await deltas(gate.road(SAID), now())
    await answer.aclose()
    assert [reserved for reserved, _ in gate.held(now())] == [0, 0]
    assert await deltas(gate.road(SAID), now())


async def test_an_answer_without_its_end_is_recorded_and_settled(gate: Gate) -> None:
    await gate.limited("concurrent_requests", 1)
    with pytest.raises(UpstreamBroke, match="without its end"):
        await deltas(gate.road(saying(Delta(raw=b"data: {}\n\n", provider="p"))), now(stream=True))
    assert gate.held(now()) == [(0, 0)]
    assert gate.spool.records[0].outcome == "error"


async def test_a_refusal_is_on_record_and_costs_nothing(gate: Gate) -> None:
    await gate.limited("usd_per_day", 0)
    with pytest.raises(Spent):
        await deltas(gate.road(SAID), now())
    [record] = gate.spool.records
    assert (record.outcome, record.status, record.error_code, record.cost_nano) == (
        "refused",
        429,
        "insufficient_quota",
        0,
    )


async def test_a_budget_near_its_end_is_said_on_the_first_piece(gate: Gate) -> None:
    await gate.limited("usd_per_day", 10**9, alert_at=1)
    request = now(max_tokens=1)
    streamed = saying(Delta(raw=b"a"), Delta(raw=b"b", usage=Usage(input=1, output=1), done=True))
    # The first waits for its lease, which brings fresh figures; then the warning is in memory.
    await deltas(gate.road(streamed), now(max_tokens=1, stream=True))
    pool = gate.allowances.of(request)[0]
    pool.warning, pool.account.used = True, 5 * 10**8
    first, last = await deltas(gate.road(streamed), now(max_tokens=1, stream=True))
    assert first.headers == (("x-loopwright-budget", "usd_per_day 50% of $1"),)
    assert last.headers == ()


async def test_a_model_without_a_price_counts_as_nothing_or_is_refused(db: Database) -> None:
    free = Gate(db, LimitSettings(), None)
    await free.limited("usd_per_day", 0)
    assert await deltas(free.road(SAID), now())
    strict = Gate(db, LimitSettings(unpriced="refuse"), None)
    await strict.allowances.load()
    with pytest.raises(Refused, match="has no price and a budget holds"):
        await deltas(strict.road(SAID), now())
