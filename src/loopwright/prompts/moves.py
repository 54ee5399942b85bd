"""The labels of prompts and their moves, within a transaction of the registry's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from loopwright.kit.db import Connection

CHANNEL: Final = "loopwright_prompts"
MOVE: Final = "id, label, number, before, back, author, at"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One move of a label."""

    id: int
    label: str
    number: int | None
    """Where it points since; None: it was taken away."""
    before: int | None
    """Where it pointed until then; None: it was new."""
    back: bool
    """A rollback."""
    author: str
    at: datetime


async def pointed(connection: Connection, prompt_id: int, label: str) -> int | None:
    """Where a label points, if anywhere."""
    cursor = await connection.execute(
        "select number from prompt_labels where prompt_id = %s and label = %s", (prompt_id, label)
    )
    row = await cursor.fetchone()
    return None if row is None else int(row["number"])


async def labels_of(connection: Connection, prompt_id: int) -> int:
    """How many labels a prompt has."""
    cursor = await connection.execute("select count(*) as n from prompt_labels where prompt_id = %s", (prompt_id,))
    row = await cursor.fetchone()
    return 0 if row is None else int(row["n"])


async def moves_of(connection: Connection, prompt_id: int, label: str) -> Sequence[Move]:
    """The moves of a label, oldest first."""
    find = f"select {MOVE} from prompt_moves where prompt_id = %s and label = %s order by id"  # noqa: S608 - names of ours
    cursor = await connection.execute(find.encode(), (prompt_id, label))
    return [Move(**row) for row in await cursor.fetchall()]


async def move(
    connection: Connection,
    prompt_id: int,
    label: str,
    number: int | None,
    before: int | None,
    author: str,
    *,
    back: bool = False,
) -> None:
    """Write a move and where the label points since, and tell everybody."""
    await connection.execute(
        "insert into prompt_moves (prompt_id, label, number, before, back, author) values (%s, %s, %s, %s, %s, %s)",
        (prompt_id, label, number, before, back, author),
    )
    if number is None:
        await connection.execute("delete from prompt_labels where prompt_id = %s and label = %s", (prompt_id, label))
    else:
        await connection.execute(
            "insert into prompt_labels (prompt_id, label, number) values (%s, %s, %s)"
            " on conflict (prompt_id, label) do update set number = excluded.number",
            (prompt_id, label, number),
        )
    await connection.execute("select pg_notify(%s, '')", (CHANNEL,))
