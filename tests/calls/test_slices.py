import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from loopwright.calls.histogram import quantiles
from loopwright.calls.query import CallFilter
from loopwright.calls.reading import SUMS, laid, reading
from loopwright.calls.record import Record
from loopwright.calls.retention import retain
from loopwright.calls.rollup import COUNTERS, HISTOGRAMS
from loopwright.calls.rows import started_at
from loopwright.calls.slices import MOST_NAMES, MOST_VALUES, SliceKey, saved_by, slices_of

Making = Callable[..., Record]
Opening = Callable[..., AbstractAsyncContextManager[Any]]


def test_a_call_is_in_a_slice_for_each_of_its_labels(make: Making) -> None:
    record = make(
        client="curl/8",
        error_code="upstream_error",
        tags={
            "env": "prod",
            "nul": "a\x00b",
            "loopwright.cache": "hit",
            "loopwright.saved_usd": "0.1",
            "long": "x" * 999,
        },
    )
    assert set(slices_of(record)) == {
        SliceKey(1, "client", "", "curl/8"),
        SliceKey(1, "error", "", "upstream_error"),
        SliceKey(1, "tag", "env", "prod"),
        SliceKey(1, "tag", "nul", "a\ufffdb"),
        SliceKey(1, "tag", "loopwright.cache", "hit"),
        SliceKey(1, "tag", "long", None),
    }


@pytest.mark.parametrize(
    ("tags", "saved"),
    [
        ({}, (0, 0, 0, 0)),
        ({"loopwright.cache": "hit", "loopwright.saved_usd": "0.000001"}, (1, 1000, 0, 0)),
        ({"loopwright.cascade": "kept", "loopwright.saved_usd": "-0.5"}, (0, 0, -500_000_000, 0)),
        ({"loopwright.wasted": "told", "loopwright.wasted_usd": "2"}, (0, 0, 0, 2_000_000_000)),
        ({"loopwright.cache": "yes", "loopwright.saved_usd": "1e9", "loopwright.wasted_usd": "NaN"}, (0, 0, 0, 0)),
    ],
)
def test_savings_are_told_by_tags(make: Making, tags: dict[str, str], saved: tuple[int, ...]) -> None:
    assert saved_by(make(tags=tags)) == saved


async def requests(house: Any, table: str = "call_slice_rollups_1d") -> dict[tuple[str, str, str | None], int]:
    rows = await house.db.rows(
        f"""select s.kind, s.name, s.value, sum(r.requests)::int as requests from call_slices s
            join {table} r on r.slice_id = s.id group by 1, 2, 3"""
    )
    return {(row["kind"], row["name"], row["value"]): row["requests"] for row in rows}


def test_every_slice_is_counted_and_names_without_room_together(opening: Opening, make: Making) -> None:
    async def main() -> None:
        async with opening() as house:
            many = MOST_VALUES + 40
            await house.keep(*(make(tags={"customer": f"c{number:04d}", "env": "prod"}) for number in range(many)))
            for table in ("call_slice_rollups_5m", "call_slice_rollups_1h", "call_slice_rollups_1d"):
                found = await requests(house, table)
                assert found["tag", "env", "prod"] == found["client", "", "pytest"] == many
                assert found["tag", "customer", "c0000"] == 1
                assert found["tag", "customer", None] == 40
                assert sum(name == "customer" for _, name, _ in found) == MOST_VALUES + 1
            await house.keep(make(tags={f"name{number}": "x" for number in range(MOST_NAMES + 5)}))
            found = await requests(house)
            assert len({name for kind, name, _ in found if kind == "tag"}) == MOST_NAMES

    asyncio.run(main())


def test_a_tag_that_was_deleted_leaves_no_slice(opening: Opening, make: Making) -> None:
    async def main() -> None:
        async with opening() as house:
            await house.keep(make(tags={"user": "ann"}), make(tags={"user": "bob"}))
            house.spool.write(make(tags={"user": "ann"}))
            await house.calls.delete(project_id=1, tag=("user", "ann"))
            while await house.drain.once():
                pass
            found = await requests(house)
            assert found["tag", "user", "bob"] == 1
            assert ("tag", "user", "ann") not in found
            await house.keep(make(tags={"user": "ann"}))
            assert (await requests(house))["tag", "user", "ann"] == 1

    asyncio.run(main())


def test_slices_go_with_the_calls_they_count(opening: Opening, make: Making) -> None:
    async def main() -> None:
        async with opening() as house:
            record = make(tags={"user": "ann"})
            await house.keep(record)
            later = started_at(record) + timedelta(days=house.settings.retention_days + 2)
            await house.db.run("update call_slices set made_at = made_at - interval '3 hours'")
            await retain(house.db, house.settings, later)
            assert await requests(house) == {}
            assert await house.db.rows("select * from call_slices") == []

    asyncio.run(main())


def test_totals_are_the_same_from_roll_ups_and_from_calls(opening: Opening, make: Making) -> None:
    async def main() -> None:
        async with opening() as house:
            outcomes = ("ok", "error", "refused", "cancelled", "interrupted")
            records = [
                make(
                    model=f"m{number % 3}",
                    outcome=outcomes[number % 5],
                    error_code=None if number % 5 == 0 else f"code{number % 2}",
                    client=f"client{number % 2}",
                    key_id=number % 4,
                    latency_us=number * 997,
                    ttft_us=None if number % 7 == 0 else number * 91,
                    cost_nano=None if number % 6 == 0 else number,
                    session=f"s{number % 9}",
                    tags={"env": f"e{number % 2}", "team": "a"}
                    | ({"loopwright.cache": "hit", "loopwright.saved_usd": "0.5"} if number % 3 else {}),
                )
                for number in range(200)
            ]
            await house.keep(*records)
            kept = CallFilter(project_id=1)
            for split in (None, "model", "provider", "key", "client", "error_code", "tag:env", "tag:team"):
                for asked in (
                    kept,
                    replace(kept, model="m1"),
                    replace(kept, tags=(("env", "e1"),)),
                    replace(kept, tags=(("env", "e1"), ("team", "a"))),
                    replace(kept, tags=(("env", "e1"), ("env", "e0"))),
                    replace(kept, client="client0", target="small-1"),
                ):
                    told = await totals(house, asked, split, calls=False)
                    read = await totals(house, asked, split, calls=True)
                    assert told == read, (split, asked)
            assert {group.name for group in await house.calls.by("outcome", kept)} == set(outcomes)
            assert len(await house.calls.by("session", kept)) == 9
            both = await house.calls.by("tag:team", replace(kept, tags=(("env", "e0"),), outcome="ok"))
            assert [(group.name, group.counts.requests) for group in both] == [("a", 20)]
            summary = await house.calls.summary(replace(kept, session="s3", without=("error_code", "tag:nothing")))
            assert summary.counts.requests == sum(r.session == "s3" and r.error_code is None for r in records)

    asyncio.run(main())


async def totals(house: Any, asked: CallFilter, split: str | None, *, calls: bool) -> dict[str | None, tuple[Any, ...]]:
    found = await reading(house.db, asked, split, calls=calls)
    rows = await house.db.rows(f"select {found.name} as name, {SUMS}{laid()} {found.rows} group by 1", found.params)
    shares = (0.5, 0.95, 0.99)
    return {
        row["name"]: (
            *(row[name] for name in COUNTERS),
            *(quantiles(bytes(row[name] or b""), shares) for name in HISTOGRAMS),
        )
        for row in rows
        if row["name"] is not None or not (split or "").startswith("tag:")
    }
