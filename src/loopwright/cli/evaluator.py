"""The process that the recorder starts while there are evaluations: evaluators are strangers' programs, it is none's.

What they do to it (loop for ever, take all memory) does not touch the record of calls. A hidden command, not for people.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from datetime import UTC, datetime
from typing import Final

import typer
import uvloop

from loopwright.cli.starting import raise_file_limit, start_log
from loopwright.core.errors import Unavailable
from loopwright.evals.runner import TIDY
from loopwright.evals.store import Evaluations, enlist
from loopwright.kit.db import Database
from loopwright.kit.jobs import Jobs, Retry
from loopwright.kit.processes import Program, Supervisor
from loopwright.kit.seal import Seal
from loopwright.kit.settings import Settings
from loopwright.kit.settings_file import load
from loopwright.laboratory.working import evaluate

app = typer.Typer(add_completion=False)
_LOOK: Final = 0.5
"""Seconds between looks whether there is still something to do."""
_LINGER: Final = 15.0
"""Seconds the process stays when there is nothing: the next evaluation begins at once."""
_GRACE: Final = 5.0
_log = logging.getLogger(__name__)


@app.command()
def evaluator() -> None:
    """Run evaluations until told to stop."""
    settings = load(env=os.environ)
    start_log(settings)
    raise_file_limit()
    uvloop.run(_evaluator(settings))


async def _evaluator(settings: Settings) -> None:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    working, waiting = asyncio.create_task(evaluate(settings)), asyncio.create_task(told.wait())
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        waiting.cancel()
        working.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)


def enlist_evaluations(jobs: Jobs, settings: Settings, db: Database) -> None:
    """Give a recorder the jobs that run evaluations, in a process beside it, and let go of what is over."""
    store = Evaluations(db, settings.evaluations, Seal.of(settings.encryption))
    loop_seconds = asyncio.get_running_loop().time
    program = Program(
        name="evaluator",
        command=[sys.executable, "-m", "loopwright.cli.main", "_evaluator"],
        env={"LOOPWRIGHT_HOME": str(settings.home.resolve())},
        log=settings.home / "logs" / "evaluator.log",
        grace=_GRACE,
    )

    async def run() -> None:
        if not await store.waiting():
            return
        supervisor = Supervisor()
        await supervisor.start(program)
        try:
            busy, busy_at = True, loop_seconds()
            while busy or (loop_seconds() - busy_at < _LINGER and not jobs.stopping.is_set()):
                await (asyncio.sleep(_LOOK) if busy else jobs.rest(_LOOK))
                try:
                    busy = bool(await store.waiting())
                except Unavailable:
                    busy = True
                busy_at = loop_seconds() if busy else busy_at
        finally:
            await supervisor.stop_all()

    async def tidy() -> None:
        _log.info("%d paid answers that nobody shows were forgotten", await store.tidy(datetime.now(UTC)))

    enlist(jobs, run)
    jobs.register(TIDY, tidy, schedule="47 3 * * *", retry=Retry(times=3))
