import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from loopwright.core.chat import Delta, Request
from loopwright.core.errors import BadRequest, Busy, UpstreamError
from loopwright.core.money import Price, Usage
from loopwright.core.who import HOUSE
from loopwright.gateway.cascaded import Cascaded
from loopwright.gateway.route import plain
from loopwright.gateway.routed import Routed
from loopwright.kit.settings_routes import CascadeSettings, HedgeSettings, QueueSettings
from tests.gateway.roads import Memory, ask, deltas, recorded
from tests.gateway.routes_made import Player, made, quick, said, until

pytestmark = pytest.mark.anyio
CHEAP, DEAR = Price(input=1_000_000, output=1_000_000), Price(input=10_000_000, output=10_000_000)


async def spread(route: Any, requests: list[Request]) -> Counter[str]:
    return Counter([(await said(route.target.chat, request))[1][0].provider for request in requests])


async def test_a_plain_route_is_the_target_itself() -> None:
    target = Player("a").target
    route = plain("m", target)
    assert route.target is target
    assert route.shown()["targets"][0]["state"] == "unwatched"


async def test_a_canary_gets_its_share() -> None:
    route = made(Player("a"), Player("b"), strategy="weighted", targets=[{"weight": 90}, {"weight": 10}])
    found = await spread(route, [ask() for _ in range(1000)])
    assert 50 < found["b"] < 160


async def test_the_fastest_is_asked_and_others_are_explored() -> None:
    route = made(Player("slow", delay=0.01), Player("fast"), strategy="least-latency")
    found = await spread(route, [ask(stream=True) for _ in range(200)])
    assert found["fast"] > 150
    assert found["slow"] >= 1


async def test_the_cheapest_is_asked_and_the_unpriced_last() -> None:
    players = Player("unpriced"), Player("dear", price=DEAR), Player("cheap", price=CHEAP)
    assert await spread(made(*players, strategy="least-cost"), [ask()]) == {"cheap": 1}


async def test_the_least_busy_is_asked() -> None:
    a, b = Player("a", delay=0.05), Player("b", delay=0.05)
    route = made(a, b, strategy="least-busy")
    await asyncio.gather(*(said(route.target.chat, ask()) for _ in range(10)))
    assert (len(a.asked), len(b.asked)) == (5, 5)


async def test_a_session_stays_and_only_the_sessions_of_a_lost_target_move() -> None:
    players = [Player(name) for name in "abc"]
    requests = [structs.replace(ask(), session=f"s{at}") for at in range(90)]
    whole = made(*players, strategy="sticky")
    before = [(await said(whole.target.chat, each))[1][0].provider for each in requests]
    assert before == [(await said(whole.target.chat, each))[1][0].provider for each in requests]
    assert set(Counter(before)) == {"a", "b", "c"}
    less = made(*players[:2], strategy="sticky")
    after = [(await said(less.target.chat, each))[1][0].provider for each in requests]
    assert all(was == now for was, now in zip(before, after, strict=True) if was != "c")


async def test_concurrency_is_held_and_others_wait() -> None:
    a = Player("a", delay=0.01)
    route = made(a, concurrency=2)
    await asyncio.gather(*(said(route.target.chat, ask()) for _ in range(9)))
    assert (len(a.asked), a.most) == (9, 2)
    [queue] = [each.queue for each in route.standings]
    assert queue is not None
    assert (queue.running, queue.waiting) == (0, 0)


async def test_keys_take_turns() -> None:
    a = Player("a", delay=0.005)
    chat = made(a, concurrency=1).target.chat
    crowd, lonely = replace(HOUSE, key_id=1), replace(HOUSE, key_id=2)
    running = [asyncio.create_task(said(chat, ask(who=crowd))) for _ in range(10)]
    await asyncio.sleep(0)
    running.append(asyncio.create_task(said(chat, ask(who=lonely))))
    await asyncio.gather(*running)
    assert [request.who.key_id for request in a.asked].index(2) <= 2


