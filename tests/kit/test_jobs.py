"""Jobs on the real database: run once, again when they fail, on schedule, and after their worker was killed."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from procrastinate.exceptions import ConnectorException

from loopwright.core.errors import NotFound, SettingsError, StartError, Unavailable
from loopwright.kit.db import Database
from loopwright.kit.jobs import Jobs, Retry
from loopwright.kit.migrations import migrate
from loopwright.kit.postgres import EmbeddedPostgres

pytestmark = pytest.mark.anyio


class Bench:
    """Jobs that note what they are called with, and a worker that works until enough was noted."""

    def __init__(self, db: Database) -> None:
        self.jobs = Jobs(db, poll=0.05)
        self.noted: list[object] = []
        self._news = asyncio.Event()

    async def note(self, what: object = None) -> None:
        self.noted.append(what)
        self._news.set()

    async def work_until(self, true: Callable[[], Awaitable[bool]]) -> None:
        working = asyncio.create_task(self.jobs.run())
        async with asyncio.timeout(60):
            while not await true():
                assert not working.done()
                await asyncio.sleep(0.02)
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working

    async def work_until_noted(self, count: int) -> None:
        async def enough() -> bool:
            return len(self.noted) >= count

        await self.work_until(enough)


async def open_bench(url: str) -> tuple[Database, Bench]:
    db = await Database.open(url, size=4)
    bench = Bench(db)
    await bench.jobs.prepare()
    return db, bench


async def test_a_job_runs_with_its_arguments_and_is_gone(database_url: str) -> None:
    db, bench = await open_bench(database_url)
    bench.jobs.register("note", bench.note)
    assert await bench.jobs.defer("note", what={"deep": [1, "two", None]})
    await bench.work_until_noted(1)
    assert bench.noted == [{"deep": [1, "two", None]}]
    assert await db.rows("SELECT * FROM procrastinate_jobs WHERE task_name = 'note'") == []
    await db.close()


async def test_a_failing_job_is_tried_again_as_often_as_asked(database_url: str) -> None:
    db, bench = await open_bench(database_url)

    async def fail() -> None:
        await bench.note("tried")
        raise ZeroDivisionError

    bench.jobs.register("fail", fail, retry=Retry(times=2, first=0.01))

    async def failed() -> bool:
        return bool(await db.rows("SELECT * FROM procrastinate_jobs WHERE status = 'failed'"))

    await bench.jobs.defer("fail")
    await bench.work_until(failed)
    assert bench.noted == ["tried"] * 3
    await db.close()


async def test_one_that_is_waiting_already_is_not_deferred_twice(database_url: str) -> None:
    db, bench = await open_bench(database_url)
    bench.jobs.register("note", bench.note, once=True)
    assert await bench.jobs.defer("note")
    assert await bench.jobs.defer("note") is None
    await bench.work_until_noted(1)
    assert bench.noted == [None]
    assert await bench.jobs.defer("note")
    await db.close()


async def test_jobs_of_one_lock_run_one_after_the_other(database_url: str) -> None:
    db, bench = await open_bench(database_url)
    at_work = 0

    async def alone(what: int) -> None:
        nonlocal at_work
        at_work += 1
        assert at_work == 1
        await asyncio.sleep(0.05)
        at_work -= 1
        await bench.note(what)

    bench.jobs.register("alone", alone, lock="bench")
    for number in range(4):
        await bench.jobs.defer("alone", what=number)
    await bench.work_until_noted(4)
    assert bench.noted == [0, 1, 2, 3]
    await db.close()


async def test_a_schedule_that_was_missed_is_made_up_for_once(database_url: str) -> None:
    db, bench = await open_bench(database_url)
    yesterday = datetime.now(UTC) - timedelta(hours=20)
    bench.jobs.register("note", bench.note, schedule=f"{yesterday.minute} {yesterday.hour} * * *")
    await bench.work_until_noted(1)
    again = Bench(db)
    again.jobs.register("note", again.note, schedule=f"{yesterday.minute} {yesterday.hour} * * *")
    again.jobs.register("other", again.note)
    await again.jobs.defer("other", what="other")
    await again.work_until_noted(1)
    assert (bench.noted, again.noted) == ([None], ["other"])
    await db.close()


async def test_a_job_whose_worker_was_killed_goes_to_another(database_url: str) -> None:
    db, bench = await open_bench(database_url)
    bench.jobs.register("note", bench.note)
    await bench.jobs.defer("note")
    # What a killed worker leaves behind: a job at work, and a heart that stopped.
    await db.run("INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '13 seconds')")
    await db.run("UPDATE procrastinate_jobs SET status = 'doing', worker_id = (SELECT id FROM procrastinate_workers)")
    await bench.work_until_noted(1)
    await db.close()


async def test_a_killed_job_gives_way_to_one_that_waits(database_url: str) -> None:
    db, bench = await open_bench(database_url)
    bench.jobs.register("note", bench.note, once=True, lock="note")
    await bench.jobs.defer("note")
    await db.run("INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '1 hour')")
    await db.run("UPDATE procrastinate_jobs SET status = 'doing', worker_id = (SELECT id FROM procrastinate_workers)")
    await bench.jobs.defer("note")
    assert await bench.jobs.recover() == 1
    await bench.work_until_noted(1)
    await db.close()


async def test_a_job_that_kills_its_workers_comes_to_an_end(database_url: str) -> None:
    db, bench = await open_bench(database_url)
    bench.jobs.register("note", bench.note)
    await bench.jobs.defer("note")
    await db.run("UPDATE procrastinate_jobs SET status = 'doing', attempts = 10")
    assert await bench.jobs.recover() == 1
    assert await db.row("SELECT status FROM procrastinate_jobs") == {"status": "failed"}
    assert await bench.jobs.recover() == 0
    await db.close()


async def test_a_worker_that_is_stopped_lets_its_job_finish(database_url: str) -> None:
    db, bench = await open_bench(database_url)
    begun = asyncio.Event()

    async def slow() -> None:
        begun.set()
        await asyncio.sleep(0.3)
        await bench.note("done")

    bench.jobs.register("slow", slow)
    await bench.jobs.defer("slow")
    working = asyncio.create_task(bench.jobs.run())
    await begun.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert bench.noted == ["done"]
    await db.close()


async def test_a_job_that_only_waits_ends_when_it_is_told(database_url: str) -> None:
    db, bench = await open_bench(database_url)
    begun = asyncio.Event()

    async def wait() -> None:
        begun.set()
        while not bench.jobs.stopping.is_set():
            await bench.jobs.rest(3600)
        await bench.note("told")

    bench.jobs.register("wait", wait)
    await bench.jobs.defer("wait")
    working = asyncio.create_task(bench.jobs.run())
    await begun.wait()
    await bench.jobs.rest(0.01)
    bench.jobs.stopping.set()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert bench.noted == ["told"]
    assert await db.rows("SELECT * FROM procrastinate_jobs WHERE task_name = 'wait'") == []
    await db.close()


async def test_an_unknown_job_and_a_wrong_schedule_are_refused(database_url: str) -> None:
    db, bench = await open_bench(database_url)
    bench.jobs.register("retention", bench.note)
    with pytest.raises(NotFound, match="no job 'retentoin'; did you mean 'retention'"):
        await bench.jobs.defer("retentoin")
    with pytest.raises(SettingsError, match="'every day' is no schedule"):
        bench.jobs.register("daily", bench.note, schedule="every day")
    await db.close()


async def test_the_tables_are_made_once_whoever_comes(database_url: str) -> None:
    databases = [await Database.open(database_url, size=1) for _ in range(4)]
    await asyncio.gather(*(Jobs(db).prepare() for db in databases))
    await Jobs(databases[0]).prepare()
    await migrate(databases[0], ["access"])
    for db in databases:
        await db.close()


async def test_tables_of_a_newer_program_or_of_another_one_are_refused(database_url: str) -> None:
    db = await Database.open(database_url)
    await Jobs(db).prepare()
    await db.run("INSERT INTO jobs_migrations VALUES ('99.00.00_01_future.sql')")
    with pytest.raises(StartError, match=r"newer procrastinate \(99\.00\.00_01_future\.sql\)"):
        await Jobs(db).prepare()
    await db.run("DROP TABLE jobs_migrations")
    with pytest.raises(StartError, match="tables of another program"):
        await Jobs(db).prepare()
    await db.close()


async def test_a_migration_that_came_with_an_upgrade_is_applied(database_url: str) -> None:
    db = await Database.open(database_url)
    await Jobs(db).prepare()
    last = "03.04.00_50_post_add_retry_failed_job_procedure.sql"
    assert await db.run("DELETE FROM jobs_migrations WHERE name = %s", (last,)) == 1
    await Jobs(db).prepare()
    assert await db.row("SELECT name FROM jobs_migrations WHERE name = %s", (last,))
    await db.close()


async def _written_down(db: Database) -> None:
    """Until jobs have ended in the database too: procrastinate tells an outage at that moment to nobody but the loop."""
    async with asyncio.timeout(60):
        while await db.row("select 1 as left from procrastinate_jobs where task_name = 'note'"):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def _outages_are_told_to_nobody() -> None:
    """Of a job whose end cannot be written down procrastinate tells the loop alone; `recover` brings it back."""
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()

    def hear(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if isinstance(context.get("exception"), ConnectorException):
            return
        if before is None:
            loop.default_exception_handler(context)
        else:
            before(loop, context)

    loop.set_exception_handler(hear)


async def test_an_outage_is_waited_out(tmp_path: Path) -> None:
    _outages_are_told_to_nobody()
    server = await EmbeddedPostgres.start(tmp_path / "pg", settings={"fsync": "off"})
    db, bench = await open_bench(server.url)
    bench.jobs.register("note", bench.note)
    working = asyncio.create_task(bench.jobs.run())
    await bench.jobs.defer("note", what="before")
    async with asyncio.timeout(60):
        while not bench.noted:  # noqa: ASYNC110  (a job runs)
            await asyncio.sleep(0.02)
    await _written_down(db)
    await server.stop()
    with pytest.raises(Unavailable):
        await bench.jobs.defer("note", what="lost, and told so")
    server = await EmbeddedPostgres.start(tmp_path / "pg", settings={"fsync": "off"})
    async with asyncio.timeout(60):
        while len(bench.noted) < 2:
            with suppress(Unavailable):
                await bench.jobs.defer("note", what="after")
            await asyncio.sleep(0.1)
    assert set(bench.noted) == {"before", "after"}
    # And one may stop working in the middle of another.
    await _written_down(db)
    await server.stop()
    working.cancel()
    async with asyncio.timeout(60):
        with pytest.raises(asyncio.CancelledError):
            await working
    await db.close()
