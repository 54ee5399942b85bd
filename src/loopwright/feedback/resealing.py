"""Which keys feedback is sealed with, and sealing it anew with the first. Any number may run, at any time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from loopwright.feedback.queues import item_about, note_about
from loopwright.feedback.store import corrected_about, said_about
from loopwright.kit.db import Database
from loopwright.kit.seal import Seal

_BATCH: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """Sealed texts of one table."""

    table: str
    name: str
    row: str
    """Its primary key, by commas."""
    needs: str
    """What `about` needs of the row, with it."""
    about: Callable[[Mapping[str, Any]], bytes]


_COLUMNS: Final = (
    _Column(
        table="feedback_scores",
        name="explanation",
        row="id",
        needs="id, call_id::text as call, name, source, author",
        about=lambda row: said_about(row["call"], row["name"], row["source"], row["author"]),
    ),
    _Column(
        table="feedback_corrections",
        name="body",
        row="id",
        needs="id, call_id::text as call",
        about=lambda row: corrected_about(row["call"]),
    ),
    _Column(
        table="review_items",
        name="body",
        row="id",
        needs="id, review_id, position",
        about=lambda row: item_about(row["review_id"], row["position"]),
    ),
    _Column(
        table="review_turns",
        name="note",
        row="item_id, rater_id",
        needs="item_id, rater_id",
        about=lambda row: note_about(row["item_id"], row["rater_id"]),
    ),
)


async def keys_used(db: Database) -> Mapping[str | None, int]:
    """Texts of feedback by the id of their key; None is not sealed.

    Raises:
        Unavailable: the database cannot answer now.
    """
    counts = " union all ".join(
        f"select sealed_by from {column.table} where {column.name} is not null"  # noqa: S608 - names of ours
        for column in _COLUMNS
    )
    rows = await db.rows(f"select sealed_by, count(*) as texts from ({counts}) t group by sealed_by")  # noqa: S608
    return {row["sealed_by"]: row["texts"] for row in rows}


async def reseal(db: Database, seal: Seal) -> int:
    """Seal some texts with the first key; how many, 0 when all are.

    Raises:
        Unavailable: the database cannot answer now.
        Sealed: one cannot be opened.
    """
    for column in _COLUMNS:
        if done := await _reseal(db, seal, column):
            return done
    return 0


async def _reseal(db: Database, seal: Seal, column: _Column) -> int:
    find = f"""
        select {column.needs}, {column.name} as sealed from {column.table}
        where {column.name} is not null and sealed_by is distinct from %s
        order by {column.row} limit {_BATCH} for update skip locked
    """  # noqa: S608 - names of ours
    keys = column.row.split(", ")
    which = " and ".join(f"{key} = %s" for key in keys)
    put = f"update {column.table} set {column.name} = %s, sealed_by = %s where {which}"  # noqa: S608 - names of ours
    async with db.transaction() as connection:
        cursor = await connection.execute(find.encode(), (seal.first,))
        rows = await cursor.fetchall()
        for row in rows:
            place = column.about(row)
            text = seal.seal(seal.open(bytes(row["sealed"]), place), place)
            await connection.execute(put.encode(), (text, seal.first, *(row[key] for key in keys)))
        return len(rows)
