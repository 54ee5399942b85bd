import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

import pytest
from msgspec import structs

from loopwright.core.chat import Delta, Request, answering
from loopwright.core.errors import (
    BadRequest,
    Busy,
    LoopwrightError,
    Unavailable,
    UpstreamBroke,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
)
from loopwright.kit.settings_routes import BreakerSettings
from tests.gateway.roads import ask
from tests.gateway.routes_made import Player, made, quick, said

pytestmark = pytest.mark.anyio
BROKEN = UpstreamError("500", upstream_status=500)
WHOLE = "role from b end"


@pytest.mark.parametrize(
    "error",
    [
        BROKEN,
        UpstreamBroke("cut off"),
        UpstreamTimeout("slow"),
        Unavailable("refused"),
        Busy("429", retry_after=30),
        UpstreamRefused("401", upstream_status=401),
        UpstreamRefused("402", upstream_status=402),
        UpstreamRefused("403", upstream_status=403),
    ],
)
async def test_another_target_answers_and_nothing_comes_twice(error: LoopwrightError) -> None:
    a, b = Player("a", error), Player("b")
    text, pieces = await said(made(a, b).target.chat, ask(stream=True))
    assert text == WHOLE
    assert (pieces[0].provider, pieces[0].attempts) == ("b", 2)
    assert (len(a.asked), len(b.asked)) == (1, 1)


@pytest.mark.parametrize(
    "error",
    [BadRequest("400"), UpstreamRefused("404", upstream_status=404), UpstreamRefused("422", upstream_status=422)],
)
async def test_what_would_end_the_same_is_not_tried_again(error: LoopwrightError) -> None:
    a, b = Player("a", error), Player("b")
    route = made(a, b)
    with pytest.raises(type(error)):
        await said(route.target.chat, ask())
    assert not b.asked
    assert route.standings[0].failures == 0


async def test_nothing_is_tried_again_after_the_first_content() -> None:
    a, b = Player("a", "hello"), Player("b")
    route = made(a, b)

    async def cut(request: Request, /) -> AsyncGenerator[Delta, None]:
        async with answering(a, request) as answer:
            async for delta in answer:
                yield delta
                if delta.speaks:
                    raise BROKEN

    route.standings[0].target = replace(route.standings[0].target, chat=cut)
    seen: list[bytes] = []

    async def read() -> None:
        async for delta in route.target.chat(ask(stream=True)):
            seen.append(delta.raw)  # noqa: PERF401 - what came before the failure counts too

    with pytest.raises(UpstreamError):
        await read()
    assert seen == [b"role ", b"hello"]
    assert not b.asked
    assert route.standings[0].failures == 1


async def test_only_the_failures_that_are_told_lead_on() -> None:
    a, b = Player("a", BROKEN), Player("b")
    with pytest.raises(UpstreamError):
        await said(made(a, b, retries=quick(when=("limited",))).target.chat, ask())
    assert not b.asked


async def test_a_single_target_is_tried_again() -> None:
    a = Player("a", BROKEN, BROKEN, "at last")
    text, pieces = await said(made(a).target.chat, ask())
    assert (text, pieces[0].attempts) == ("role at last end", 3)


async def test_attempts_end() -> None:
    a, b = Player("a", BROKEN), Player("b", BROKEN)
    with pytest.raises(UpstreamError):
        await said(made(a, b, retries=quick(attempts=4)).target.chat, ask())
    assert (len(a.asked), len(b.asked)) == (2, 2)


async def test_a_dying_upstream_is_not_stormed() -> None:
    a, b = Player("a", BROKEN), Player("b", BROKEN)
    never = BreakerSettings(in_a_row=10**6, failures=1.0, demote=1.0, window=1000)
    a.turns = [BROKEN, BROKEN, "fine"] * 400
    b.turns = [BROKEN, BROKEN, "fine"] * 400
    chat = made(a, b, breaker=never).target.chat
    for _ in range(300):
        try:
            await said(chat, ask())
        except UpstreamError:
            continue
    assert len(a.asked) + len(b.asked) <= 300 * 1.2 + 10 + 5


async def test_a_target_that_fails_is_left_alone_and_probed_by_one() -> None:
    a, b = Player("a", BROKEN), Player("b")
    route = made(a, b, breaker=BreakerSettings(in_a_row=3, pause=0.05, longest_pause=0.05))
    for _ in range(10):
        assert (await said(route.target.chat, ask()))[0] == WHOLE
    assert len(a.asked) == 3
    assert route.standings[0].shown(time.monotonic())["state"] == "open"
    await asyncio.sleep(0.08)
    a.turns, a.delay = ["well again"], 0.01
    answers = await asyncio.gather(*(said(route.target.chat, ask()) for _ in range(5)))
    assert sorted(text for text, _ in answers) == sorted([WHOLE] * 4 + ["role well again end"])
    assert route.standings[0].shown(time.monotonic())["state"] == "healthy"


async def test_a_target_that_fails_often_is_asked_last() -> None:
    a = Player("a")
    a.turns = [BROKEN, "fine", "fine"] * 100
    b = Player("b")
    route = made(a, b, breaker=BreakerSettings(in_a_row=10**6, failures=1.0, demote=0.2))
    for _ in range(100):
        await said(route.target.chat, ask())
    assert len(a.asked) <= 10 + 5
    assert route.standings[0].shown(time.monotonic())["state"] == "demoted"


