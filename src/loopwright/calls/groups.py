"""The tables of full text: writing groups of postings, replacing and merging them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Final
from uuid import UUID

from psycopg import sql

from loopwright.calls.postings import Pairs, Row, bits_for, pack
from loopwright.kit.db import Connection

TIERS: Final = (0, 4096, 32_768)
"""Calls from which a group is of tier 0, 1 or 2. Eight of a tier are merged into one of the next."""
_LOCK_WAIT: Final = "2s"
"""Who searches the day meanwhile waits behind us for at most this long."""
_COPY: Final = "copy call_postings (day, group_id, bucket, body) from stdin (format binary)"


def tier_of(calls: int) -> int:
    """The tier of a group of that many calls."""
    return max(tier for tier, least in enumerate(TIERS) if calls >= least)


async def replace_group(
    connection: Connection, day: date, old: Sequence[int], members: Sequence[bytes], pairs: Pairs, blind: str | None
) -> None:
    """Put one group of `members` (ids, rising) with their postings where the groups `old` were."""
    bits = bits_for(len(pairs))
    await write_group(connection, day, members, pairs, pack(pairs, bits), bits=bits, blind=blind, old=old)


async def clear_day(connection: Connection, day: date) -> None:
    """Take away all groups of a day at once, so that its tables shrink; gives way to who reads the day for long.

    Raises:
        psycopg.errors.LockNotAvailable: somebody does.
    """
    suffix = f"{day:%Y%m%d}"
    await connection.execute(sql.SQL("set local lock_timeout = {}").format(sql.Literal(_LOCK_WAIT)))
    await connection.execute(
        sql.SQL("truncate {}, {}").format(
            sql.Identifier(f"call_groups_{suffix}"), sql.Identifier(f"call_postings_{suffix}")
        )
    )


async def write_group(
    connection: Connection,
    day: date,
    members: Sequence[bytes],
    pairs: Pairs,
    rows: Sequence[Row],
    *,
    bits: int,
    blind: str | None,
    old: Sequence[int] = (),
) -> None:
    """Write a group that is packed already; `blind` is the id of the key under which its words are hashed."""
    if old:
        which = (day, list(old))
        await connection.execute("delete from call_postings where day = %s and group_id = any(%s)", which)
        await connection.execute("delete from call_groups where day = %s and group_id = any(%s)", which)
    if not members:
        return
    cursor = await connection.execute(
        """insert into call_groups (day, tier, bits, calls, postings, first_id, last_id, ids, blind)
           values (%s, %s, %s, %s, %s, %s, %s, %s, %s) returning group_id""",
        (
            day,
            tier_of(len(members)),
            bits,
            len(members),
            len(pairs),
            UUID(bytes=members[0]),
            UUID(bytes=members[-1]),
            b"".join(members),
            blind,
        ),
    )
    made = await cursor.fetchone()
    assert made is not None
    async with cursor.copy(_COPY) as copy:
        copy.set_types(["date", "int8", "int4", "bytea"])
        for row in rows:
            await copy.write_row((day, made["group_id"], row.bucket, row.body))
