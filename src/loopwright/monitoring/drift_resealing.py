"""Which keys vectors of drift and answers of canaries are sealed with, and sealing them anew with the first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from loopwright.kit.db import Database
from loopwright.kit.seal import Seal
from loopwright.monitoring.canaries_store import answer_about
from loopwright.monitoring.drift_store import topics_about, vector_about

_BATCH: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """Sealed bytes of one table."""

    table: str
    name: str
    row: tuple[str, ...]
    """Its primary key."""
    about: Callable[[Mapping[str, Any]], bytes]


_COLUMNS: Final = (
    _Column(table="drift_watches", name="topics", row=("id",), about=lambda row: topics_about(row["id"])),
    _Column(
        table="drift_points",
        name="vector",
        row=("watch_id", "number", "call_id"),
        about=lambda row: vector_about(row["watch_id"], str(row["call_id"])),
    ),
    _Column(
        table="canary_answers",
        name="body",
        row=("run_id", "position", "repeat"),
        about=lambda row: answer_about(row["run_id"], row["position"], row["repeat"]),
    ),
)


async def keys_used(db: Database) -> Mapping[str | None, int]:
    """How many by the id of their key; None is not sealed.

    Raises:
        Unavailable: the database cannot answer now.
    """
    every = " union all ".join(
        f"select sealed_by from {column.table} where {column.name} is not null"  # noqa: S608 - names of ours
        for column in _COLUMNS
    )
    rows = await db.rows(f"select sealed_by, count(*) as texts from ({every}) t group by sealed_by")  # noqa: S608
    return {row["sealed_by"]: row["texts"] for row in rows}


async def reseal(db: Database, seal: Seal) -> int:
    """Seal some with the first key; how many, 0 when all are.

    Raises:
        Unavailable: the database cannot answer now.
        Sealed: one cannot be opened.
    """
    for column in _COLUMNS:
        if done := await _reseal(db, seal, column):
            return done
    return 0


async def _reseal(db: Database, seal: Seal, column: _Column) -> int:
    named = ", ".join(column.row)
    find = (
        f"select {named}, {column.name} as sealed from {column.table} where sealed_by is distinct from %s"  # noqa: S608 - names of ours
        f" and {column.name} is not null order by {named} limit {_BATCH} for update skip locked"
    )
    which = " and ".join(f"{key} = %s" for key in column.row)
    put = f"update {column.table} set {column.name} = %s, sealed_by = %s where {which}"  # noqa: S608 - names of ours
    async with db.transaction() as connection:
        rows = await (await connection.execute(find.encode(), (seal.first,))).fetchall()
        for row in rows:
            place = column.about(row)
            text = seal.seal(seal.open(bytes(row["sealed"]), place), place)
            await connection.execute(put.encode(), (text, seal.first, *(row[key] for key in column.row)))
        return len(rows)
