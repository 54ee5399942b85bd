"""The jobs of a recorder that others do, or that need a road: nothing of what does them is here until there is some."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from typing import Final

from loopwright.batches import store as batches_store
from loopwright.batches.road import Road
from loopwright.batches.run import TIDY as TIDY_BATCHES
from loopwright.batches.run import Runner
from loopwright.batches.store import Batches
from loopwright.cli.alongside import alongside
from loopwright.evals import store as evals_store
from loopwright.evals.store import Evaluations
from loopwright.kit.db import Database
from loopwright.kit.jobs import Jobs, Retry
from loopwright.kit.seal import Seal
from loopwright.kit.settings import Settings
from loopwright.laboratory.wanted import wanted
from loopwright.monitoring.rounds import RUN
from loopwright.retrieval import intake as documents
from loopwright.retrieval.index import Index
from loopwright.retrieval.intake import Intake
from loopwright.retrieval.shelving import Shelving
from loopwright.retrieval.store import Collections

_LINGER: Final = 120.0
"""Seconds that a monitor stays: calls of a quiet house come one by one, and a process costs more than to wait for the next."""
_log = logging.getLogger(__name__)


def enlist_monitor(jobs: Jobs, settings: Settings, db: Database) -> None:
    """Give a recorder the job that keeps a monitor beside it."""

    async def run() -> None:
        await alongside(jobs, settings, "monitor", partial(wanted, settings, db), linger=_LINGER)

    jobs.register(RUN, run, schedule="* * * * *", lock=RUN)


def enlist_evaluations(jobs: Jobs, settings: Settings, db: Database) -> None:
    """Give a recorder the jobs that run evaluations, in a process beside it, and let go of what is over."""
    store = Evaluations(db, settings.evaluations, Seal.of(settings.encryption))

    async def run() -> None:
        await alongside(jobs, settings, "evaluator", store.waiting)

    async def tidy() -> None:
        _log.info("%d paid answers that nobody shows were forgotten", await store.tidy(datetime.now(UTC)))

    evals_store.enlist(jobs, run)
    jobs.register(evals_store.TIDY, tidy, schedule="47 3 * * *", retry=Retry(times=3))


def enlist_documents(jobs: Jobs, settings: Settings, db: Database) -> None:
    """Give a recorder the jobs that read documents, in a process beside it, and let go of what was never taken."""
    seal = Seal.of(settings.encryption)

    async def nothing() -> None:
        pass

    intake = Intake(Collections(db, Index(db, seal), seal), settings.home, settings.collections, nothing)
    shelving = Shelving(intake.store, intake.place)

    async def run() -> None:
        await alongside(jobs, settings, "ingester", shelving.waiting)

    async def collect() -> None:
        _log.info("%d files that became no documents were removed", await intake.collect())

    documents.enlist(jobs, run)
    jobs.register(documents.COLLECT, collect, schedule="29 3 * * *", retry=Retry(times=3))


def enlist_batches(jobs: Jobs, settings: Settings, db: Database) -> None:
    """Give a recorder the jobs that run batches, on a road of its own while there are any, and let go of what is over."""
    batches = Batches.of(db, settings)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Road]:
        # In a thread: it is a worker's start, and calls go on being stored.
        lines = await asyncio.to_thread(import_module, "loopwright.api.lines")
        async with lines.opened(settings) as road:
            yield road

    runner = Runner(
        batches,
        opened,
        settings.home / "batches",
        longest=settings.server.body_limit,
        seal=Seal.of(settings.encryption),
        stopping=jobs.stopping,
    )

    async def tidy() -> None:
        expired, orphans = await batches.files.expire(), await batches.files.collect()
        gone = await batches.tidy(datetime.now(UTC))
        _log.info("%d files expired, %d blobs had no file, %d batches were forgotten", expired, orphans, gone)

    batches_store.enlist(jobs, runner.run)
    jobs.register(TIDY_BATCHES, tidy, schedule="41 * * * *", retry=Retry(times=3))
