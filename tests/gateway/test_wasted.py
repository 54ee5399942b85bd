"""What answers took that nobody got is part of the cost of the call, as told or as estimated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from loopwright.calls.record import Record
from loopwright.core.chat import Chat, Delta, Request, answering
from loopwright.core.errors import BadRequest, InvalidOutput, LoopwrightError, UpstreamBroke, UpstreamError
from loopwright.core.money import Price, Usage
from loopwright.gateway.cascaded import Cascaded
from loopwright.gateway.recorded import Recorded
from loopwright.gateway.route import Route, route
from loopwright.gateway.routed import Target
from loopwright.kit.settings import ModelSettings, TargetSettings
from loopwright.kit.settings_routes import BreakerSettings, CascadeSettings, HedgeSettings
from tests.gateway.roads import Memory, ask, saying
from tests.gateway.routes_made import Player, made, quick, until

pytestmark = pytest.mark.anyio
PRICE = Price(input=1_000_000, output=10_000_000)
"""A thousand nanodollars a token in, ten thousand out."""
FINE = 10 * 1_000 + 10 * 10_000
"""What a `Player` tells that it took."""


def over(*chats: Chat, **settings: Any) -> Route:
    """A route over chats."""
    targets = [
        Target(chat=chat, provider=f"p{at}", model="m", operations=frozenset({"chat"}), price=PRICE)
        for at, chat in enumerate(chats)
    ]
    settings.setdefault("retries", quick())
    told = tuple(TargetSettings(provider=each.provider) for each in targets)
    return route("m", ModelSettings(targets=told, **settings), targets)


async def on_record(chat: Chat, request: Request, *, fails: bool = False) -> Record:
    spool = Memory()
    road = Recorded(chat, spool, lambda *_served: PRICE)
    try:
        async with answering(road, request) as answer:
            async for _ in answer:
                pass
    except LoopwrightError:
        assert fails
    return spool.records[-1]


def prompt(request: Request) -> int:
    """Nanodollars of its prompt, estimated."""
    return max(len(request.raw or b"") // 4, 1) * 1_000


async def test_an_attempt_that_told_its_usage_and_failed_counts_as_told() -> None:
    failing = saying(
        Delta(raw=b": note\n\n", speaks=False, usage=Usage(input=7, output=3)), error=UpstreamBroke("cut off")
    )
    call = await on_record(over(failing, Player("b")).target.chat, ask(stream=True))
    assert call.cost_nano == 7 * 1_000 + 3 * 10_000 + FINE
    assert (call.input_tokens, call.output_tokens, call.usage_estimated) == (10, 10, False)
    assert call.tags["loopwright.wasted"] == "told"
    assert call.tags["loopwright.wasted_usd"] == "0.000037"


async def test_an_attempt_that_had_begun_is_estimated_and_an_error_in_its_place_is_nothing() -> None:
    begun = saying(Delta(raw=b": role\n\n", speaks=False), error=UpstreamBroke("cut off"))
    asked = ask("x" * 400, stream=True)
    call = await on_record(over(begun, Player("b")).target.chat, asked)
    assert call.cost_nano == prompt(asked) + FINE
    assert call.tags["loopwright.wasted"] == "estimated"
    refused = saying(error=UpstreamError("500", upstream_status=500))
    call = await on_record(over(refused, Player("b")).target.chat, ask(stream=True))
    assert call.cost_nano == FINE
    assert "loopwright.wasted" not in call.tags


async def test_what_was_given_up_for_time_counts_also_when_nothing_answers() -> None:
    asked = ask(stream=True)
    slow = over(Player("a", delay=30), retries=quick(timeout=0.01, attempts=2))
    call = await on_record(slow.target.chat, asked, fails=True)
    assert (call.outcome, call.cost_nano) == ("error", 2 * prompt(asked))


async def test_an_answer_that_never_fitted_counts_once() -> None:
    def unfit() -> InvalidOutput:
        return InvalidOutput("no", usage=Usage(input=5, output=5), model="m", provider="p0")

    call = await on_record(over(saying(error=unfit()), Player("b")).target.chat, ask())
    assert call.cost_nano == 5 * 11_000 + FINE
    alone = over(saying(error=unfit()), retries=quick(attempts=1))
    call = await on_record(alone.target.chat, ask(), fails=True)
    assert (call.cost_nano, call.tags) == (5 * 11_000, {})


async def test_an_overtaken_hedge_counts_its_prompt() -> None:
    asked = ask("x" * 400, stream=True)
    slow = Player("a", delay=30)
    call = await on_record(over(slow, Player("b"), hedge=HedgeSettings(after=0.01)).target.chat, asked)
    assert call.cost_nano == prompt(asked) + FINE
    assert call.tags["loopwright.wasted"] == "estimated"
    assert slow.cancelled == 1


async def test_of_two_hedges_that_begin_at_once_one_is_thrown_away() -> None:
    gate = asyncio.Event()
    waiting: list[str] = []

    def gated(name: str) -> Chat:
        async def chat(_request: Request, /) -> AsyncGenerator[Delta, None]:
            waiting.append(name)
            await gate.wait()
            yield Delta(raw=b"data: {}\n\n", model="m", provider=name)
            yield Delta(raw=b"end", usage=Usage(input=10, output=10), done=True, speaks=False)

        return chat

    asked = ask(stream=True)
    both = over(gated("p0"), gated("p1"), hedge=HedgeSettings(after=0.001))
    running = asyncio.create_task(on_record(both.target.chat, asked))
    await until(lambda: len(waiting) == 2)
    gate.set()
    call = await running
    assert call.cost_nano == FINE + prompt(asked) + 10_000


async def test_a_client_that_hangs_up_before_the_first_content_pays_the_prompt() -> None:
    spool = Memory()
    slow = Player("a", delay=30)
    asked = ask(stream=True)

    async def listening() -> None:
        async with answering(Recorded(over(slow).target.chat, spool, lambda *_served: PRICE), asked) as answer:
            async for _ in answer:
                pass

    client = asyncio.create_task(listening())
    await until(lambda: slow.now)
    client.cancel()
    await asyncio.wait([client])
    assert (spool.records[-1].outcome, spool.records[-1].cost_nano) == ("cancelled", prompt(asked))


async def test_a_cheap_answer_counts_when_the_dear_one_fails_too() -> None:
    cheap = saying(Delta(raw=b"no json", usage=Usage(input=1, output=1), done=True, model="m", provider="p0"))
    chat = Cascaded(
        cheap=cheap,
        dear=saying(error=UpstreamError("500")),
        settings=CascadeSettings(),
        cheap_price=PRICE,
        dear_price=PRICE,
    )
    call = await on_record(chat, ask(), fails=True)
    assert (call.outcome, call.cost_nano) == ("error", 11_000)
    assert call.tags["loopwright.cascade"] == "escalated"


async def test_a_target_that_refuses_at_once_leaves_nothing_in_flight() -> None:
    def refusing(_request: Request, /) -> AsyncGenerator[Delta, None]:
        raise BadRequest("no")

    found = over(refusing, breaker=BreakerSettings(in_a_row=1))
    await on_record(found.target.chat, ask(), fails=True)
    assert found.standings[0].in_flight == 0


async def test_a_probe_that_is_refused_at_once_is_over() -> None:
    answers: list[LoopwrightError | None] = [UpstreamError("500"), BadRequest("no"), None]

    def turning(request: Request, /) -> AsyncGenerator[Delta, None]:
        error = answers.pop(0)
        if error is not None:
            raise error
        return Player("p0")(request)

    found = over(turning, breaker=BreakerSettings(in_a_row=1, pause=0.01), retries=quick(attempts=1))
    for outcome in ("error", "refused", "ok"):
        call = await on_record(found.target.chat, ask(), fails=outcome != "ok")
        assert call.outcome == outcome


async def test_a_route_without_prices_notes_nothing() -> None:
    asked = ask(stream=True)
    await on_record(made(Player("a", UpstreamBroke("cut off")), Player("b")).target.chat, asked)
    assert asked.notes == []
