"""Values for COPY in PostgreSQL's binary form: what a column takes in bytes, so that no object is made on the way.

A column is declared by what is given for it, not by its own type: an `id uuid` that is given 16 bytes as `bytea`.
"""

from __future__ import annotations

from typing import Final

import msgspec

UUID_BYTES: Final = "bytea"
"""Of a `uuid` given as `uuid_of` makes it."""
JSONB_BYTES: Final = "bytea"
"""Of a `jsonb` given as `jsonb_of` makes it."""
INT8_BYTES: Final = "bytea"
"""Of a `bigint` given as its eight bytes."""
TIME_NUMBER: Final = "int8"
"""Of a `timestamptz` given as `moment_of` makes it."""
_EPOCH_US: Final = 946_684_800_000_000
"""2000-01-01, from which PostgreSQL counts."""
_encode: Final = msgspec.json.Encoder().encode


def uuid_of(text: str) -> bytes:
    """The 16 bytes of a UUID from its 32 hexadecimal digits, with or without hyphens.

    Raises:
        ValueError: it is none.
    """
    found = bytes.fromhex(text.replace("-", ""))
    if len(found) != 16:
        raise ValueError(f"{text[:80]!r} is no UUID")
    return found


def jsonb_of(value: object) -> bytes:
    """JSON as `jsonb` takes it.

    Raises:
        ValueError, TypeError, msgspec.MsgspecError: it cannot be written as JSON.
    """
    return b"\x01" + _encode(value)


def moment_of(at_ns: int) -> int:
    """Unix nanoseconds as `timestamptz` takes them, to the microsecond."""
    return at_ns // 1000 - _EPOCH_US
