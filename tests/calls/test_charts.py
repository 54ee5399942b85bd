import asyncio
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from loopwright.calls.charts import ChartAsk
from loopwright.calls.measures import MEASURES
from loopwright.calls.query import CallFilter
from loopwright.calls.record import Record
from loopwright.calls.rows import started_at
from loopwright.core.errors import BadRequest

Making = Callable[..., Record]
Opening = Callable[..., AbstractAsyncContextManager[Any]]
NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


def some(make: Making, size: int, *, days: float) -> list[Record]:
    """Calls over the last `days`, before this hour."""
    pick = random.Random(5)
    begin = NOW - timedelta(days=days)
    made = []
    for number in range(size):
        outcome = pick.choices(["ok", "error", "refused"], [8, 1, 1])[0]
        tags = {"team": pick.choice("abcdef")} if pick.random() < 0.8 else {}
        made.append(
            make(
                started_ns=int((begin + timedelta(days=days) * (number / size)).timestamp() * 1e9),
                model=pick.choice(["small", "large"]),
                key_id=pick.randrange(4),
                outcome=outcome,
                error_code={"error": "upstream_error", "refused": "rate_limit_exceeded"}.get(outcome),
                cost_nano=pick.randrange(1000),
                session=pick.choice([None, "s1", "s2"]),
                tags=tags,
            )
        )
    return made


def value_of(record: Record, split: str) -> object:
    if split.startswith("tag:"):
        return record.tags.get(split.removeprefix("tag:"))
    return getattr(record, {"key": "key_id"}.get(split, split))


@pytest.mark.parametrize("days", [0.1, 1.0, 6.0, 20.0])
def test_a_chart_says_what_counting_by_hand_does(opening: Opening, make: Making, days: float) -> None:
    async def main() -> None:
        async with opening() as house:
            records = some(make, 600, days=days)
            await house.keep(*records)
            asked = CallFilter(project_id=1, since=NOW - timedelta(days=days), until=NOW)
            for split in ("model", "key", "tag:team", "outcome", "session", "error_code"):
                ask = ChartAsk(filter=asked, measures=("cost", "requests", "latency_p50"), split=split, top=3)
                chart = await house.calls.chart(ask)
                of = [record for record in records if split != "error_code" or record.error_code is not None]
                assert chart.total.requests == len(of)
                assert chart.total.totals["cost"] == pytest.approx(sum(r.cost_nano or 0 for r in of) / 1e9)
                shown = {group.name for group in chart.groups}
                for group in chart.groups:
                    mine = [record for record in of if value_of(record, split) == group.name]
                    assert group.requests == len(mine), (split, group.name)
                    for at, value, cost in zip(
                        chart.times, group.values["requests"], group.values["cost"], strict=True
                    ):
                        end = at + timedelta(seconds=chart.step_seconds)
                        then = [record for record in mine if at <= started_at(record) < end]
                        assert value == len(then)
                        assert cost == pytest.approx(sum(record.cost_nano or 0 for record in then) / 1e9)
                values = {value_of(record, split) for record in of}
                assert shown <= values
                assert len(shown) <= 4
                left = [record for record in of if value_of(record, split) not in shown]
                assert (chart.rest.requests if chart.rest else 0) == len(left)
                assert chart.others == len(values - shown)
                named = [group.requests for group in chart.groups if group.name is not None]
                assert min(named) > 0

    asyncio.run(main())


def test_a_point_names_exactly_the_calls_it_counts(opening: Opening, make: Making) -> None:
    async def main() -> None:
        async with opening() as house:
            await house.keep(*some(make, 300, days=2))
            whole = CallFilter(project_id=1, since=NOW - timedelta(days=2), until=NOW)
            chart = await house.calls.chart(ChartAsk(filter=whole, split="tag:team", points=10))
            for group in chart.groups:
                for at, value in zip(chart.times, group.values["requests"], strict=True):
                    end = min(at + timedelta(seconds=chart.step_seconds), chart.until)
                    which = CallFilter(
                        project_id=1,
                        since=max(at, chart.since),
                        until=end,
                        tags=() if group.name is None else (("team", str(group.name)),),
                        without=("tag:team",) if group.name is None else (),
                    )
                    assert len((await house.calls.page(which, limit=1000)).calls) == value

    asyncio.run(main())


def test_times_are_compared_step_by_step_and_group_by_group(opening: Opening, make: Making) -> None:
    async def main() -> None:
        async with opening() as house:
            records = some(make, 400, days=4)
            await house.keep(*records)
            asked = CallFilter(project_id=1, since=NOW - timedelta(days=2), until=NOW)
            for split in (None, "model", "tag:team", "outcome", "key"):
                now, before = await house.calls.compared(ChartAsk(filter=asked, split=split, points=24, top=3))
                assert now.step_seconds == before.step_seconds
                assert len(now.times) == len(before.times)
                assert now.since - before.since == timedelta(days=2)
                assert now.total.requests + before.total.requests == len(records)
                assert {group.name for group in before.groups} <= {group.name for group in now.groups}
            back = timedelta(days=7)
            _, before = await house.calls.compared(ChartAsk(filter=asked), back)
            assert before.since == NOW - timedelta(days=2) - back
            assert before.total.requests == 0
            with pytest.raises(BadRequest):
                await house.calls.compared(ChartAsk(filter=asked), timedelta(days=-1))
            with pytest.raises(BadRequest, match="that long ago"):
                await house.calls.compared(ChartAsk(filter=asked), timedelta(days=300_000))

    asyncio.run(main())


def test_every_measure_can_be_drawn_of_much_and_of_nothing(opening: Opening, make: Making) -> None:
    async def main() -> None:
        async with opening() as house:
            names = list(MEASURES)
            nothing = await house.calls.chart(
                ChartAsk(filter=CallFilter(project_id=1), measures=("cost", "error_rate"))
            )
            assert nothing.total.totals == {"cost": 0, "error_rate": None}
            await house.keep(*some(make, 50, days=0.1))
            for start in range(0, len(names), 8):
                chart = await house.calls.chart(
                    ChartAsk(filter=CallFilter(project_id=1), measures=tuple(names[start : start + 8]), split="model")
                )
                assert chart.total.requests == 50
                for name in names[start : start + 8]:
                    assert len(chart.groups[0].values[name]) == len(chart.times)
            unpriced = make(model="free", cost_nano=None)
            await house.keep(unpriced)
            chart = await house.calls.chart(ChartAsk(filter=CallFilter(project_id=1, model="free"), measures=("cost",)))
            assert chart.total.totals == {"cost": None}
            decoding = ("ttft_p50", "decoding", "latency_p50")
            chart = await house.calls.chart(ChartAsk(filter=CallFilter(project_id=1), measures=decoding))
            assert chart.total.totals["ttft_p50"] == pytest.approx(1, rel=0.02)
            assert chart.total.totals["decoding"] == pytest.approx(20, rel=0.02)
            assert chart.total.totals["latency_p50"] == pytest.approx(21, rel=0.02)

    asyncio.run(main())


@pytest.mark.parametrize(
    "wrong",
    [
        {"split": "colour"},
        {"split": "tag:"},
        {"measures": ("happiness",)},
        {"measures": ()},
        {"top": 0},
        {"top": 51},
        {"filter": CallFilter(since=NOW, until=NOW)},
    ],
    ids=str,
)
def test_what_cannot_be_drawn_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        ChartAsk(**({"filter": CallFilter()} | wrong))
