"""The process that `loopwright up` starts for each gateway worker. A hidden command, not for people."""

from __future__ import annotations

import os
import socket

import typer
import uvloop

from loopwright.api.server import serve
from loopwright.app import build
from loopwright.cli.starting import LISTEN_FD, raise_file_limit, start_log
from loopwright.console.site import console
from loopwright.kit.settings import Settings
from loopwright.kit.settings_file import load

app = typer.Typer(add_completion=False)


@app.command()
def gateway() -> None:
    """Serve on the inherited socket."""
    settings = load(env=os.environ)
    start_log(settings)
    raise_file_limit()
    uvloop.run(_gateway(settings, socket.socket(fileno=int(os.environ[LISTEN_FD]))))


async def _gateway(settings: Settings, listening: socket.socket) -> None:
    house = await build(settings)
    try:
        await serve(house, listening, console(house))
    finally:
        await house.close()
