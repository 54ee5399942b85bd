"""Which target a failed call had asked stands on its record: what explains failures needs it."""

from collections.abc import AsyncGenerator

import pytest

from loopwright.core.chat import Delta, Request
from loopwright.core.errors import LoopwrightError, NotFound, Unavailable, UpstreamBroke
from loopwright.gateway.recorded import Recorded
from tests.gateway.roads import PRICE, Memory, ask, deltas
from tests.gateway.routes_made import Player, made, quick

pytestmark = pytest.mark.anyio


async def fallen(error: LoopwrightError) -> tuple[str, str, str, int | None]:
    """What is on record of a call that fails before anybody says anything."""

    async def down(_request: Request, /) -> AsyncGenerator[Delta, None]:
        raise error
        yield Delta(raw=b"")

    spool = Memory()
    with pytest.raises(type(error)):
        await deltas(Recorded(down, spool, lambda *_: PRICE, alone={"m": ("a", "large")}), ask())
    [record] = spool.records
    return record.outcome, record.provider, record.target, record.cost_nano


async def test_of_one_target_it_is_that() -> None:
    assert await fallen(UpstreamBroke("cut off")) == ("error", "a", "large", 0)
    assert await fallen(Unavailable("refused")) == ("error", "a", "large", 0)


async def test_what_reached_none_names_none() -> None:
    assert await fallen(NotFound("no such task")) == ("refused", "", "", 0)


async def test_of_several_targets_it_is_the_last() -> None:
    spool = Memory()
    route = made(Player("a", UpstreamBroke("x")), Player("b", UpstreamBroke("y")), retries=quick(attempts=2))
    with pytest.raises(UpstreamBroke):
        await deltas(Recorded(route.target.chat, spool, lambda *_: PRICE), ask())
    [record] = spool.records
    assert (record.provider, record.target) == ("b", "m")
