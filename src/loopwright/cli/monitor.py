"""The process that the recorder keeps beside it while there is something to watch. A hidden command, not for people."""

from __future__ import annotations

import os
from functools import partial
from typing import Final

import typer
import uvloop

from loopwright.cli.alongside import alongside
from loopwright.cli.starting import raise_file_limit, start_log, until_told
from loopwright.kit.db import Database
from loopwright.kit.jobs import Jobs
from loopwright.kit.settings import Settings
from loopwright.kit.settings_file import load
from loopwright.laboratory.watching import wanted, watch
from loopwright.monitoring.rounds import RUN

app = typer.Typer(add_completion=False)
_LINGER: Final = 120.0
"""Seconds: calls of a quiet house come one by one, and a process costs more than to wait for the next."""


@app.command()
def monitor() -> None:
    """Watch what is to be watched until told to stop."""
    settings = load(env=os.environ)
    start_log(settings)
    raise_file_limit()
    uvloop.run(until_told(watch(settings)))


def enlist_monitor(jobs: Jobs, settings: Settings, db: Database) -> None:
    """Give a recorder the job that keeps a monitor beside it."""

    async def run() -> None:
        await alongside(jobs, settings, "monitor", partial(wanted, settings, db), linger=_LINGER)

    jobs.register(RUN, run, schedule="* * * * *", lock=RUN)
