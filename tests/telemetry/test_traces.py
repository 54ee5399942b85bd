import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest

from loopwright.calls.query import CallFilter
from loopwright.core.errors import BadRequest, NotFound
from loopwright.core.money import usd
from loopwright.telemetry.folding import retain
from loopwright.telemetry.rows import id_of
from loopwright.telemetry.traces import TraceFilter
from tests.telemetry.traced import begin, hexed, opened, record, span


def test_lists_say_what_the_whole_trace_says(database_url: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(database_url, tmp_path) as house:
            told = record(1, 4, 2, at=2, client="otlp:shop", cost_nano=7, id=id_of(begin(), "1" * 32, hexed(4)))
            await house.keep(
                record(1, 3, 2, at=1, took=3),
                record(1, 31, 2, at=2, outcome="error", error="it broke", cost_nano=None),
                record(2, 5, 99, at=5, model="large", session="s1"),  # its parent never comes
                told,
                record(1, 41, 4, at=2, cost_nano=5),  # the same as `told`, through this house
            )
            await house.put(
                [
                    span(1, 1, took=9, name="shop.answer", session="s1"),
                    span(1, 2, 1, at=1, took=7, kind="agent", status="error", error="gave up"),
                    span(1, 4, 2, at=2, kind="llm", call_id=told.id, model="small"),
                    span(3, 1, name="shop.other", service="other"),
                    span(4, 1, name="elsewhere", project_id=2),
                ]
            )
            await house.fold()
            page = await house.traces.page(TraceFilter(project_id=1))
            assert page.traces[0].name == "chat large"
            by_name = {row.name: row for row in page.traces}
            assert by_name.keys() == {"chat large", "shop.answer", "shop.other"}
            for row in page.traces:
                trace = await house.traces.get(1, row.trace_id)
                totals = trace.totals
                assert (row.steps, row.calls, row.failed) == (totals.nodes, totals.calls, totals.failed)
                assert (row.cost_nano, row.unpriced) == (totals.cost_nano, totals.unpriced)
                assert (row.input_tokens, row.output_tokens) == (totals.input_tokens, totals.output_tokens)
                assert row.duration_us == totals.duration_us
                assert trace.name == row.name
                assert trace.session == row.session
            row = by_name["shop.answer"]
            assert (row.steps, row.calls, row.failed, row.cost_nano) == (6, 3, 2, 1_505)
            assert (row.session, row.error, row.models) == ("s1", "gave up", ("small",))
            assert by_name["chat large"].rootless
            assert row.shown()["cost_usd"] == usd(1_505)
            assert await house.traces.services(1) == ["loopwright", "other", "shop"]

    asyncio.run(main())


def test_filters_find_exactly_what_passes(database_url: str, tmp_path: Path) -> None:
    pick = random.Random(5)

    async def main() -> None:
        async with opened(database_url, tmp_path) as house:
            spans, calls = [], []
            for number in range(1, 120):
                at, failed = number * 3.0, pick.random() < 0.3
                name = f"{pick.choice(['shop', 'desk'])}.{pick.choice(['answer', 'route_order'])}"
                spans.append(
                    span(number, 1, at=at, took=pick.choice([1, 5]), name=name, service=pick.choice(["a", "b"]),
                         session=pick.choice([None, "s1"]), status="error" if failed else "ok",
                         project_id=1 + number % 2)
                )  # fmt: skip
                calls.append(
                    record(number, 2, 1, at=at, model=pick.choice(["small", "large"]), cost_nano=pick.choice([1, 9, None]),
                           project_id=1 + number % 2)
                )  # fmt: skip
            await house.put(spans)
            await house.keep(*calls)
            await house.fold()
            everything = (await house.traces.page(TraceFilter(), limit=1000)).traces
            assert len(everything) == 119
            asked: dict[str, dict[str, Any]] = {
                "project": {"project_id": 1},
                "service": {"service": "a"},
                "session": {"session": "s1"},
                "name": {"name": "ans shop"},
                "underscore": {"name": "order"},
                "failed": {"failed": True},
                "well": {"failed": False, "model": "large"},
                "long": {"min_duration_ms": 5000.0},
                "cost": {"min_cost_nano": 9},
                "model": {"model": "large", "project_id": 2, "failed": True},
                "since": {"since": everything[60].started_at},
                "until": {"until": everything[60].started_at},
                "nothing": {"service": "c"},
            }
            for given in asked.values():
                found: list[str] = []
                before = None
                while True:
                    page = await house.traces.page(TraceFilter(**given), before=before, limit=7)
                    found += [row.trace_id for row in page.traces]
                    before = page.next
                    if before is None:
                        break
                assert found == [row.trace_id for row in everything if passes(row, given)], given
            with pytest.raises(BadRequest):
                await house.traces.page(TraceFilter(name="!!"))
            with pytest.raises(BadRequest):
                await house.traces.page(TraceFilter(), before="yesterday")

    asyncio.run(main())


def passes(row: Any, given: dict[str, Any]) -> bool:
    checks: dict[str, Any] = {
        "project_id": lambda value: row.project_id == value,
        "service": lambda value: row.service == value,
        "session": lambda value: row.session == value,
        "name": lambda value: all(word in row.name for word in value.split()),
        "failed": lambda value: (row.failed > 0) is value,
        "min_duration_ms": lambda value: row.duration_us >= value * 1000,
        "min_cost_nano": lambda value: row.cost_nano >= value,
        "model": lambda value: value in row.models,
        "since": lambda value: row.started_at >= value,
        "until": lambda value: row.started_at < value,
    }
    return all(checks[name](value) for name, value in given.items())


def test_a_call_alone_is_a_trace_and_tasks_show_their_requests(database_url: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(database_url, tmp_path) as house:
            steps = [
                {"name": "draft", "model": "a", "latency_us": 100_000, "answer": "x"},
                {"name": "check", "model": "b", "latency_us": 200_000, "error": "no"},
            ]
            looked = {"collections": ["docs"], "took_us": {"search": 4000, "embed": 1000}}
            alone = record(0, 3, None, task="t")
            aside = b'{"messages": [], "loopwright": %s}'
            body = aside % json.dumps({"steps": steps, "retrieval": looked}).encode()
            alone = record(
                int(alone.id.replace("-", ""), 16), 3, None, id=alone.id, task="t", request=body,
                sent=[{"provider": "a", "model": "x", "answered": True}],
            )  # fmt: skip
            tried = record(8, 4, 1, sent=[{"provider": "a", "answered": False}, {"provider": "b", "answered": True}])
            await house.keep(alone, tried)
            trace = await house.traces.get(1, alone.id)
            assert [(node.name, node.kind, node.inner) for node in trace.nodes] == [
                ("chat t", "chain", False), ("search docs", "retrieval", True), ("draft", "llm", True), ("check", "llm", True),
            ]  # fmt: skip
            assert trace.totals.nodes == 1
            names = [node.name for node in (await house.traces.get(None, f"{8:032x}")).nodes]
            assert names == ["(not received)", "chat small", "a", "b"]
            for wrong in (f"{9:032x}", "nonsense", "\x00"):
                with pytest.raises(NotFound):
                    await house.traces.get(1, wrong)
            with pytest.raises(NotFound):
                await house.traces.get(2, alone.id)
            # And the calls of a trace are a filter of calls.
            for asked, members in ((alone.id, [alone.id]), (f"{8:032x}", [tried.id]), (f"{7:032x}", [])):
                page = await house.calls.page(CallFilter(trace=asked))
                assert [call.id for call in page.calls] == members
            with pytest.raises(BadRequest):
                await house.calls.page(CallFilter(trace="nonsense"))

    asyncio.run(main())


def test_what_is_deleted_leaves_the_sums(database_url: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(database_url, tmp_path) as house:
            await house.put([span(1, 1, took=2)])
            await house.keep(record(1, 2, 1, session="bye"), record(2, 3, 9, session="bye"))
            await house.fold()
            assert len((await house.traces.page(TraceFilter())).traces) == 2
            await house.calls.delete(project_id=None, session="bye")
            await house.fold()
            [left] = (await house.traces.page(TraceFilter())).traces
            assert (left.steps, left.calls, left.cost_nano, left.session) == (1, 0, 0, None)
            assert await retain(house.db, left.started_at) == 0
            await house.db.run("update traces set started_at = started_at - interval '100 days'")
            moment = left.started_at.replace(year=left.started_at.year + 1)
            assert await retain(house.db, moment) == 1
            assert (await house.traces.page(TraceFilter())).traces == ()
            assert await house.traces.services(None) == []

    asyncio.run(main())


def test_a_repeated_fold_and_a_late_span_change_what_they_must(database_url: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(database_url, tmp_path) as house:
            await house.put([span(1, 2, 1, at=1, name="late parent's child")])
            await house.fold()
            [row] = (await house.traces.page(TraceFilter())).traces
            assert (row.rootless, row.name) == (True, "late parent's child")
            await house.put([span(1, 1, took=5, name="root"), span(1, 3, 1, at=-86_400 * 3, took=1)])
            await house.fold()
            [row] = (await house.traces.page(TraceFilter())).traces
            assert (row.rootless, row.name, row.steps) == (False, "root", 3)
            assert row.duration_us == 3 * 86_400 * 1_000_000 + 5_000_000
            await house.put([span(1, 4, 1, at=-86_400 * 30)])  # a clock that is wrong by a month
            await house.fold()
            [row] = (await house.traces.page(TraceFilter())).traces
            assert (row.duration_us, row.steps) == (5_000_000, 4)

    asyncio.run(main())
