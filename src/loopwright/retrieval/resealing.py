"""Which keys documents are sealed with, and sealing them anew with the first. Any number may run, at any time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from loopwright.kit.db import Connection, Database
from loopwright.kit.seal import Seal
from loopwright.retrieval.rows import about_chunk, about_document, about_evaluation, about_title, about_told

_BATCH: Final = 256
_TABLES: Final = ("collection_documents", "collection_intake", "collection_chunks", "collection_evaluations")
Sealing = Callable[[Mapping[str, Any]], tuple[str, tuple[object, ...]]]
"""From a row to the assignments of its update and their values."""


async def keys_used(db: Database) -> Mapping[str | None, int]:
    """Documents, what waits to be read, chunks and evaluations, by the id of their key; None is not sealed.

    Raises:
        Unavailable: the database cannot answer now.
    """
    found: Counter[str | None] = Counter()
    for table in _TABLES:
        for row in await db.rows(f"select sealed_by, count(*) as texts from {table} group by sealed_by"):  # noqa: S608 - ours
            found[row["sealed_by"]] += row["texts"]
    return found


async def reseal(db: Database, seal: Seal) -> int:
    """Seal some with the first key; how many, 0 when all are.

    Raises:
        Unavailable: the database cannot answer now.
        Sealed: one cannot be opened.
    """

    def anew(stored: object, place: bytes) -> bytes | None:
        return None if stored is None else seal.seal(seal.open(bytes(stored), place), place) if stored else b""  # type: ignore[call-overload]

    def document(row: Mapping[str, Any]) -> tuple[str, tuple[object, ...]]:
        content, title = anew(row["content"], about_document(row["id"])), anew(row["title"], about_title(row["id"]))
        return "content = %s, title = %s", (content, title)

    def waiting(row: Mapping[str, Any]) -> tuple[str, tuple[object, ...]]:
        return "told = %s", (anew(row["told"], about_told(row["document_id"])),)

    def chunk(row: Mapping[str, Any]) -> tuple[str, tuple[object, ...]]:
        return "content = %s", (anew(row["content"], about_chunk(row["document_id"], row["position"])),)

    def evaluation(row: Mapping[str, Any]) -> tuple[str, tuple[object, ...]]:
        return "details = %s", (anew(row["details"], about_evaluation(row["id"])),)

    for table, sealing in zip(_TABLES, (document, waiting, chunk, evaluation), strict=True):
        async with db.transaction() as connection:
            if done := await _step(connection, table, sealing, seal.first):
                return done
    return 0


async def _step(connection: Connection, table: str, sealing: Sealing, first: str | None) -> int:
    cursor = await connection.execute(
        f"select * from {table} where sealed_by is distinct from %s"  # noqa: S608 - ours
        " order by id limit %s for update skip locked".encode(),
        (first, _BATCH),
    )
    rows = await cursor.fetchall()
    for row in rows:
        assignments, values = sealing(row)
        await connection.execute(
            f"update {table} set {assignments}, sealed_by = %s where id = %s".encode(),  # noqa: S608 - ours
            (*values, first, row["id"]),
        )
    return len(rows)
