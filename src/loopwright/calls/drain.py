"""The drain: moves calls from the spool of this machine to the database, each exactly once.

A batch is stored in one transaction together with the positions it was read up to, so whatever dies in between, the
next drain goes on from the last batch that counted.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
import psycopg

from loopwright.calls.indexer import Indexer
from loopwright.calls.intake import Batch, Entry, Intake
from loopwright.calls.rows import day_of
from loopwright.calls.store import Charge, Doubles, Store
from loopwright.calls.upkeep import Upkeep
from loopwright.core.errors import StartError, Unavailable
from loopwright.kit.db import Database
from loopwright.kit.lock import FolderLock
from loopwright.kit.seal import PLAIN, Seal
from loopwright.kit.settings import CallsSettings

_BUSY: Final = 0.05
_IDLE: Final = 0.25
_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 10.0
_LOCK_PAUSE: Final = 0.2
_HOUR: Final = 3600.0
_log = logging.getLogger(__name__)


class Drain:
    """Drains `folder`. One at a time on a machine: a second one waits for the first to go."""

    def __init__(
        self,
        db: Database,
        folder: Path,
        settings: CallsSettings,
        *,
        charge: Charge | None = None,
        seal: Seal = PLAIN,
        doubles: Doubles | None = None,
    ) -> None:
        """`charge` is told of what each batch cost, in the transaction that stores it; `doubles` see store.py."""
        self._folder = folder
        self._store = Store(db, settings, charge, seal, doubles)
        self._intake = Intake(folder, seal)
        self._moved = 0
        indexed = settings.payloads and settings.full_text
        self._indexer = Indexer(db, hurried=self._is_hurried, seal=seal) if indexed else None
        self._upkeep = Upkeep(db, self._indexer)
        self._lock: FolderLock | None = None
        self._stands = False
        self.stored = 0
        """Calls stored since this process began."""
        self.failing: str | None = None
        """Why nothing can be stored now; None while all is well."""

    async def run(self) -> None:
        """Drain, fill full text and look after partitions until cancelled; an outage of the database is waited out."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._drain())
            group.create_task(self._open_days())
            group.create_task(self._upkeep.run())
            if self._indexer is not None:
                group.create_task(self._indexer.run())

    async def _drain(self) -> None:
        pause = _FIRST_PAUSE
        try:
            while True:
                try:
                    moved = await self.once()
                except (Unavailable, psycopg.Error, OSError, ValueError) as error:
                    # The recorder must not die of an outage, a disk or a statement: it says so and tries again.
                    self._fails(error)
                    await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  (spreads load)
                    pause = min(pause * 2, _LONGEST_PAUSE)
                    continue
                if self.failing is not None:
                    _log.warning("calls are being stored again")
                    self.failing = None
                pause = _FIRST_PAUSE
                if moved < _SMALL:
                    await asyncio.sleep(_BUSY if moved else _IDLE)
        finally:
            self.close()

    def _is_hurried(self) -> bool:
        return self._moved >= _MANY

    async def _open_days(self) -> None:
        while True:
            try:
                await self.open_days()
            except Unavailable:
                await asyncio.sleep(_LONGEST_PAUSE)
            else:
                await asyncio.sleep(_HOUR)

    def _fails(self, error: Exception) -> None:
        text = f"{type(error).__name__}: {error}"
        if self.failing != text:
            _log.warning("calls stay in the spool: %s", text, exc_info=not isinstance(error, Unavailable))
        self.failing = text

    async def once(self) -> int:
        """Store one batch; how many records it held, those dropped as deleted or known included.

        Raises:
            Unavailable: the database cannot answer now. Nothing is lost: the next `once` begins by asking it.
            StartError: another drain works on this folder and does not go.
        """
        if self._lock is None:
            self._lock = await self._take_lock()
        if not self._stands:
            await self._stand()
        try:
            batch = await asyncio.to_thread(self._intake.take)
            if batch:
                await self._save(batch)
        except BaseException:
            # Whether it was committed only the database knows, and which partitions there are: the next round asks.
            self._stands = False
            raise
        if batch.finished:
            await asyncio.to_thread(self._intake.forget, batch.finished)
        self._moved = len(batch.entries)
        return self._moved

    @property
    def indexed(self) -> int:
        """Calls put into full text since this process began."""
        return 0 if self._indexer is None else self._indexer.indexed

    @property
    def set_aside(self) -> int:
        """Records that could not be read or stored and lie in the folder `bad`."""
        return self._intake.set_aside

    def backlog(self) -> int:
        """Bytes spooled and not stored yet."""
        return self._intake.backlog()

    async def open_days(self, now: datetime | None = None) -> None:
        """Make the partitions of today and tomorrow; call it every hour or so, and after retention.

        Raises:
            Unavailable: the database cannot answer now.
        """
        today = (now or datetime.now(UTC)).date()
        self._store.forget_days()
        await self._store.open_days({today, today + timedelta(days=1)})

    def close(self) -> None:
        """Close files and let the next drain in."""
        self._intake.close()
        self._stands = False
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    async def _take_lock(self) -> FolderLock:
        patience = 50
        while True:
            try:
                return FolderLock.take(self._folder / "drain.lock")
            except StartError:
                # The one before us may still be on its way out.
                patience -= 1
                if not patience:
                    raise
            await asyncio.sleep(_LOCK_PAUSE)

    async def _stand(self) -> None:
        names = await asyncio.to_thread(self._intake.names)
        positions, finished, carried = await self._store.standing(names)
        await asyncio.to_thread(self._intake.reset, positions, finished, carried)
        await self.open_days()
        self._stands = True

    async def _save(self, batch: Batch) -> None:
        try:
            self.stored += await self._store.store(batch)
            self._upkeep.grew(Counter(day_of(entry.record.id) for entry in batch.entries))
            if self._indexer is not None:
                self._indexer.wake()
        except psycopg.DataError as error:
            if len(batch.entries) > 1:
                for half in _halves(batch):
                    await self._save(half)
                return
            if not batch.entries:
                raise
            # One record that the database refuses must not hold up the others.
            entry = batch.entries[0]
            data = msgspec.msgpack.encode(entry.record)
            await asyncio.to_thread(self._intake.put_aside, entry.segment, entry.end, data, str(error))
            batch.entries.clear()
            await self._save(batch)


_MANY: Final = 2000
"""Records of a batch that show a queue before the drain."""
_SMALL: Final = 500
"""Records of a batch below which waiting a moment makes the next one worth its transaction."""


def _halves(batch: Batch) -> tuple[Batch, Batch]:
    """The batch in two, in order; what concerns whole files goes with the second."""
    middle = len(batch.entries) // 2
    first = Batch(entries=batch.entries[:middle], positions=_ends(batch.entries[:middle]))
    second = Batch(
        entries=batch.entries[middle:],
        positions=batch.positions,
        finished=batch.finished,
        carried=batch.carried,
        closed=batch.closed,
    )
    return first, second


def _ends(entries: list[Entry]) -> dict[str, int]:
    return {entry.segment: entry.end for entry in entries}
