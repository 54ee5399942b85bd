"""What every process of the house does first, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from loopwright.kit.settings import Settings

LISTEN_FD = "LOOPWRIGHT_LISTEN_FD"
"""Environment variable: the descriptor of the listening socket that all workers share."""


def start_log(settings: Settings) -> None:
    """Log to standard error, which the supervisor keeps in a bounded file."""
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def raise_file_limit() -> None:
    """As many open files as the system lets us have: every connection is one."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def until_told(work: Coroutine[Any, Any, None], *, stopping: asyncio.Event | None = None) -> None:
    """Work until a signal says to stop, or until the work ends; `stopping` is set before it is cancelled.

    Raises:
        As the work.
    """
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    working, waiting = asyncio.create_task(work), asyncio.create_task(told.wait())
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        if stopping is not None:
            stopping.set()
        waiting.cancel()
        working.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)
