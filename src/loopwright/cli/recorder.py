"""The process that `loopwright up` starts once a machine to record calls. Not for people."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from functools import partial

import uvloop

from loopwright.cli.enlisted import enlist_batches, enlist_documents, enlist_evaluations, enlist_monitor
from loopwright.cli.starting import start_log, until_told
from loopwright.gateway.counted import Meters
from loopwright.gateway.pulse import Pulse
from loopwright.kit.db import Database
from loopwright.kit.settings import Settings
from loopwright.kit.settings_file import load
from loopwright.laboratory.emitting import Emitting
from loopwright.laboratory.recording import POOL, enlist_tidying, rounds
from loopwright.monitoring.rounds import RUN, go_round
from loopwright.recorder import build_recorder
from loopwright.telemetry.emitted import latest_wanted


def recorder() -> None:
    """Move calls from the spool to the database and run the jobs, until told to stop."""
    settings = load(env=os.environ)
    start_log(settings)
    uvloop.run(_recorder(settings))


async def _recorder(settings: Settings) -> None:
    # Closed also when what follows fails: a pool that is left open keeps a process that has failed from ending.
    async with AsyncExitStack() as open_until_then:
        db = await Database.open(settings.database.url or "", size=4)
        open_until_then.push_async_callback(db.close)
        # A receiver holds two while it is sent to.
        aside = await Database.open(settings.database.url or "", size=POOL + 2 * len(settings.monitoring.otlp))
        open_until_then.push_async_callback(aside.close)
        await _record(settings, db, aside, open_until_then)


async def _record(settings: Settings, db: Database, aside: Database, open_until_then: AsyncExitStack) -> None:
    house = build_recorder(settings, db)
    enlist_batches(house.jobs, settings, db)
    enlist_evaluations(house.jobs, settings, db)
    enlist_documents(house.jobs, settings, db)
    enlist_monitor(house.jobs, settings, db)
    enlist_tidying(house.jobs, settings, db)
    folder = settings.home / "metrics"
    meters = Meters.begin(folder, (), series=settings.monitoring.metrics.series)
    emitting = Emitting(settings, aside, meters.event, latest=latest_wanted(os.environ))
    open_until_then.push_async_callback(emitting.close)
    pulse = Pulse(
        folder=folder,
        role="recorder",
        meters=meters,
        counts=lambda: {"drained": house.drain.stored, "set_aside": house.drain.set_aside},
        tell=emitting.numbers,
    )

    async def work() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(house.run())
            group.create_task(pulse.run())
            watched = rounds(settings, aside, partial(house.jobs.defer, RUN))
            group.create_task(go_round(aside, [*watched, *emitting.rounds()]))

    await until_told(work(), stopping=house.jobs.stopping)
