"""The process that `loopwright up` starts for each gateway worker. Not for people."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from importlib import import_module

import uvloop
from starlette.routing import BaseRoute

from loopwright.api.server import serve
from loopwright.app import App, build
from loopwright.cli.starting import LISTEN_FD, raise_file_limit, start_log
from loopwright.console.sessions import secret_of
from loopwright.kit.settings import Settings
from loopwright.kit.settings_file import load


def gateway() -> None:
    """Serve on the inherited socket."""
    settings = load(env=os.environ)
    start_log(settings)
    raise_file_limit()
    uvloop.run(_gateway(settings, socket.socket(fileno=int(os.environ[LISTEN_FD]))))


async def _gateway(settings: Settings, listening: socket.socket) -> None:
    house = await build(settings)
    try:
        secret_of(settings.home)  # a folder that cannot hold it is told of now, not to the first who opens a page
        await serve(house, listening, console)
    finally:
        await house.close()


def console(app: App) -> Sequence[BaseRoute]:
    """The routes of its pages, imported now: most workers never show one."""
    made: Sequence[BaseRoute] = import_module("loopwright.console.site").console(app)
    return made
