import asyncio
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopwright.calls.payloads import Payload
from loopwright.calls.query import CallFilter
from loopwright.calls.question import WITHOUT
from loopwright.calls.record import Record
from loopwright.calls.retention import retain
from loopwright.calls.rows import started_at
from loopwright.calls.words import holds, phrases_of
from loopwright.core.errors import BadRequest, NotFound

Making = Callable[..., Record]
Opening = Callable[..., AbstractAsyncContextManager[Any]]
NOW = datetime.now(UTC).replace(microsecond=0)


def some(make: Making, size: int) -> list[Record]:
    """Varied calls of the last three days, oldest first."""
    pick = random.Random(3)
    begin = int((NOW - timedelta(days=3)).timestamp() * 1e9)
    made = []
    for number in range(size):
        project = 1 + number % 2
        outcome = pick.choices(["ok", "error", "cancelled", "refused"], [90, 5, 3, 2])[0]
        made.append(
            make(
                f"prompt {number} {pick.choice(['alpha', 'beta', 'gamma'])} {pick.choice(['red', 'green'])}",
                started_ns=begin + number * (3 * 86_400 * 10**9 // size),
                project_id=project,
                key_id=project * 10 + number % 3,
                model=pick.choice(["small", "large"]),
                task=pick.choice([None, "classify"]),
                target=pick.choice(["small-1", "large-1", ""]),
                variant=pick.choice([None, "short"]),
                prompt_version=pick.choice([None, "p1"]),
                client=pick.choice(["pytest", "curl/8", ""]),
                outcome=outcome,
                error_code="upstream_error" if outcome == "error" else None,
                session=f"s{number // 5}",
                tags={"env": pick.choice(["prod", "test"]), "team": "ab"[pick.random() < 0.5]},
                cost_nano=pick.choice([None, 100, 5000]),
                latency_us=pick.randrange(1000, 90_000),
            )
        )
    return made


def passes(record: Record, asked: CallFilter) -> bool:
    checks = [
        asked.project_id in (None, record.project_id),
        asked.model in (None, record.model),
        asked.key_id in (None, record.key_id),
        asked.outcome in (None, record.outcome),
        not asked.failed or record.outcome in ("error", "interrupted"),
        asked.error_code in (None, record.error_code),
        asked.task in (None, record.task),
        asked.session in (None, record.session),
        asked.target in (None, record.target),
        asked.provider in (None, record.provider),
        asked.variant in (None, record.variant),
        asked.prompt_version in (None, record.prompt_version),
        asked.operation in (None, record.operation),
        asked.client in (None, record.client),
        not any(lacks(record, name) for name in asked.without),
        all(record.tags.get(name) == value for name, value in asked.tags),
        asked.min_cost_nano is None or (record.cost_nano is not None and record.cost_nano >= asked.min_cost_nano),
        asked.min_latency_ms is None or record.latency_us >= asked.min_latency_ms * 1000,
        asked.since is None or started_at(record) >= asked.since,
        asked.until is None or started_at(record) < asked.until,
        asked.text is None or holds(Payload(record.request, record.answer), phrases_of(asked.text)),
    ]
    return all(checks)


def lacks(record: Record, name: str) -> bool:
    """Whether a call has what it must be without."""
    return name.removeprefix("tag:") in record.tags if name.startswith("tag:") else bool(getattr(record, name))


filters = st.builds(
    CallFilter,
    project_id=st.none() | st.sampled_from([1, 2, 3]),
    model=st.none() | st.sampled_from(["small", "large", "none"]),
    key_id=st.none() | st.integers(10, 23),
    outcome=st.none() | st.sampled_from(["ok", "error", "cancelled"]),
    failed=st.sampled_from([False, False, True]),
    error_code=st.none() | st.just("upstream_error"),
    task=st.none() | st.just("classify"),
    session=st.none() | st.sampled_from(["s3", "s9"]),
    target=st.none() | st.sampled_from(["small-1", "large-1", ""]),
    provider=st.none() | st.just("scripted"),
    variant=st.none() | st.just("short"),
    prompt_version=st.none() | st.just("p1"),
    operation=st.none() | st.sampled_from(["chat", "embeddings"]),
    client=st.none() | st.sampled_from(["pytest", "curl/8"]),
    without=st.just(()) | st.lists(st.sampled_from([*WITHOUT, "tag:env", "tag:other"]), max_size=2).map(tuple),
    tags=st.lists(
        st.sampled_from([("env", "prod"), ("env", "nowhere"), ("other", "prod"), ("team", "a")]), max_size=2
    ).map(tuple),
    min_cost_nano=st.none() | st.sampled_from([0, 101]),
    min_latency_ms=st.none() | st.sampled_from([0.0, 50.5]),
    since=st.none() | st.sampled_from([NOW - timedelta(days=1), NOW - timedelta(days=2)]),
    until=st.none() | st.just(NOW - timedelta(hours=30)),
    text=st.none() | st.sampled_from(["alpha", "beta red", '"alpha red"', "prompt 77", "absent", "Gamma GREEN hi"]),
)


def test_every_filter_gives_what_reading_all_would(opening: Opening, make: Making) -> None:
    # Full text in all of its places: merged groups, a fresh group, and calls that are in no group yet.
    records = some(make, 3000)
    loop = asyncio.new_event_loop()

    async def fill(house: Any) -> None:
        for start in range(0, 2500, 250):
            await house.keep(*records[start : start + 250])
            while await house.indexer.once(NOW.date()) or await house.indexer.merge_once():
                pass
        await house.keep(*records[2500:])

    async def check(house: Any, asked: CallFilter, limit: int) -> None:
        wanted = [record.id for record in reversed(records) if passes(record, asked)]
        page = await house.calls.page(asked, limit=limit)
        found = [call.id for call in page.calls]
        while page.next is not None and len(found) < 3 * limit:
            page = await house.calls.page(asked, before=page.next, limit=limit)
            found += [call.id for call in page.calls]
        assert found == wanted[: len(found)]
        assert page.next is not None or found == wanted
        middle = records[2000].id
        newer = await house.calls.newer(asked, after=middle, limit=limit)
        assert [call.id for call in newer] == [one for one in wanted if one > middle][:limit]

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        opened = opening()
        house = runner.run(opened.__aenter__())
        try:
            runner.run(fill(house))

            @settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
            @given(filters, st.sampled_from([1, 7, 100]))
            def run(asked: CallFilter, limit: int) -> None:
                runner.run(check(house, asked, limit))

            run()
        finally:
            runner.run(opened.__aexit__(None, None, None))


def test_what_has_ended_since_is_newer_though_it_began_before(opening: Opening, make: Making) -> None:
    async def main() -> None:
        async with opening() as house:
            now = datetime.now(UTC)

            def call(begun: float, took: float, **fields: Any) -> Record:
                started = int((now.timestamp() - begun) * 1e9)
                return make("long word", started_ns=started, latency_us=int(took * 1e6), **fields)

            hours, minutes = call(7300, 7299), call(1800, 1795)
            over, seconds = call(1700, 10), call(40, 38)
            last = call(5, 1)
            await house.keep(hours, minutes, over, seconds, last)
            since = now - timedelta(seconds=6)
            for asked in (CallFilter(), CallFilter(model="small"), CallFilter(text="long"), CallFilter(project_id=1)):
                found = await house.calls.newer(asked, after=last.id, ended_since=since)
                assert [one.id for one in found] == [last.id, seconds.id, minutes.id]
                found = await house.calls.newer(asked, after=seconds.id, ended_since=since, limit=2)
                assert [one.id for one in found] == [last.id, seconds.id]
                assert [one.id for one in await house.calls.newer(asked, after=seconds.id)] == [last.id]
            found = await house.calls.newer(CallFilter(project_id=2), after=last.id, ended_since=since)
            assert found == ()

    asyncio.run(main())


def test_targets_are_counted_under_the_name_they_belong_to(opening: Opening, make: Making) -> None:
    async def main() -> None:
        async with opening() as house:
            await house.keep(
                make(model="a", provider="p", target="t", ttft_us=1000),
                make(model="alias", provider="p", target="t", ttft_us=3000, project_id=2),
                make(model="alias", provider="p", target="t", ttft_us=3000, project_id=2),
                make(model="a", provider="q", target="t", outcome="error"),
                make(model="a", provider="", target="", outcome="error"),
                make(model="other", provider="p", target="t"),
            )
            names = {"a": "a", "alias": "a"}
            found = {(one.model, one.provider): one for one in await house.calls.targets(CallFilter(), names)}
            assert set(found) == {("a", "p"), ("a", "q"), ("a", "")}
            both = found["a", "p"]
            assert (both.counts.requests, both.counts.errors) == (3, 0)
            assert sum(hour.requests for hour in both.hours) == 3
            assert 24 <= len(both.hours) <= 26
            assert both.measure == "ttft"
            assert both.ttft.p95 is not None
            assert 2900 < both.ttft.p95 < 3100
            [mine] = await house.calls.targets(CallFilter(project_id=2), names)
            assert mine.counts.requests == 2
            assert await house.calls.targets(CallFilter(), {}) == []
            with pytest.raises(BadRequest, match="14 days"):
                await house.calls.targets(CallFilter(since=NOW - timedelta(days=30)), names)

    asyncio.run(main())


def test_a_project_never_sees_anothers_calls(opening: Opening, make: Making) -> None:
    async def main() -> None:
        async with opening() as house:
            mine, theirs = make("secret word", project_id=1), make("secret word", project_id=2, session="x")
            await house.keep(mine, theirs)
            for asked in (
                CallFilter(project_id=1),
                CallFilter(project_id=1, text="secret"),
                CallFilter(project_id=1, model="small"),
            ):
                assert [call.id for call in (await house.calls.page(asked)).calls] == [mine.id]
                assert (await house.calls.summary(replace(asked, text=None))).counts.requests == 1
            with pytest.raises(BadRequest, match="words"):
                await house.calls.summary(CallFilter(text="secret"))
            with pytest.raises(NotFound):
                await house.calls.get(theirs.id, project_id=1, wait=0)
            assert (await house.calls.get(theirs.id, project_id=None)).call.project_id == 2
            assert await house.calls.delete(project_id=1, call_id=theirs.id) == 0
            assert await house.calls.delete(project_id=1, session="x") == 0
            assert (await house.calls.get(theirs.id, project_id=2)).request is not None

    asyncio.run(main())


def test_a_call_is_waited_for(opening: Opening, make: Making) -> None:
    async def main() -> None:
        async with opening() as house:
            record = make()
            asking = asyncio.create_task(house.calls.get(record.id, project_id=1, wait=60))
            await asyncio.sleep(0.05)
            await house.keep(record)
            assert (await asking).call.id == record.id
            for unknown in (make().id, "nonsense"):
                with pytest.raises(NotFound, match="no call"):
                    await house.calls.get(unknown, project_id=1, wait=0.01)

    asyncio.run(main())


@pytest.mark.parametrize("asked", [{"limit": 0}, {"limit": 1001}, {"before": "x"}])
def test_wrong_pages_are_refused(opening: Opening, asked: dict[str, Any]) -> None:
    async def main() -> None:
        async with opening() as house:
            with pytest.raises(BadRequest) as caught:
                await house.calls.page(CallFilter(), **asked)
            assert caught.value.param == next(iter(asked))

    asyncio.run(main())


def test_totals_add_up_at_every_grain(opening: Opening, make: Making) -> None:
    async def main() -> None:
        records = some(make, 600)
        async with opening() as house:
            for start in range(0, 600, 100):
                await house.keep(*records[start : start + 100])
            for days in (1, 3, 40):
                since = NOW - timedelta(days=days)
                asked = CallFilter(since=since, until=NOW + timedelta(minutes=1))
                total = await house.calls.summary(asked)
                wanted = [record for record in records if total.since <= started_at(record) < total.until]
                assert total.counts.requests == len(wanted)
                assert total.counts.errors == sum(record.outcome == "error" for record in wanted)
                assert total.counts.unpriced == sum(record.cost_nano is None for record in wanted)
                assert total.counts.cost_nano == sum(record.cost_nano or 0 for record in wanted)
                latencies = sorted(record.latency_us for record in wanted)
                assert total.latency.p95 == pytest.approx(latencies[int(0.95 * (len(latencies) - 1))], rel=0.011)
                series = await house.calls.series(asked)
                assert sum(point.counts.requests for point in series.points) == len(wanted)
                assert len(series.points) <= 62
                for dimension in ("model", "key", "task", "variant", "prompt_version"):
                    groups = await house.calls.by(dimension, asked)
                    assert sum(group.counts.requests for group in groups) == len(wanted)
                    at_once = await house.calls.overview(asked, dimension=dimension)
                    assert (at_once.summary, at_once.series) == (total, series)
                    assert sorted(map(repr, at_once.groups)) == sorted(map(repr, groups))
            one = await house.calls.summary(CallFilter(since=NOW - timedelta(days=4), key_id=10, model="small"))
            assert one.counts.requests == sum(record.key_id == 10 and record.model == "small" for record in records)
            empty = await house.calls.summary(CallFilter(project_id=99))
            assert (empty.counts.requests, empty.latency.p50, empty.counts.error_rate) == (0, None, 0.0)

    asyncio.run(main())


async def traces(house: Any, record: Record, word: str) -> list[str]:
    """Where anything of a call is left."""
    found = (await house.calls.page(CallFilter(text=word))).calls
    left = ["search"] * len(found)
    member = bytes.fromhex(record.id.replace("-", ""))
    for table in ("call_unindexed", "call_groups"):
        rows = await house.db.rows(f"select ids from {table}")
        members = {row["ids"][at : at + 16] for row in rows for at in range(0, len(row["ids"]), 16)}
        left += [table] * (member in members)
    left += ["calls"] * len(await house.db.rows("select id from calls where id = %s::uuid", (record.id,)))
    packer = house.drain._store._shaper.packer
    bodies = await house.db.rows("select body from call_payloads")
    payloads = [payload for row in bodies for payload in packer.unpack(row["body"]) if payload is not None]
    return left + ["call_payloads"] * any(word.encode() in payload.request for payload in payloads)


@pytest.mark.parametrize("where", ["queued", "indexed", "spooled"])
@pytest.mark.parametrize("how", ["call_id", "key_id", "session", "tag"])
def test_nothing_of_a_deleted_call_is_left(opening: Opening, make: Making, how: str, where: str) -> None:
    async def main() -> None:
        async with opening() as house:
            others = [make(f"other {number} stays") for number in range(600)]
            record = make("unforgettable", session="gone", key_id=77, tags={"user": "u1"})
            before = record.id
            target = {"call_id": before, "key_id": 77, "session": "gone", "tag": ("user", "u1")}
            if where == "spooled":
                await house.keep(*others)
                house.spool.write(record)
            else:
                await house.keep(*others[:300], record, *others[300:])
            if where == "indexed":
                assert await house.indexer.once() == 601
            deleted = await house.calls.delete(project_id=1, **{how: target[how]})
            assert deleted == (0 if where == "spooled" else 1)
            await house.keep()
            assert await traces(house, record, "unforgettable") == []
            assert len((await house.calls.page(CallFilter(text="stays"), limit=1000)).calls) == 600
            assert (await house.calls.get(others[300].id, project_id=1)).request is not None
            later = make("another", session="gone", key_id=77, tags={"user": "u1"})
            await house.keep(later)
            assert [call.id for call in (await house.calls.page(CallFilter(text="another"))).calls] == [later.id]

    asyncio.run(main())


def test_deletion_wants_one_target(opening: Opening) -> None:
    async def main() -> None:
        async with opening() as house:
            for target in ({}, {"key_id": 1, "session": "x"}, {"call_id": "nonsense"}):
                with pytest.raises(BadRequest):
                    await house.calls.delete(project_id=1, **target)

    asyncio.run(main())


def test_retention_drops_whole_days_and_keeps_totals(opening: Opening, make: Making) -> None:
    async def main() -> None:
        async with opening() as house:
            records = some(make, 1200)
            await house.keep(*records)
            while await house.indexer.once(NOW.date() + timedelta(days=2)):
                pass
            now = NOW + timedelta(days=house.settings.retention_days - 1)
            assert (await retain(house.db, house.settings, now)).days > 0
            day = (now - timedelta(days=house.settings.retention_days)).date()
            left = [record.id for record in reversed(records) if started_at(record).date() >= day]
            assert [call.id for call in (await house.calls.page(CallFilter(), limit=1000)).calls] == left[:1000]
            found = await house.calls.page(CallFilter(text="alpha"), limit=1000)
            assert {call.id for call in found.calls} <= set(left)
            assert (await house.calls.summary(CallFilter(since=NOW - timedelta(days=5)))).counts.requests == 1200
            fine = await house.db.row("select min(bucket) as first from call_rollups_5m")
            assert fine == {"first": None}
            assert (await retain(house.db, house.settings, now)).days == 0
            house.drain.close()
            await house.keep(late := make(started_ns=records[0].started_ns))
            assert (await house.calls.get(late.id, project_id=1)).call.id == late.id

    asyncio.run(main())