async def test_a_full_queue_turns_away_who_waits_most() -> None:
    a = Player("a", delay=0.02)
    route = made(a, concurrency=1, queue=QueueSettings(size=3))
    crowd, lonely = replace(HOUSE, key_id=1), replace(HOUSE, key_id=2)
    running = [asyncio.create_task(said(route.target.chat, ask(who=crowd))) for _ in range(5)]
    await until(lambda: any(task.done() for task in running))
    running.append(asyncio.create_task(said(route.target.chat, ask(who=lonely))))
    ended = await asyncio.gather(*running, return_exceptions=True)
    refused = [each for each in ended if isinstance(each, Busy)]
    assert len(refused) == 2
    assert all((each.retry_after or 0) >= 1 for each in refused)
    assert not isinstance(ended[-1], BaseException)
    assert route.standings[0].failures == 0


async def test_a_full_target_is_passed_over() -> None:
    a, b = Player("a", delay=0.05), Player("b", delay=0.05)
    route = made(a, b, concurrency=1, queue=QueueSettings(size=0))
    found = await asyncio.gather(*(said(route.target.chat, ask()) for _ in range(3)), return_exceptions=True)
    assert sum(isinstance(each, Busy) for each in found) == 1
    assert (len(a.asked), len(b.asked)) == (1, 1)


async def test_waiting_in_the_queue_ends_with_the_client() -> None:
    a = Player("a", delay=0.05)
    route = made(a, concurrency=1)
    running = [asyncio.create_task(said(route.target.chat, ask())) for _ in range(2)]
    queue = route.standings[0].queue
    assert queue is not None
    await until(lambda: queue.waiting == 1)
    running[1].cancel()
    await asyncio.wait(running)
    assert (queue.running, queue.waiting, len(a.asked)) == (0, 0, 1)


async def test_the_first_token_wins_and_the_loser_is_cancelled() -> None:
    a, b = Player("a", delay=30), Player("b")
    route = made(a, b, hedge=HedgeSettings(after=0.01))
    text, pieces = await said(route.target.chat, ask(stream=True))
    assert (text, pieces[0].provider, pieces[0].attempts) == ("role from b end", "b", 2)
    assert (a.cancelled, a.now) == (1, 0)
    assert route.shown()["hedge"]["won"] == 1


async def test_no_hedge_when_the_first_is_in_time_or_the_budget_is_spent() -> None:
    a, b = Player("a", delay=0.02), Player("b")
    route = made(a, b, hedge=HedgeSettings(after=5.0))
    assert (await said(route.target.chat, ask()))[1][0].provider == "a"
    poor = made(a, b, hedge=HedgeSettings(after=0.001), retries=quick(budget=0.0))
    for _ in range(20):
        await said(poor.target.chat, ask())
    assert len(b.asked) == 10


async def test_a_hedge_outlives_the_failure_of_the_other() -> None:
    a, b = Player("a", BadRequest("no"), delay=0.02), Player("b", delay=0.05)
    assert (await said(made(a, b, hedge=HedgeSettings(after=0.001)).target.chat, ask()))[0] == "role from b end"
    failing = made(Player("a", BadRequest("no")), b, hedge=HedgeSettings(after=5.0))
    with pytest.raises(BadRequest):
        await said(failing.target.chat, ask())


class Saying:
    """A target that answers with one text in OpenAI's form."""

    def __init__(self, name: str, text: str, price: Price, logprob: float | None = None) -> None:
        self.name, self.text, self.price, self.logprob = name, text, price, logprob
        self.asked: list[Request] = []

    async def __call__(self, request: Request, /) -> AsyncGenerator[Delta, None]:
        self.asked.append(request)
        logprobs = None
        if request.body.get("logprobs"):
            logprobs = {"content": [{"token": "x", "logprob": self.logprob}]}
        usage = Usage(input=100, output=100)
        choice: dict[str, Any] = {"index": 0, "logprobs": logprobs, "finish_reason": "stop"}
        if not request.stream:
            body = json.dumps({"choices": [{**choice, "message": {"content": self.text}}]}).encode()
            yield Delta(raw=body, usage=usage, done=True, model="m", provider=self.name)
            return
        event = json.dumps({"choices": [{**choice, "delta": {"content": self.text}}]}).encode()
        yield Delta(raw=b"data: " + event + b"\n\n", model="m", provider=self.name)
        yield Delta(raw=b"data: [DONE]\n\n", usage=usage, done=True, speaks=False)


