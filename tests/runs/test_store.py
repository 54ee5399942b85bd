"""Runs in a real database: points by COPY, summaries, thinned curves, and bytes that go with the last who has them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from loopwright.core.errors import BadRequest, Conflict, NotFound
from loopwright.kit.blobs import Blobs
from loopwright.kit.db import Database
from loopwright.kit.migrations import migrate
from loopwright.runs.run import Point
from loopwright.runs.store import Runs


def on(database_url: str, folder: Path, work: Callable[[Runs], Awaitable[None]]) -> None:
    async def main() -> None:
        db = await Database.open(database_url)
        try:
            await migrate(db, ["runs"])
            await work(Runs(db, Blobs(folder / "blobs")))
        finally:
            await db.close()

    asyncio.run(main())


def test_points_sum_up_and_curves_are_thinned(database_url: str, tmp_path: Path) -> None:
    async def work(runs: Runs) -> None:
        run = await runs.start(1, "e", params={"a": 1})
        await runs.log(
            run.id, project_id=1, metrics=[Point(name="m", value=float(step), step=step) for step in range(1, 100)]
        )
        late = [
            Point(name="m", value=None, step=200),
            Point(name="m", value=-5.0, step=0),
            Point(name="m", value=7.0, step=50),
        ]
        found = await runs.log(run.id, project_id=1, metrics=late)
        metric = found.metrics["m"]
        assert (metric.last, metric.step, metric.least, metric.greatest, metric.points) == (None, 200, -5.0, 99.0, 102)
        whole = (await runs.curves(run))["m"]
        assert [point.step for point in whole] == [*range(100), 200]
        assert whole[50].value == 7.0  # of two points of a step the later counts
        for most in (2, 3, 10, 100):
            thin = (await runs.curves(run, points=most))["m"]
            assert len(thin) <= most
            assert (thin[0].step, thin[-1].step) == (0, 200)

    on(database_url, tmp_path, work)


def test_nothing_is_kept_of_what_is_refused(database_url: str, tmp_path: Path) -> None:
    async def work(runs: Runs) -> None:
        run = await runs.start(1, "e", params={"a": 1})
        with pytest.raises(Conflict):
            await runs.log(run.id, project_id=1, params={"a": 2, "b": 1}, metrics={"m": 1.0})
        with pytest.raises(BadRequest):
            await runs.log(run.id, project_id=1, params={"b": 1}, metrics=[Point(name="m", value=1.0, step=2**60)])
        with pytest.raises(NotFound):
            await runs.log(run.id, project_id=2, params={"b": 1})
        found = await runs.show(run.id, project_id=1)
        assert (found.params, found.metrics) == ({"a": 1}, {})

    on(database_url, tmp_path, work)


def test_a_target_of_an_evaluation_has_one_run(database_url: str, tmp_path: Path) -> None:
    async def work(runs: Runs) -> None:
        first = await runs.start(1, "e", evaluation_id="eval_1", target="a")
        assert (await runs.start(1, "e", evaluation_id="eval_1", target="a")).id == first.id
        assert (await runs.start(1, "e", evaluation_id="eval_1", target="b")).id != first.id
        with pytest.raises(Conflict):
            await runs.start(2, "e", evaluation_id="eval_1", target="a")

    on(database_url, tmp_path, work)


def test_bytes_go_with_the_last_who_has_them(database_url: str, tmp_path: Path) -> None:
    async def work(runs: Runs) -> None:
        a, b = await runs.start(1, "e"), await runs.start(1, "e")
        first = await runs.artifacts.put(a, "x.txt", b"same")
        await runs.artifacts.put(b, "y.txt", b"same")
        await runs.forget(a.id, project_id=1)
        with await runs.artifacts.open(await runs.artifacts.get(b, "y.txt")) as file:
            assert file.read() == b"same"
        await runs.artifacts.put(b, "y.txt", b"other")
        with pytest.raises(NotFound):
            await runs.artifacts.open(first)
        assert await runs.forget_experiment("e", project_id=1) == 1
        with pytest.raises(NotFound):
            await runs.show(b.id, project_id=1)

    on(database_url, tmp_path, work)
