"""What waits in a spool for the database, for people to look at. Reads only; any process may ask."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from loopwright.calls.segments import Segment, names_in
from loopwright.core.errors import Sealed, Unavailable
from loopwright.kit.db import Database
from loopwright.kit.seal import PLAIN, Seal


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Calls that are spooled and not stored."""

    bytes: int
    seconds: float
    """Age of the oldest of them, 0 when there is none."""


async def waiting(db: Database, folder: Path, seal: Seal = PLAIN) -> Waiting:
    """What waits in `folder`. While the database cannot answer, all of it counts."""
    names = await asyncio.to_thread(names_in, folder)
    try:
        rows = await db.rows("select segment, position from spool_positions where segment = any(%s)", (names,))
    except Unavailable:
        rows = []
    return await asyncio.to_thread(_measure, folder, names, {row["segment"]: row["position"] for row in rows}, seal)


def _measure(folder: Path, names: list[str], positions: Mapping[str, int], seal: Seal) -> Waiting:
    size, oldest = 0, time.time_ns()
    now = oldest
    for name in names:
        with suppress(FileNotFoundError):
            segment = Segment.open(folder / name)
            try:
                position = positions.get(name, 0)
                size += max(segment.size - position, 0)
                frames = segment.read(position, most=65_536)[0].frames if segment.size > position else []
                for frame in frames[:1]:
                    with suppress(msgspec.MsgspecError, Sealed):
                        oldest = min(oldest, frame.record(seal, segment.worker).started_ns)
            finally:
                segment.close()
    return Waiting(bytes=size, seconds=(now - oldest) / 1e9)
