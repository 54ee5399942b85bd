"""`loopwright up`: everything, in one command, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Coroutine
from dataclasses import replace
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

from loopwright import __version__
from loopwright.cli.starting import raise_file_limit, start_log
from loopwright.cli.tree import ADMIN_KEY, Tree
from loopwright.kit.settings import Settings
from loopwright.kit.settings_file import load

T = TypeVar("T")
app = typer.Typer()


@app.command()
def up(
    *,
    port: Annotated[int | None, typer.Option(help="Port to serve on (4100).", min=0, max=65535)] = None,
    host: Annotated[str | None, typer.Option(help="Address to serve on (127.0.0.1).")] = None,
    workers: Annotated[int | None, typer.Option(help="Gateway processes (1).", min=1, max=256)] = None,
    engine: Annotated[bool, typer.Option("--engine/--no-engine", help="Host local models.")] = True,
) -> None:
    """Start the database, the engines, the recorder and the gateway, and serve until Ctrl-C or SIGTERM."""
    settings = load(env=os.environ)
    server = settings.server
    server = replace(
        server,
        port=server.port if port is None else port,
        host=server.host if host is None else host,
        workers=server.workers if workers is None else workers,
    )
    settings = replace(settings, server=server)
    start_log(replace(settings, log_level="warning" if settings.log_level == "info" else settings.log_level))
    raise_file_limit()
    asyncio.run(_up(settings, engines=engine))


async def _up(settings: Settings, *, engines: bool) -> None:
    screen = Console(highlight=False)
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    began = time.monotonic()
    with screen.status("starting …") if screen.is_terminal else contextlib.nullcontext():
        tree = await _unless_told(Tree.start(settings, engines=engines), told)
        if tree is None:
            return
        try:
            answers = await _unless_told(_ready(tree), told)
        except BaseException:
            await tree.stop()
            raise
    if answers:
        _greet(screen, tree, time.monotonic() - began)
    await told.wait()
    screen.print("stopping: answers in flight may finish …")
    await tree.stop()
    screen.print("stopped")


async def _ready(tree: Tree) -> bool:
    await tree.ready()
    return True


async def _unless_told(work: Coroutine[Any, Any, T], told: asyncio.Event) -> T | None:
    """The result of `work`, or None when it was called off because we were told to stop."""
    task, waiting = asyncio.create_task(work), asyncio.create_task(told.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
    return None if task.cancelled() else task.result()


def _greet(screen: Console, tree: Tree, seconds: float) -> None:
    host, port = tree.listening.getsockname()[:2]
    url = f"http://{host}:{port}"
    models = ", ".join(tree.endpoints) or "none hosted here"
    screen.print(f"[bold]Loopwright {__version__}[/bold] is up ({seconds:.1f} s)")
    screen.print(f"  console  {url}")
    screen.print(f"  OpenAI   {url}/v1")
    screen.print(f"  key      {tree.settings.home / ADMIN_KEY}")
    screen.print(f"  models   {models}")