def cascade(cheap: Saying, dear: Saying, evaluator: Any = None, **settings: Any) -> Cascaded:
    return Cascaded(
        cheap=cheap,
        dear=dear,
        settings=CascadeSettings(**settings),
        cheap_price=cheap.price,
        dear_price=dear.price,
        evaluator=evaluator,
    )


SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object", "required": ["a"]}}}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cheap_answer_that_fits_goes_out_and_what_it_saved_is_known(*, stream: bool) -> None:
    chat = cascade(Saying("cheap", '{"a": 1}', CHEAP), Saying("dear", "", DEAR))
    [first, *_] = await deltas(chat, ask(stream=stream, response_format=SCHEMA))
    assert (first.provider, first.cost_nano, chat.ledger.kept) == ("cheap", None, 1)
    assert chat.ledger.saved_nano == 200 * 9_000
    spool = Memory()
    await deltas(recorded(chat, spool), ask(stream=stream, response_format=SCHEMA))
    assert spool.records[0].tags == {"loopwright.cascade": "kept", "loopwright.saved_usd": "0.0018"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("text", ["no json", '{"b": 1}'])
async def test_a_cheap_answer_that_does_not_fit_costs_and_another_is_asked(text: str, *, stream: bool) -> None:
    chat = cascade(Saying("cheap", text, CHEAP), Saying("dear", '{"a": 2}', DEAR))
    spool = Memory()
    found = await deltas(recorded(chat, spool), ask(stream=stream, response_format=SCHEMA))
    assert (found[0].provider, found[0].attempts) == ("dear", 2)
    assert chat.ledger.reasons == {"schema": 1}
    # 200 tokens of the recorder's price, beside the 200 cheap ones that would not do.
    assert spool.records[0].cost_nano == 100 * 1_000 + 100 * 2_000 + 200 * 1_000
    assert spool.records[0].tags == {
        "loopwright.attempts": "2",
        "loopwright.cascade": "escalated",
        "loopwright.cascade_reason": "schema",
        "loopwright.wasted": "told",
        "loopwright.wasted_usd": "0.0002",
    }


@pytest.mark.parametrize("stream", [False, True])
async def test_a_doubtful_answer_leads_on_and_a_sure_one_hides_its_log_probabilities(*, stream: bool) -> None:
    sure = cascade(Saying("cheap", "yes", CHEAP, -0.1), Saying("dear", "no", DEAR), min_logprob=-0.5)
    found = await deltas(sure, ask(stream=stream))
    assert found[0].provider == "cheap"
    assert not [delta for delta in found if b"token" in delta.raw]
    asked_for = await deltas(sure, ask(stream=stream, logprobs=True))
    assert b"token" in asked_for[0].raw
    unsure = cascade(Saying("cheap", "yes", CHEAP, -0.9), Saying("dear", "no", DEAR), min_logprob=-0.5)
    assert (await deltas(unsure, ask(stream=stream)))[0].provider == "dear"
    assert unsure.ledger.reasons == {"logprob": 1}


async def test_an_evaluator_decides_and_a_broken_one_leads_on() -> None:
    async def long_enough(_body: Any, text: str) -> bool:
        return len(text) > 3

    def broken(_body: Any, _text: str) -> bool:
        raise ValueError("broken")

    for text, evaluator, by in (
        ("long answer", long_enough, "cheap"),
        ("no", long_enough, "dear"),
        ("x", broken, "dear"),
    ):
        chat = cascade(Saying("cheap", text, CHEAP), Saying("dear", "dear", DEAR), evaluator)
        assert (await deltas(chat, ask()))[0].provider == by


async def test_a_cascade_of_a_route_goes_on_when_the_cheap_one_fails() -> None:
    a, b = Player("a", UpstreamError("500")), Player("b")
    route = made(a, b, cascade=CascadeSettings(), retries=quick(attempts=2))
    text, pieces = await said(route.target.chat, ask(stream=True))
    assert (text, pieces[0].provider) == ("role from b end", "b")
    assert route.shown()["cascade"]["reasons"] == {"failed": 1}


async def test_a_deadline_holds_for_plain_routes_too() -> None:
    slow = Player("a", delay=30)
    chat = Routed({"m": slow.target})
    with pytest.raises(UpstreamError, match="deadline"):
        await said(chat, structs.replace(ask(), deadline=0.0))
    assert slow.now == 0
