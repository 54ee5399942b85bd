"""Which keys evaluations are sealed with, and sealing them anew with the first. Any number may run, at any time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from loopwright.evals.evaluation import about as about_spec
from loopwright.evals.ledger import about, about_details
from loopwright.kit.db import Database
from loopwright.kit.seal import Seal

_BATCH: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """Sealed texts of one table."""

    table: str
    name: str
    row: tuple[str, ...]
    """Its primary key."""
    about: Callable[[Mapping[str, Any]], bytes]


_COLUMNS: Final = (
    _Column(table="evaluations", name="spec", row=("id",), about=lambda row: about_spec(row["id"])),
    _Column(
        table="evaluation_answers",
        name="payload",
        row=("project_id", "key"),
        about=lambda row: about(bytes(row["key"])),
    ),
    _Column(
        table="evaluation_results",
        name="details",
        row=("evaluation_id", "position", "target"),
        about=lambda row: about_details(row["evaluation_id"], row["position"], row["target"]),
    ),
)


async def keys_used(db: Database) -> Mapping[str | None, int]:
    """Texts of evaluations by the id of their key; None is not sealed.

    Raises:
        Unavailable: the database cannot answer now.
    """
    every = " union all ".join(f"select sealed_by from {column.table}" for column in _COLUMNS)  # noqa: S608 - names of ours
    rows = await db.rows(f"select sealed_by, count(*) as texts from ({every}) t group by sealed_by")  # noqa: S608
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
    named = ", ".join(column.row)
    find = (
        f"select {named}, {column.name} as sealed from {column.table} where sealed_by is distinct from %s"  # noqa: S608 - names of ours
        f" order by {named} limit {_BATCH} for update skip locked"
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
