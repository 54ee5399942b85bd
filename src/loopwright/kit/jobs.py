"""Durable background work on the same database: retried, scheduled, one at a time where asked. Knows no job's meaning.

A small face for procrastinate, so that rooms see functions and names and nothing of its app.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from typing import Any

import procrastinate
from procrastinate import exceptions
from procrastinate.jobs import Job, Status
from procrastinate.retry import BaseRetryStrategy, RetryDecision

from loopwright.core.errors import NotFound, SettingsError, StartError, Unavailable
from loopwright.kit.db import Connection, Database
from loopwright.kit.migrations import lock_schema
from loopwright.kit.nearest import hint

_BEAT = 3.0
"""Seconds between heartbeats of a worker."""
_STALLED = 12.0
"""Seconds without a heartbeat after which a worker counts as dead and its jobs go to another."""
_TEND = 3.0
"""Seconds between looks for the jobs of dead workers."""
_REVIVALS = 10
"""Times a job is put back because its worker died; one that kills its workers must come to an end."""
_FORGET = "loopwright:forget_old_jobs"
_GRACE = 10.0
"""Seconds that jobs at work may take to finish when the worker is stopped; then they are cancelled."""
_MISSED = 7 * 86_400
"""Seconds back in which a schedule that was missed (the laptop was off) is made up for, once."""
_LONGEST_PAUSE = 10.0
"""Seconds between attempts to work again after the database went away, at most."""

_LEDGER = """
CREATE TABLE IF NOT EXISTS jobs_migrations (
    name text PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often a job that raised is tried again: after `first` seconds, then twice that, and so on."""

    times: int
    first: float = 5.0
    longest: float = 3600.0


class _Backoff(BaseRetryStrategy):
    def __init__(self, retry: Retry) -> None:
        self._retry = retry

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        # A job cut off because the worker stops is no failure of the job: it goes back at no cost.
        if not isinstance(exception, asyncio.CancelledError | exceptions.JobAborted):
            if job.attempts >= self._retry.times:
                return None
            wait = min(self._retry.first * 2**job.attempts, self._retry.longest)
            return RetryDecision(retry_in={"seconds": wait})
        return RetryDecision(retry_in={"seconds": 0})


class Jobs:
    """The jobs of one process: registered by name, deferred from anywhere, run by whoever calls `run`."""

    __slots__ = ("_app", "_db", "_poll", "stopping")

    def __init__(self, db: Database, *, poll: float = 2.0) -> None:
        """Work in `db`, looking for due jobs every `poll` seconds (cheaper than one more connection that listens)."""
        self._db = db
        self._poll = poll
        self.stopping = asyncio.Event()
        """Set it before `run` is cancelled: jobs that only wait for more to do end then."""
        self._app = procrastinate.App(
            connector=procrastinate.PsycopgConnector(),
            periodic_defaults={"max_delay": _MISSED},
        )
        # Besides its use: without any schedule, procrastinate stops watching over its own heartbeat.
        self.register(_FORGET, self._forget, schedule="17 4 * * *")

    def register(
        self,
        name: str,
        function: Callable[..., Awaitable[None]],
        *,
        retry: Retry | None = None,
        schedule: str | None = None,
        lock: str | None = None,
        once: bool = False,
    ) -> None:
        """Name a job. `function` gets the arguments it is deferred with; they travel as JSON.

        It must bear being run again: a worker that is killed leaves the job to the next one.

        Args:
            name: how it is deferred; stays the same for ever, as jobs outlive the program.
            function: what it does.
            retry: what happens when it raises; by default nothing, it has failed.
            schedule: five cron fields, UTC: it is deferred by itself, without arguments, at those times.
            lock: jobs with the same lock never run at the same time, whatever the process.
            once: while one is waiting, deferring another does nothing. Always so with a schedule.

        Raises:
            SettingsError: the schedule is no cron expression.
        """

        async def job(timestamp: int | None = None, **args: Any) -> None:
            del timestamp  # the scheduler's own argument
            await function(**args)

        task = self._app.task(
            name=name,
            retry=_Backoff(retry or Retry(times=0)),
            lock=lock,
            queueing_lock=name if once or schedule else None,
        )(job)
        if schedule is not None:
            registered = self._app.periodic_registry.register_task(
                task=task,
                cron=schedule,
                periodic_id="",
                configure_kwargs={},
            )
            try:
                _ = registered.croniter
            except ValueError as error:
                raise SettingsError(f"{schedule!r} is no schedule: five cron fields, as in '0 3 * * *'") from error

    async def prepare(self) -> None:
        """Bring procrastinate's tables to what this program's procrastinate knows. Safe from many processes at once.

        Raises:
            StartError: the tables are newer than this program, or not of our making.
            Unavailable: the database cannot answer now.
        """
        while True:
            # Each step commits by itself: PostgreSQL lets a new enum value be used only in a later transaction.
            async with self._db.transaction() as connection:
                await lock_schema(connection)
                if not await _step(connection, self._db.where):
                    return

    async def defer(self, name: str, /, **args: Any) -> int | None:
        """Have a job run as soon as a worker is free; its number, or None when one is waiting already (`once`).

        Raises:
            NotFound: no job has this name.
            Unavailable: the database cannot answer now.
        """
        if name not in self._app.tasks:
            raise NotFound(f"there is no job {name!r}{hint(name, self._app.tasks)}")
        await self._open()
        try:
            return await self._app.tasks[name].defer_async(**args)
        except exceptions.AlreadyEnqueued:
            return None
        except exceptions.ConnectorException as error:
            raise _unavailable(self._db) from error

    async def run(self) -> None:
        """Work until cancelled. Jobs at work then get ten seconds, and go back into the queue when they need more.

        An outage of the database is waited out.
        """
        await self._open()
        tending = asyncio.create_task(self._tend(), name="jobs of dead workers")
        pause = 0.2
        try:
            while True:
                started = asyncio.get_running_loop().time()
                try:
                    await self._app.run_worker_async(
                        concurrency=4,
                        install_signal_handlers=False,
                        listen_notify=False,
                        fetch_job_polling_interval=self._poll,
                        shutdown_graceful_timeout=_GRACE,
                        update_heartbeat_interval=_BEAT,
                        stalled_worker_timeout=_STALLED,
                        delete_jobs="successful",
                    )
                except exceptions.ConnectorException as error:
                    # Stopped during an outage, the worker raises this in place of the cancellation.
                    if (this := asyncio.current_task()) is not None and this.cancelling():
                        raise asyncio.CancelledError from error
                    _log.warning("jobs are waiting for the database: %s", error.__cause__ or error)
                if asyncio.get_running_loop().time() - started > _LONGEST_PAUSE:
                    pause = 0.2
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
        finally:
            tending.cancel()
            await asyncio.gather(tending, return_exceptions=True)

    async def rest(self, seconds: float) -> None:
        """Sleep so long, or until `stopping`: for jobs that wait for more to do."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), seconds)

    async def recover(self) -> int:
        """Put jobs whose worker died back into the queue, ten times at most; how many. `run` does it by itself.

        Raises:
            Unavailable: the database cannot answer now.
        """
        await self._open()
        try:
            stalled = list(await self._app.job_manager.get_stalled_jobs(seconds_since_heartbeat=_STALLED))
            for job in stalled:
                if job.attempts < _REVIVALS:
                    await self._revive(job)
                else:
                    await self._app.job_manager.finish_job(job, status=Status.FAILED, delete_job=False)
        except exceptions.ConnectorException as error:
            raise _unavailable(self._db) from error
        return len(stalled)

    async def _revive(self, job: Job) -> None:
        try:
            await self._app.job_manager.retry_job(job)
        except exceptions.UniqueViolation:
            # Of a job there is one waiting at most: the one that waits does what this one was to do.
            await self._app.job_manager.finish_job(job, status=Status.FAILED, delete_job=True)

    async def _tend(self) -> None:
        while True:
            try:
                if count := await self.recover():
                    _log.warning("put %d jobs of dead workers back into the queue", count)
            except Unavailable as error:
                _log.debug("jobs not tended: %s", error)
            await asyncio.sleep(_TEND)

    async def _forget(self) -> None:
        # Failed jobs stay a month, to be looked into.
        await self._app.job_manager.delete_old_jobs(nb_hours=30 * 24, include_failed=True, include_aborted=True)

    async def _open(self) -> None:
        # Takes the pool we have; opening again does nothing.
        await self._app.connector.open_async(self._db.pool)


def _unavailable(db: Database) -> Unavailable:
    return Unavailable(f"the jobs in the database at {db.where} cannot be reached now; try again", retry_after=2.0)


async def _step(connection: Connection, where: str) -> bool:
    """Make the tables, or bring them one migration further; whether there may be more to do."""
    await connection.execute(_LEDGER)
    rows = await (await connection.execute("SELECT name FROM jobs_migrations")).fetchall()
    applied = {row["name"] for row in rows}
    folder = resources.files("procrastinate.sql")
    known = sorted(file.name for file in (folder / "migrations").iterdir() if file.name.endswith(".sql"))
    if unknown := applied - set(known):
        raise StartError(
            f"the jobs in the database at {where} are of a newer procrastinate ({max(unknown)}): "
            f"upgrade Loopwright or use another database",
        )
    if not applied:
        cursor = await connection.execute("SELECT to_regclass('procrastinate_jobs') AS made")
        row = await cursor.fetchone()
        if row is not None and row["made"] is not None:
            raise StartError(f"the database at {where} has procrastinate tables of another program; use one of its own")
        await connection.execute((folder / "schema.sql").read_bytes())
        names = known
    else:
        pending = [name for name in known if name not in applied]
        if not pending:
            return False
        await connection.execute((folder / "migrations" / pending[0]).read_bytes())
        names = pending[:1]
    await connection.execute("INSERT INTO jobs_migrations (name) SELECT unnest(%s::text[])", (names,))
    return True
