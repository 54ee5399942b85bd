"""What was saved and wasted, summed from the tags of calls on record."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from loopwright.calls.record import Record
from loopwright.core.errors import BadRequest

pytestmark = pytest.mark.anyio
Making = Callable[..., Record]
Opening = Callable[..., AbstractAsyncContextManager[Any]]
NOW = datetime.now(UTC)
NOON = NOW.replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=1)


def at(moment: datetime) -> int:
    return int(moment.timestamp()) * 10**9


async def test_savings_are_summed_by_day_and_name(opening: Opening, make: Making) -> None:
    before = NOON - timedelta(days=1)
    async with opening() as house:
        await house.keep(
            make(started_ns=at(NOON), tags={"loopwright.cache": "hit", "loopwright.saved_usd": "0.002"}),
            make(started_ns=at(NOON), tags={"loopwright.cache": "semantic-hit", "loopwright.saved_usd": "0.000000001"}),
            make(started_ns=at(NOON), tags={"loopwright.cache": "hit"}),
            make(started_ns=at(NOON), tags={"loopwright.cascade": "kept", "loopwright.saved_usd": "0.5"}),
            make(started_ns=at(NOON), tags={"loopwright.cascade": "kept", "loopwright.saved_usd": "-0.1"}),
            make(
                started_ns=at(NOON),
                tags={
                    "loopwright.cascade": "escalated",
                    "loopwright.wasted": "told",
                    "loopwright.wasted_usd": "0.03",
                },
            ),
            make(started_ns=at(NOON), tags={"loopwright.wasted": "estimated", "loopwright.wasted_usd": "0.01"}),
            make(started_ns=at(NOON), tags={"loopwright.cache": "hit", "loopwright.saved_usd": "much; drop table"}),
            make(started_ns=at(NOON), tags={"team": "red"}),
            make(started_ns=at(NOON), project_id=2, tags={"loopwright.cache": "hit", "loopwright.saved_usd": "9"}),
            make(
                started_ns=at(before), model="other", tags={"loopwright.cascade": "kept", "loopwright.saved_usd": "1"}
            ),
        )
        today, day_before = await house.calls.savings(project_id=1, since=before)
        assert (today.day, today.model, day_before.day, day_before.model) == (
            NOON.date(),
            "small",
            before.date(),
            "other",
        )
        assert (today.hits, today.kept, today.escalated) == (4, 2, 1)
        assert (today.cache_nano, today.cascade_nano, today.wasted_nano) == (2_000_001, 400_000_000, 40_000_000)
        assert (day_before.kept, day_before.cascade_nano) == (1, 10**9)
        everybody = await house.calls.savings(project_id=None, since=NOON, models=["small"])
        assert [each.cache_nano for each in everybody] == [9_002_000_001]
        assert await house.calls.savings(project_id=1, since=NOON, models=["unknown"]) == []
        with pytest.raises(BadRequest):
            await house.calls.savings(project_id=1, since=NOW - timedelta(days=100))
