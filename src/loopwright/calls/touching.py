"""Notes of which traces something came or went, in the transaction in which it does. Who sums them up reads it elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final
from uuid import UUID

from loopwright.calls.record import Record
from loopwright.kit.db import Connection

OUTSIDE: Final = "otlp:"
"""What the client of a call begins with that came as a span and not through this house."""
TRACED: Final = "(c.parent_id is not null or c.client like 'otlp:%%')"
"""Of `calls c`: what the index of traces holds. Others are traces by themselves."""
_ADD: Final = "insert into trace_touched (project_id, trace_id) select * from unnest(%s::int[], %s::uuid[])"


async def touched(connection: Connection, traces: Collection[tuple[int, UUID]]) -> None:
    """Note (project, trace) of everything that changed, to be seen when the transaction of `connection` is."""
    if traces:
        # In one order everywhere: nothing is locked, but what is alike compresses in the log.
        projects, ids = zip(*sorted(traces), strict=True)
        await connection.execute(_ADD, (list(projects), list(ids)))


def traces_of(records: Iterable[Record]) -> set[tuple[int, UUID]]:
    """(project, trace) of the records that are one step of several."""
    return {
        (record.project_id, UUID(record.trace_id))
        for record in records
        if record.parent_id is not None or record.client.startswith(OUTSIDE)
    }
