"""Notes of which traces something came or went, in the transaction in which it does. Who sums them up reads it elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date
from typing import Final
from uuid import UUID

from loopwright.calls.record import Record
from loopwright.calls.rows import day_of
from loopwright.kit.db import Connection

OUTSIDE: Final = "otlp:"
"""What the client of a call begins with that came as a span and not through this house."""
TRACED: Final = "(c.parent_id is not null or c.client like 'otlp:%%')"
"""Of `calls c`: what the index of traces holds. Others are traces by themselves."""
TOUCH: Final = """
    insert into trace_touched (project_id, trace_id, first_day, last_day)
    select project_id, trace_id, %s::date, %s::date from unnest(%s::int[], %s::uuid[]) as t (project_id, trace_id)
"""
"""Takes what `touches` makes."""


async def touched(
    connection: Connection, traces: Collection[tuple[int, UUID | str]], ids: Collection[str | UUID] = ()
) -> None:
    """Note (project, trace) of everything that changed, to be seen when the transaction of `connection` is.

    `ids` are those of the calls or spans that came or went, UUIDs of version 7 all; without them any day may hold them.
    """
    if traces:
        await connection.execute(TOUCH, touches(traces, ids))


def touches(
    traces: Collection[tuple[int, UUID | str]], ids: Collection[str | UUID]
) -> tuple[date | None, date | None, str, str]:
    """The parameters of `TOUCH`."""
    known = [str(each) for each in ids]
    first, last = (day_of(min(known)), day_of(max(known))) if known else (None, None)
    # As texts of arrays: making one out of objects takes ten times as long. A UUID has nothing in it that had to be quoted.
    projects = ",".join([str(project) for project, _ in traces])
    members = ",".join([str(trace) for _, trace in traces])
    return first, last, f"{{{projects}}}", f"{{{members}}}"


def traces_of(records: Iterable[Record]) -> set[tuple[int, str]]:
    """(project, trace) of the records that are one step of several."""
    return {
        (record.project_id, record.trace_id)
        for record in records
        if record.parent_id is not None or record.client.startswith(OUTSIDE)
    }
