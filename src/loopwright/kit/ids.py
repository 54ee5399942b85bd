"""Call ids: UUIDv7 (RFC 9562), so they sort by time and a day of calls is a range of ids."""

from __future__ import annotations

import os
import struct
import time
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_MS = 86_400_000
_VERSION = 0x7 << 76
_VARIANT = 0x2 << 62
_AHEAD = 64
"""Ids."""


class Ids:
    """Makes ids that rise strictly within one process, also within one millisecond and when the clock steps back."""

    __slots__ = ("_chance", "_last")

    def __init__(self) -> None:
        self._last = 0
        self._chance: list[int] = []

    def new(self, now_ns: int | None = None) -> str:
        """A new id at `now_ns` (Unix nanoseconds), in canonical text form (36 characters)."""
        ms, rest = divmod(time.time_ns() if now_ns is None else now_ns, 1_000_000)
        # 12 bits of sub-millisecond time (RFC 9562, method 3), then 62 random bits.
        stamp = (ms << 12) | (rest * 4096 // 1_000_000)
        if stamp <= self._last:
            stamp = self._last + 1
        self._last = stamp
        if not self._chance:
            # The system is asked for the random bits of many ids at once: to ask costs more than to be told.
            self._chance = list(struct.unpack(f"{_AHEAD}Q", os.urandom(8 * _AHEAD)))
        tail = (self._chance.pop() & 0x3FFF_FFFF_FFFF_FFFF) | _VARIANT
        return _text((stamp >> 12 << 80) | _VERSION | ((stamp & 0xFFF) << 64) | tail)


def floor_of(moment: datetime) -> str:
    """The smallest id a call at `moment` (aware) can have, at millisecond precision."""
    ms = (moment - _EPOCH) // timedelta(milliseconds=1)
    return _text((max(ms, 0) << 80) | _VERSION | _VARIANT)


def time_of(call_id: str) -> datetime:
    """The millisecond in which an id was made.

    Raises:
        ValueError: not a UUIDv7.
    """
    return _EPOCH + timedelta(milliseconds=_ms_of(call_id))


def day_of(call_id: str) -> date:
    """The day (UTC) in which an id was made.

    Raises:
        ValueError: not a UUIDv7.
    """
    return _day(_ms_of(call_id) // _DAY_MS)


def _ms_of(call_id: str) -> int:
    digits = call_id.replace("-", "")
    if len(digits) != 32 or digits[12] != "7":
        raise ValueError(f"{call_id!r} is not a call id (a UUID of version 7)")
    return int(digits[:12], 16)


@lru_cache(maxsize=1024)
def _day(number: int) -> date:
    """Days since 1970: ids of a day are asked for together.

    Raises:
        ValueError: beyond the calendar.
    """
    try:
        return (_EPOCH + timedelta(days=number)).date()
    except OverflowError:
        raise ValueError(f"day {number} since 1970 is beyond the calendar") from None


def _text(number: int) -> str:
    digits = number.to_bytes(16).hex()  # a third faster than its format
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
