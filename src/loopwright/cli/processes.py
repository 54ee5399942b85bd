"""The processes that `loopwright up` starts: a gateway worker, and the recorder. Hidden commands, not for people."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import socket
from contextlib import suppress

import typer
import uvloop

from loopwright.api.server import serve
from loopwright.app import build, build_drain, build_jobs
from loopwright.console.pages import console
from loopwright.kit.db import Database
from loopwright.kit.settings import Settings
from loopwright.kit.settings_file import load

LISTEN_FD = "LOOPWRIGHT_LISTEN_FD"
"""Environment variable: the descriptor of the listening socket that all workers share."""

gateway_app = typer.Typer(add_completion=False)
recorder_app = typer.Typer(add_completion=False)


def start_log(settings: Settings) -> None:
    """Log to standard error, which the supervisor keeps in a bounded file."""
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def raise_file_limit() -> None:
    """As many open files as the system lets us have: every connection is one."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@gateway_app.command()
def gateway() -> None:
    """Serve on the inherited socket."""
    settings = load(env=os.environ)
    start_log(settings)
    raise_file_limit()
    uvloop.run(_gateway(settings, socket.socket(fileno=int(os.environ[LISTEN_FD]))))


async def _gateway(settings: Settings, listening: socket.socket) -> None:
    app = await build(settings)
    try:
        await serve(app, listening, console(app))
    finally:
        await app.close()


@recorder_app.command()
def recorder() -> None:
    """Drain the spool and run the jobs, until told to stop; what is in the spool by then is drained first."""
    settings = load(env=os.environ)
    start_log(settings)
    uvloop.run(_recorder(settings))


async def _recorder(settings: Settings) -> None:
    db = await Database.open(settings.database.url or "", size=3)
    drain = build_drain(settings, db)
    jobs = build_jobs(settings, db)
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    work = [asyncio.create_task(drain.run()), asyncio.create_task(jobs.run())]
    waiting = asyncio.create_task(told.wait())
    try:
        done, _ = await asyncio.wait([*work, waiting], return_when=asyncio.FIRST_COMPLETED)
        for task in done - {waiting}:
            task.result()
    finally:
        for task in (*work, waiting):
            task.cancel()
        await asyncio.gather(*work, waiting, return_exceptions=True)
        await db.close()
