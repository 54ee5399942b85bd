"""Runs batches: checks their input, asks line after line at low priority, writes their files. Knows no road by itself.

One runner works for all batches of a data folder; whatever ends it, the next one goes on from the journals. A line is
asked at least once and answered once: one that was asked and not yet stored when the process died is asked again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Final

from loopwright.batches.batch import Batch
from loopwright.batches.road import Road
from loopwright.batches.store import Batches
from loopwright.batches.work import Work
from loopwright.core.errors import StartError, Unavailable
from loopwright.kit.lock import FolderLock
from loopwright.kit.seal import PLAIN, Seal

TIDY: Final = "batches.tidy"
"""The job that lets go of what is over."""
_LOOK: Final = 0.5
"""Seconds between looks for new batches, and for those to be cancelled."""
_REST: Final = 10.0
"""Seconds after which a batch that could not go on is tried again."""
_log = logging.getLogger(__name__)


Opener = Callable[[], AbstractAsyncContextManager[Road]]
"""Builds a road, and lets go of it at the end of the block."""


class Runner:
    """Runs the batches of one data folder while there are any."""

    def __init__(
        self,
        batches: Batches,
        road: Opener,
        folder: Path,
        *,
        longest: int,
        seal: Seal = PLAIN,
        linger: float = 10.0,
        stopping: asyncio.Event | None = None,
    ) -> None:
        """Keep journals in `folder`; a line has at most `longest` bytes.

        The road is opened when it is needed, and let go of `linger` seconds after the last batch, or at once when
        `stopping` is set.
        """
        self._batches = batches
        self._road = road
        self._folder = folder
        self._longest = longest
        self._seal = seal
        self._linger = linger
        self._stopping = stopping or asyncio.Event()

    async def run(self) -> None:
        """Work until no batch is left. Does nothing when there is none, or when another process works here."""
        if not await self._unfinished():
            return
        try:
            lock = FolderLock.take(self._folder / "lock")
        except StartError:
            return
        try:
            async with self._road() as road:
                await self._work(road)
        finally:
            lock.release()

    async def _work(self, road: Road) -> None:
        loop = asyncio.get_running_loop()
        turns = asyncio.Semaphore(self._batches.settings.concurrency)
        works: dict[str, Work] = {}
        tasks: dict[str, asyncio.Task[None]] = {}
        rests: dict[str, float] = {}
        idle_since, fresh = loop.time(), True
        try:
            while fresh or tasks or (loop.time() - idle_since < self._linger and not self._stopping.is_set()):
                fresh = False
                for batch in await self._unfinished():
                    if batch.id in tasks:
                        if batch.status == "cancelling":
                            works[batch.id].cancel()
                    elif rests.get(batch.id, 0.0) <= loop.time():
                        work = works[batch.id] = Work(
                            batch, self._batches, road, turns, self._folder, longest=self._longest, seal=self._seal
                        )
                        tasks[batch.id] = loop.create_task(work.run(), name=batch.id)
                await (asyncio.wait(tasks.values(), timeout=_LOOK) if tasks else self._rest())
                for name in [name for name, task in tasks.items() if task.done()]:
                    del works[name]
                    if _failed(tasks.pop(name)):
                        rests[name] = loop.time() + _REST
                if tasks or rests:
                    idle_since = loop.time()
                rests = {name: until for name, until in rests.items() if until > loop.time()}
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), _LOOK)

    async def _unfinished(self) -> list[Batch]:
        try:
            return [*await self._batches.unfinished()]
        except Unavailable as error:
            _log.warning("batches go on without the database: %s", error)
            return []


def _failed(task: asyncio.Task[None]) -> bool:
    """Whether a batch could not go on: it is tried again, and its log line says why."""
    if task.cancelled():
        return True
    error = task.exception()
    if error is not None:
        _log.error("batch %s could not go on: %s", task.get_name(), error, exc_info=error)
    return error is not None
