"""Which keys the rows of tables are sealed with, and sealing them anew with the first. Knows no table: rooms name theirs.

Any number may run, at any time: rows that another is at are left to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from loopwright.kit.db import Connection, Database
from loopwright.kit.seal import Seal

_BATCH: Final = 256
"""Rows of a step."""
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedTable:
    """A table with sealed columns; its column `sealed_by` names the key. What is null or empty is not sealed."""

    name: str
    key: tuple[str, ...]
    """The columns of its primary key."""
    texts: Mapping[str, Callable[[Row], bytes]]
    """The sealed columns, each with what its texts are bound to; a row counts when one of them is not null."""
    needs: tuple[str, ...] = ()
    """Columns that `texts` read besides the key."""
    batch: int = _BATCH
    """Rows of a step."""


@dataclass(frozen=True, slots=True)
class SealedTables:
    """Tables that are told of as one, and sealed anew one after the other."""

    tables: tuple[SealedTable, ...]

    async def keys_used(self, db: Database) -> Mapping[str | None, int]:
        """Rows by the id of their key; None is not sealed.

        Raises:
            Unavailable: the database cannot answer now.
        """
        found: Counter[str | None] = Counter()
        for table in self.tables:
            for row in await db.rows(
                f"select sealed_by, count(*) as texts from {table.name} where {_any(table)} group by sealed_by"  # noqa: S608 - names of ours
            ):
                found[row["sealed_by"]] += row["texts"]
        return found

    async def reseal(self, db: Database, seal: Seal) -> int:
        """Seal some rows with the first key; how many, 0 when all are.

        Raises:
            Unavailable: the database cannot answer now.
            Sealed: one cannot be opened.
        """
        for table in self.tables:
            async with db.transaction() as connection:
                if done := await _step(connection, seal, table):
                    return done
        return 0


async def _step(connection: Connection, seal: Seal, table: SealedTable) -> int:
    named = ", ".join(table.key)
    find = f"""
        select {", ".join((*table.key, *table.needs, *table.texts))} from {table.name}
        where sealed_by is distinct from %s and ({_any(table)}) order by {named} limit %s for update skip locked
    """  # noqa: S608 - names of ours
    puts = ", ".join(f"{column} = %s" for column in table.texts)
    put = f"update {table.name} set {puts}, sealed_by = %s where ({named}) = ({', '.join('%s' for _ in table.key)})"  # noqa: S608 - names of ours
    rows = await (await connection.execute(find.encode(), (seal.first, table.batch))).fetchall()
    for row in rows:
        texts = [_anew(seal, row[column], about(row)) for column, about in table.texts.items()]
        await connection.execute(put.encode(), (*texts, seal.first, *(row[column] for column in table.key)))
    return len(rows)


def _any(table: SealedTable) -> str:
    return " or ".join(f"{column} is not null" for column in table.texts)


def _anew(seal: Seal, stored: Any, about: bytes) -> bytes | None:
    if not stored:
        return stored  # type: ignore[no-any-return]
    return seal.seal(seal.open(bytes(stored), about), about)
