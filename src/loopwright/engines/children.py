"""What every engine's child process shares: how it is told what to do, how it is asked for its health."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Awaitable, Callable

ENVIRONMENT = "LOOPWRIGHT_ENGINE"
"""The variable that holds the child's arguments as JSON: the secret among them must not show in a process list."""


def answers_health(port: int) -> Callable[[], Awaitable[bool]]:
    """A check whether `GET /health` on 127.0.0.1:`port` says 200."""

    async def check() -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            status = await reader.readline()
            await reader.read(65536)  # let it finish, or it logs a broken pipe
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        return status.split(b" ")[1:2] == [b"200"]

    return check


def wait_for_end() -> None:
    """Block the main thread until SIGTERM or SIGINT. Before this is called, those signals end the process at once."""
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: told.set())
    while not told.wait(1.0):  # a signal that landed on a thread of the library wakes nobody: look now and then
        pass
