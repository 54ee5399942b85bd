"""Reads the calls of a time added up by what they have in common: bounded, in two statements, never a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from loopwright.calls.pages import Condition
from loopwright.kit.db import Database

MOST: Final = 20_000
"""Calls of a side that are read: the newest."""
_CELLS: Final = 5_000
_TAGS: Final = 1_000
SERIES: Final = ("target", "provider", "model", "variant", "prompt_version", "task", "operation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """What is added up of calls."""

    sql: str
    """Of one call `c`: 0 or 1, or an amount."""
    where: str = "true"
    """Which calls can have it at all."""
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cell:
    """Calls that have all of this in common."""

    has: Mapping[str, str]
    """Dimension to value, without what they have not."""
    error_code: str | None
    calls: int
    amount: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The calls of one side."""

    cells: Sequence[Cell] = ()
    tags: Mapping[tuple[str, str], tuple[int, float]] = field(default_factory=dict)
    """(name, value) to (calls, amount)."""
    calls: int = 0
    amount: float = 0.0
    clipped: bool = False
    seconds: float = 0.0
    """From the first call read to the end, where it is clipped; else 0."""


async def sample(db: Database, condition: Condition | None, weight: Weight) -> Sample:
    """Add up what passes `condition`; None is nothing.

    Raises:
        Unavailable: the database cannot answer now.
    """
    if condition is None:
        return Sample()
    params = {**condition.params, **weight.params, "most": MOST, "cells": _CELLS, "tags": _TAGS}
    chosen = f"""
        with w as materialized (
            select c.series_id, c.key_id, c.client, c.error_code, c.tags, c.started_at, ({weight.sql})::float8 as x
            from calls c where {condition.sql()} and {weight.where} order by c.id desc limit %(most)s)
    """  # noqa: S608
    rows = await db.rows(
        chosen  # noqa: S608
        + """select w.series_id, w.key_id, w.client, w.error_code, count(*) as calls, sum(w.x) as amount,
                 extract(epoch from max(max(w.started_at)) over () - min(min(w.started_at)) over ())::float8 as seconds,
                 s.operation, s.model, s.target, s.provider, s.task, s.variant, s.prompt_version
             from w join call_series s on s.id = w.series_id group by w.series_id, w.key_id, w.client, w.error_code, s.id
             order by calls desc limit %(cells)s""",
        params,
    )
    tagged = await db.rows(
        chosen  # noqa: S608
        + """select t.key as name, t.value, count(*) as calls, sum(w.x) as amount
             from w, jsonb_each_text(w.tags) t where w.tags is not null group by 1, 2
             order by sum(w.x) desc, calls desc limit %(tags)s""",
        params,
    )
    calls = sum(row["calls"] for row in rows)
    return Sample(
        cells=[_cell(row) for row in rows],
        tags={(row["name"], row["value"]): (row["calls"], row["amount"] or 0.0) for row in tagged},
        calls=calls,
        amount=sum(row["amount"] or 0.0 for row in rows),
        clipped=calls >= MOST,
        seconds=max((row["seconds"] for row in rows), default=0.0),
    )


async def amount_of(db: Database, condition: Condition | None, weight: Weight) -> float:
    """What the newest calls that pass `condition` have of it.

    Raises:
        Unavailable: the database cannot answer now.
    """
    if condition is None:
        return 0.0
    row = await db.row(
        f"""select sum(x) as amount from (select ({weight.sql})::float8 as x from calls c
                where {condition.sql()} and {weight.where} order by c.id desc limit %(most)s) found""",  # noqa: S608
        {**condition.params, **weight.params, "most": MOST},
    )
    return 0.0 if row is None or row["amount"] is None else float(row["amount"])


async def examples(db: Database, condition: Condition | None, weight: Weight, most: int) -> list[str]:
    """Ids of calls that have something of it, the newest first.

    Raises:
        Unavailable: the database cannot answer now.
    """
    if condition is None:
        return []
    rows = await db.rows(
        f"""select id::text from (
                select c.id, ({weight.sql})::float8 as x from calls c
                where {condition.sql()} and {weight.where} order by c.id desc limit %(most)s) found
            where x > 0 order by id desc limit %(few)s""",  # noqa: S608
        {**condition.params, **weight.params, "most": MOST, "few": most},
    )
    return [row["id"] for row in rows]


async def names_of_keys(db: Database, project_id: int | None) -> dict[int, str]:
    """Names of the keys of a project by id.

    Raises:
        Unavailable: the database cannot answer now.
    """
    rows = await db.rows("select id, name from keys where %s::int is null or project_id = %s", (project_id, project_id))
    return {row["id"]: row["name"] for row in rows}


def _cell(row: Mapping[str, Any]) -> Cell:
    has = {name: row[name] for name in SERIES if row[name]}
    has["key"] = str(row["key_id"])
    if row["client"]:
        has["client"] = row["client"]
    return Cell(has, row["error_code"], row["calls"], row["amount"] or 0.0)
