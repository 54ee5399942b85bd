"""Notes which calls of watched tasks came to the database, in the transaction that stores them: none is missed, or twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from loopwright.calls.record import Record
from loopwright.calls.store import Charge
from loopwright.kit.db import Connection

EVERYWHERE: Final = -1
"""Stands for every project in `monitor_tasks`."""
TAG: Final = "loopwright.monitor"
"""Of calls that were made to score others: the task that is watched."""
OURS: Final = frozenset({TAG, "loopwright.evaluation", "loopwright.canary"})
"""Tags of calls that nobody but us asked: they are measured elsewhere."""
_NOTE: Final = b"""
    insert into monitor_arrivals (calls, ids)
    select w.calls, w.ids from unnest(%s::int[], %s::text[], %s::int[], %s::bytea[]) as w (project_id, task, calls, ids)
    where exists (select from monitor_tasks t where t.task = w.task and t.project_id in (w.project_id, %s))
"""


def arriving(charge: Charge) -> Charge:
    """`charge`, and a note of the calls of watched tasks."""

    async def both(connection: Connection, calls: Sequence[tuple[str, Record]]) -> None:
        await charge(connection, calls)
        await noted(connection, [record for _, record in calls])

    return both


async def noted(connection: Connection, records: Sequence[Record]) -> None:
    """Note the calls among `records` that may have to be scored."""
    came: defaultdict[tuple[int, str], list[bytes]] = defaultdict(list)
    for record in records:
        if record.task is not None and (not record.tags or OURS.isdisjoint(record.tags)):
            came[record.project_id, record.task].append(UUID(record.id).bytes)
    if came:
        projects, tasks = zip(*came, strict=True)
        ids = [b"".join(each) for each in came.values()]
        counts = [len(each) for each in came.values()]
        await connection.execute(_NOTE, ([*projects], [*tasks], counts, ids, EVERYWHERE))
