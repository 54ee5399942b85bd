"""The process that the recorder starts while there are evaluations: evaluators are strangers' programs, it is none's.

What they do to it (loop for ever, take all memory) does not touch the record of calls. A hidden command, not for people.
"""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime

import typer
import uvloop

from loopwright.cli.alongside import alongside
from loopwright.cli.starting import raise_file_limit, start_log, until_told
from loopwright.evals.runner import TIDY
from loopwright.evals.store import Evaluations, enlist
from loopwright.kit.db import Database
from loopwright.kit.jobs import Jobs, Retry
from loopwright.kit.seal import Seal
from loopwright.kit.settings import Settings
from loopwright.kit.settings_file import load
from loopwright.laboratory.working import evaluate

app = typer.Typer(add_completion=False)
_log = logging.getLogger(__name__)


@app.command()
def evaluator() -> None:
    """Run evaluations until told to stop."""
    settings = load(env=os.environ)
    start_log(settings)
    raise_file_limit()
    uvloop.run(until_told(evaluate(settings)))


def enlist_evaluations(jobs: Jobs, settings: Settings, db: Database) -> None:
    """Give a recorder the jobs that run evaluations, in a process beside it, and let go of what is over."""
    store = Evaluations(db, settings.evaluations, Seal.of(settings.encryption))

    async def run() -> None:
        await alongside(jobs, settings, "evaluator", store.waiting)

    async def tidy() -> None:
        _log.info("%d paid answers that nobody shows were forgotten", await store.tidy(datetime.now(UTC)))

    enlist(jobs, run)
    jobs.register(TIDY, tidy, schedule="47 3 * * *", retry=Retry(times=3))
