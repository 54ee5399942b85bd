"""Rounds: again and again, one machine at a time, none taking the others with it."""

import asyncio

import pytest

from loopwright.core.errors import Unavailable
from loopwright.kit.db import Database
from loopwright.monitoring.rounds import go_round, once


class Counting:
    """A round that counts, fails as often as it is told, and can be held up."""

    every = 0.01

    def __init__(self, name: str, *, fails: Exception | None = None) -> None:
        self.name = name
        self.times = 0
        self.fails = fails
        self.held = asyncio.Event()
        self.held.set()
        self.thrice = asyncio.Event()
        self.begun = asyncio.Event()

    async def __call__(self) -> None:
        self.times += 1
        self.begun.set()
        if self.times == 3:
            self.thrice.set()
        await self.held.wait()
        if self.fails is not None:
            raise self.fails


@pytest.mark.anyio
async def test_one_that_fails_takes_no_other_with_it(database_url: str) -> None:
    db = await Database.open(database_url, size=4)
    good, bad = Counting("good"), Counting("bad", fails=ValueError("no"))
    away = Counting("away", fails=Unavailable("not now"))
    going = asyncio.create_task(go_round(db, [good, bad, away]))
    async with asyncio.timeout(30):
        for each in (good, bad, away):
            await each.thrice.wait()
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
    await db.close()


@pytest.mark.anyio
async def test_a_round_is_one_machines_at_a_time(database_url: str) -> None:
    db = await Database.open(database_url, size=4)
    mine, yours = Counting("same"), Counting("same")
    mine.held.clear()
    going = asyncio.create_task(once(db, mine))
    async with asyncio.timeout(30):
        await mine.begun.wait()
    assert await once(db, yours) is False
    mine.held.set()
    assert await going is True
    assert await once(db, yours) is True
    assert (mine.times, yours.times) == (1, 1)
    await db.close()