async def test_a_provider_that_limits_our_rate_is_left_alone_as_long_as_it_says() -> None:
    a, b = Player("a", Busy("429", retry_after=30), "later"), Player("b")
    route = made(a, b)
    for _ in range(3):
        assert (await said(route.target.chat, ask()))[0] == WHOLE
    assert len(a.asked) == 1
    state = route.standings[0].shown(time.monotonic())
    assert state["state"] == "resting"
    assert 29 < state["ready_in_s"] <= 30
    assert state["failures"] == 0


async def test_stray_refusals_do_not_starve_a_route() -> None:
    stray = ["fine"] * 19 + [Busy("429", retry_after=30)]
    a, b = Player("a", *(stray * 20)), Player("b", *(stray * 20))
    route = made(a, b, retries=quick(wait=0.1))
    for _ in range(300):
        assert (await said(route.target.chat, ask()))[0] == "role fine end"
    assert len(a.asked) > 250
    assert len(a.asked) + len(b.asked) < 330


async def test_stray_refusals_do_not_stop_a_target_that_is_alone() -> None:
    a = Player("a", *((["fine"] * 9 + [Busy("429", retry_after=30)]) * 30))
    chat = made(a, retries=quick(wait=0.1)).target.chat
    for _ in range(100):
        assert (await said(chat, ask()))[0] == "role fine end"


async def test_a_refusal_that_is_confirmed_is_heeded_and_one_attempt_confirms_it() -> None:
    a, b = Player("a", "fine", Busy("429", retry_after=30), delay=0.02), Player("b")
    route = made(a, b)
    await said(route.target.chat, ask())
    assert (await said(route.target.chat, ask()))[0] == WHOLE
    assert route.standings[0].shown(time.monotonic())["state"] == "doubtful"
    answers = await asyncio.gather(*(said(route.target.chat, ask()) for _ in range(10)))
    assert {text for text, _ in answers} == {WHOLE}
    assert len(a.asked) == 3
    state = route.standings[0].shown(time.monotonic())
    assert (state["state"], 29 < state["ready_in_s"] <= 30) == ("resting", True)


async def test_refusals_of_one_crowd_are_one() -> None:
    a, b = Player("a", "fine", *[Busy("429", retry_after=30)] * 5, "fine", delay=0.02), Player("b")
    route = made(a, b)
    await said(route.target.chat, ask())
    answers = await asyncio.gather(*(said(route.target.chat, ask()) for _ in range(5)))
    assert {text for text, _ in answers} == {WHOLE}
    assert (await said(route.target.chat, ask()))[0] == "role fine end"
    assert route.standings[0].shown(time.monotonic())["state"] == "healthy"


async def test_after_its_rest_one_attempt_finds_out() -> None:
    a, b = Player("a", Busy("429", retry_after=0.05), Busy("429", retry_after=30), delay=0.02), Player("b")
    route = made(a, b)
    await said(route.target.chat, ask())
    await asyncio.sleep(0.08)
    answers = await asyncio.gather(*(said(route.target.chat, ask()) for _ in range(5)))
    assert {text for text, _ in answers} == {WHOLE}
    assert len(a.asked) == 2


async def test_a_rest_of_a_day_is_looked_into_each_minute() -> None:
    a, b = Player("a", Busy("429", retry_after=86_400)), Player("b")
    route = made(a, b)
    await said(route.target.chat, ask())
    assert 59 < route.standings[0].shown(time.monotonic())["ready_in_s"] <= 60


async def test_who_cannot_be_served_is_told_when_to_come_back() -> None:
    a = Player("a", Busy("429", retry_after=7))
    chat = made(a).target.chat
    for _ in range(2):
        with pytest.raises((Busy, Unavailable)) as caught:
            await said(chat, ask())
        assert 6 < (caught.value.retry_after or 0) <= 7
    assert len(a.asked) == 1


async def test_a_request_waits_for_a_target_that_rests_a_little() -> None:
    a = Player("a", Busy("429", retry_after=0.05), "now")
    text, _ = await said(made(a, retries=quick(wait=5.0)).target.chat, ask())
    assert text == "role now end"


async def test_an_attempt_that_does_not_begin_in_time_is_given_up() -> None:
    a, b = Player("a", delay=30), Player("b")
    text, _ = await said(made(a, b, retries=quick(timeout=0.05)).target.chat, ask())
    assert text == WHOLE
    assert (a.cancelled, a.now) == (1, 0)


async def test_the_deadline_ends_everything() -> None:
    a, b = Player("a", delay=30), Player("b", delay=30)
    route = made(a, b, deadline=0.05)
    with pytest.raises(UpstreamTimeout, match="deadline"):
        await said(route.target.chat, ask())
    assert (a.cancelled, a.now, len(b.asked)) == (1, 0, 0)
    assert route.standings[0].in_flight == 0


async def test_no_attempt_begins_after_the_deadline() -> None:
    a = Player("a", BROKEN)
    request = structs.replace(ask(), deadline=time.monotonic() + 0.001)
    await asyncio.sleep(0.002)
    with pytest.raises(UpstreamError):
        await said(made(a).target.chat, request)
    assert len(a.asked) == 1


async def test_a_client_that_hangs_up_leaves_nothing_behind() -> None:
    a = Player("a")
    route = made(a)
    async with aclosing(route.target.chat(ask(stream=True))) as answer:
        await anext(answer)
        assert route.standings[0].in_flight == 1
    assert (a.now, route.standings[0].in_flight, route.standings[0].failures) == (0, 0, 0)
