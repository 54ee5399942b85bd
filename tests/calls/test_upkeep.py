"""Days that are over are tidied once, lose nothing, and days that grow get their statistics."""

import asyncio
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest

from loopwright.calls.query import CallFilter
from loopwright.calls.upkeep import Upkeep
from loopwright.core.errors import Unavailable
from tests.calls.conftest import House, Making, Opening

YESTERDAY = datetime.now(UTC).replace(hour=3, minute=0, second=0, microsecond=0) - timedelta(days=1)
EACH = 1300
"""Calls of a group; more than a search takes of one at once."""


async def keep_day(house: House, make: Making) -> list[str]:
    """Three groups of yesterday's calls; their ids, the newest first."""
    ids: list[str] = []
    for part in range(3):
        records = []
        for number in range(EACH):
            second = part + 3 * number  # so that the groups overlap
            started = int((YESTERDAY + timedelta(seconds=second)).timestamp()) * 10**9
            records.append(make(f"everywhere only{part}x{number}", started_ns=started))
        await house.keep(*records)
        while await house.indexer.once():
            pass
        ids += [record.id for record in records]
    return sorted(ids, reverse=True)


async def found(house: House, text: str) -> list[str]:
    """All that a search finds, page by page."""
    ids: list[str] = []
    before = None
    while True:
        page = await house.calls.page(CallFilter(text=text), before=before, limit=1000)
        ids += [call.id for call in page.calls]
        before = page.next
        if before is None:
            return ids


async def groups(house: House) -> int:
    row = await house.db.row("select count(*) as groups from call_groups")
    assert row is not None
    return int(row["groups"])


def test_a_day_that_is_over_is_tidied_once_and_loses_nothing(opening: Opening, make: Making) -> None:
    async def main() -> None:
        async with opening() as house:
            ids = await keep_day(house, make)
            assert await groups(house) == 3
            assert await found(house, "everywhere") == ids
            upkeep = Upkeep(house.db, house.indexer)
            assert await upkeep.settle() == 1
            assert await groups(house) == 1
            assert await found(house, "everywhere") == ids
            assert len(await found(house, "only2x77")) == 1
            assert await upkeep.settle() == 0

    asyncio.run(main())


def test_a_day_waits_for_its_full_text_and_for_midnight(opening: Opening, make: Making) -> None:
    async def main() -> None:
        async with opening() as house:
            await house.keep(make(started_ns=int(YESTERDAY.timestamp()) * 10**9))
            upkeep = Upkeep(house.db, house.indexer)
            assert await upkeep.settle() == 0
            while await house.indexer.once():
                pass
            assert await upkeep.settle(YESTERDAY.date()) == 0
            assert await upkeep.settle() == 1

    asyncio.run(main())


def test_who_reads_the_day_for_long_is_not_pushed_aside(opening: Opening, make: Making, database_url: str) -> None:
    async def main() -> None:
        async with opening() as house:
            ids = await keep_day(house, make)
            reader = await psycopg.AsyncConnection.connect(database_url)
            async with reader:
                await reader.execute("select count(*) from call_postings")
                with pytest.raises((Unavailable, psycopg.errors.LockNotAvailable)):
                    await house.indexer.merge_day(YESTERDAY.date())
                assert await groups(house) == 3
            assert await found(house, "everywhere") == ids
            assert await house.indexer.merge_day(YESTERDAY.date()) == len(ids)

    asyncio.run(main())


def test_a_day_that_grew_is_analysed(opening: Opening, make: Making) -> None:
    async def analysed(house: House, day: date) -> int:
        row = await house.db.row(
            "select count(*) as kinds from pg_stats where tablename = %s", (f"calls_{day:%Y%m%d}",)
        )
        assert row is not None
        return int(row["kinds"])

    async def main() -> None:
        async with opening() as house:
            day = YESTERDAY.date()
            await house.keep(*(make(started_ns=int(YESTERDAY.timestamp()) * 10**9) for _ in range(50)))
            upkeep = Upkeep(house.db, house.indexer)
            upkeep.grew({day: 50})
            assert await upkeep.analyse() == 0
            upkeep.grew({day: 10_000, date(2001, 2, 3): 10_000})  # the second day has no table
            assert await upkeep.analyse() == 2
            assert await analysed(house, day) > 0
            assert await upkeep.analyse() == 0

    asyncio.run(main())
