"""The recorder of one machine, put together: what stores the calls of its workers, and the jobs that go by the clock.

It knows nothing of the road of a request: a recorder that only records is a third of a worker to start and to keep.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from loopwright.access.spending import charge, tidy
from loopwright.cache.cache import Cache
from loopwright.cache.shared import tell
from loopwright.calls.drain import Drain
from loopwright.calls.indexer import Indexer
from loopwright.calls.record import Record
from loopwright.calls.retention import retain
from loopwright.calls.store import Charge
from loopwright.core.money import NANO
from loopwright.exports.due import exporting
from loopwright.feedback.store import Feedback
from loopwright.kit.db import Connection, Database
from loopwright.kit.jobs import Jobs, Retry
from loopwright.kit.seal import Seal
from loopwright.kit.settings import CacheSettings, Settings
from loopwright.monitoring.arriving import arriving
from loopwright.runs.store import Runs
from loopwright.telemetry.doubles import doubles
from loopwright.telemetry.emission import noting


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorder:
    """The other half of a call's life: from the spool to the database, its words, its end."""

    drain: Drain
    """It fills the full text, too, of calls with texts."""
    indexer: Indexer | None
    """Fills what is left of it where texts are not kept any more."""
    jobs: Jobs

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.drain.run())
            group.create_task(self.jobs.run())
            if self.indexer is not None:
                group.create_task(self.indexer.run())


def build_recorder(settings: Settings, db: Database) -> Recorder:
    """The recorder of one machine."""
    jobs, seal = Jobs(db), Seal.of(settings.encryption)

    async def retain_calls() -> None:
        now = datetime.now(UTC)
        await retain(db, settings.calls, now)
        await Feedback(db).retain(now, settings.calls.retention_days)

    async def tidy_limits() -> None:
        await tidy(db)

    jobs.register("access.tidy", tidy_limits, schedule="23 * * * *", retry=Retry(times=3))

    async def expire_answers() -> None:
        await Cache(db, cache_kept(settings)).expire()

    jobs.register("cache.expire", expire_answers, schedule="*/10 * * * *", retry=Retry(times=3))

    async def collect_artifacts() -> None:
        await Runs.of(db, settings).artifacts.collect()

    jobs.register("runs.collect", collect_artifacts, schedule="41 * * * *", retry=Retry(times=3))
    jobs.register("calls.retain", retain_calls, schedule="11 * * * *", retry=Retry(times=3))
    charged = noting(exporting(arriving(_telling(charge)), settings.exports), settings.monitoring.otlp)
    return Recorder(
        drain=Drain(
            db, settings.home / "spool", settings.calls, charge=charged, seal=seal, doubles=partial(doubles, seal=seal)
        ),
        indexer=Indexer(db, seal=seal) if settings.calls.full_text and not settings.calls.payloads else None,
        jobs=jobs,
    )


def _telling(charge: Charge) -> Charge:
    """`charge`, and word to every worker of the answers that may be given again from now on."""

    async def both(connection: Connection, calls: Sequence[tuple[str, Record]]) -> None:
        await charge(connection, calls)
        good = [(call.cache_key, call.cache_until_ns // NANO) for _, call in calls if call.cache_key is not None]
        await tell(connection, good)

    return both


def cache_kept(settings: Settings) -> CacheSettings:
    """Where texts are not kept, answers that may be given again are not in the database either."""
    return settings.cache if settings.calls.payloads else replace(settings.cache, shared=False, storage=0)
