"""What is done again and again while a house runs, on one machine at a time. Knows nothing of what it is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final, Protocol

from loopwright.core.errors import LoopwrightError
from loopwright.kit.db import Database

_log = logging.getLogger(__name__)
RUN: Final = "monitoring.run"
"""The job that keeps the process beside the recorder while there is something to watch."""
_LOCK: Final = "select pg_try_advisory_xact_lock(hashtextextended(%s, 0)) as ours"


class Round(Protocol):
    """Something to be done every so often. It must be fit to be broken off at any moment and done anew."""

    @property
    def name(self) -> str:
        """Its own among all rounds of a house."""
        ...

    @property
    def every(self) -> float:
        """Seconds from the beginning of one to the beginning of the next."""
        ...

    async def __call__(self) -> None:
        """Go round once. What it raises is logged, and the next one comes in its time."""
        ...


async def go_round(db: Database, rounds: Sequence[Round]) -> None:
    """Do all of them, each in its own time, until cancelled."""
    async with asyncio.TaskGroup() as group:
        for each in rounds:
            group.create_task(_again(db, each), name=each.name)


async def _again(db: Database, each: Round) -> None:
    clock = asyncio.get_running_loop().time
    while True:
        began = clock()
        try:
            await once(db, each)
        except LoopwrightError as error:
            _log.warning("%s: %s", each.name, error.message)
        except Exception:  # noqa: BLE001  # it is logged whole, and the next one comes in its time
            _log.exception("%s failed", each.name)
        await asyncio.sleep(max(each.every - (clock() - began), 0.1))


async def once(db: Database, each: Round) -> bool:
    """Go round once unless another machine is at it; whether we did.

    The lock is the transaction's: who is killed holds nobody up.
    """
    async with db.transaction() as connection:
        cursor = await connection.execute(_LOCK, (f"round {each.name}",))
        row = await cursor.fetchone()
        if row is None or not row["ours"]:
            return False
        await each()
    return True
