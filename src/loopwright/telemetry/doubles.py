"""Calls that were told of twice: by a program's spans, and by our gateway or by a client beneath a framework.

Asked by the drain, where all that was spooled comes together: what went through the gateway is there before its span.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from loopwright.calls.record import Record
from loopwright.calls.touching import TRACED
from loopwright.kit.db import Connection
from loopwright.kit.ids import floor_of
from loopwright.kit.seal import PLAIN, Seal
from loopwright.telemetry.answered import answered
from loopwright.telemetry.rows import digits, signed

Place = tuple[str, str]
"""(trace, span)."""
ORIGIN: Final = "loopwright.origin"
"""Tag of a call that came as a span from a house: its id there."""
_APART: Final = timedelta(hours=1)
"""A call begins this long after the span above it at the most; and before, by clocks that differ."""
_BENEATH: Final = f"""
    select c.id, c.trace_id, c.parent_id from calls c
    where c.trace_id = any(%s::uuid[]) and {TRACED} and c.parent_id is not null and c.id >= %s::uuid and c.id < %s::uuid
"""  # noqa: S608
_BETWEEN: Final = """
    select trace_id, span_id, parent_id from spans
    where trace_id = any(%s::uuid[]) and span_id = any(%s) and parent_id is not null
"""
_LINK: Final = """
    update spans s set call_id = w.call from unnest(%s::uuid[], %s::uuid[]) as w (id, call)
    where s.id = w.id and s.id >= %s::uuid and s.id <= %s::uuid
"""
_OURS: Final = "select id, project_id, trace_id, span_id from calls where id = any(%s::uuid[])"
_UUID: Final = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


async def doubles(connection: Connection, records: Sequence[Record], *, seal: Seal = PLAIN) -> set[str]:
    """Ids of those that are another call's span; their spans are linked to that call, in the same transaction."""
    mine = {(record.trace_id, record.span_id): record for record in records if record.observed}
    if not mine:
        return set()
    beneath = {(record.trace_id, record.parent_id): record.id for record in records if record.parent_id is not None}
    found = {place: beneath[place] for place in mine.keys() & beneath.keys()}
    strays = [(trace, above, call) for (trace, above), call in beneath.items() if (trace, above) not in mine and above]
    for row in await _stored(connection, mine):
        place = (row["trace_id"].hex, digits(row["parent_id"]))
        if place in mine:
            found.setdefault(place, str(row["id"]))
        else:
            strays.append((*place, str(row["id"])))
    wanted = {trace for trace, _ in mine}
    found |= await _returned(connection, mine)
    found |= await _through(connection, [each for each in strays if each[0] in wanted], mine, found)
    rest = [record for place, record in mine.items() if place not in found]
    found |= {
        (record.trace_id, record.span_id): call
        for told, call in (await answered(connection, rest, records, seal)).items()
        for record in rest
        if record.id == told
    }
    if found:
        await _link(connection, {mine[place].id: call for place, call in found.items()})
    return {mine[place].id for place in found}


async def _stored(connection: Connection, mine: Mapping[Place, Record]) -> list[dict[str, Any]]:
    starts = [record.started_ns for record in mine.values()]
    ends = [record.started_ns + record.latency_us * 1000 for record in mine.values()]
    low, high = _moment(min(starts)), min(_moment(max(ends)) + _APART, datetime.now(UTC) + _APART)
    traces = list({UUID(trace) for trace, _ in mine})
    cursor = await connection.execute(_BENEATH.encode(), (traces, floor_of(low - _APART), floor_of(max(high, low))))
    return await cursor.fetchall()


async def _through(
    connection: Connection,
    strays: Sequence[tuple[str, str, str]],
    mine: Mapping[Place, Record],
    found: Mapping[Place, str],
) -> dict[Place, str]:
    """Calls whose parent is no call but stands beneath one: the HTTP request that an instrumented client makes."""
    if not strays:
        return {}
    cursor = await connection.execute(
        _BETWEEN, (list({UUID(trace) for trace, _, _ in strays}), list({signed(above) for _, above, _ in strays}))
    )
    above = {(row["trace_id"].hex, digits(row["span_id"])): digits(row["parent_id"]) for row in await cursor.fetchall()}
    linked: dict[Place, str] = {}
    for trace, parent, call in strays:
        place = (trace, above.get((trace, parent), ""))
        if place in mine and place not in found:
            linked[place] = call
    return linked


async def _returned(connection: Connection, mine: Mapping[Place, Record]) -> dict[Place, str]:
    """Calls of this very house that were sent out as spans and came back."""
    told = {place: record for place, record in mine.items() if ORIGIN in record.tags}
    if not told:
        return {}
    ids = [record.tags[ORIGIN] for record in told.values()]
    cursor = await connection.execute(_OURS, ([each for each in ids if _UUID.fullmatch(each)],))
    ours = {str(row["id"]): row for row in await cursor.fetchall()}
    found: dict[Place, str] = {}
    for (trace, span), record in told.items():
        row = ours.get(record.tags[ORIGIN])
        # Who names another's call, or not its very span, tells of one of their own.
        if row is None or row["project_id"] != record.project_id:
            continue
        if (row["trace_id"].hex, digits(row["span_id"])) == (trace, span):
            found[trace, span] = record.tags[ORIGIN]
    return found


async def _link(connection: Connection, calls: Mapping[str, str]) -> None:
    ids: Iterable[str] = calls.keys()
    await connection.execute(_LINK, (list(ids), list(calls.values()), min(calls), max(calls)))


def _moment(at_ns: int) -> datetime:
    return datetime.fromtimestamp(at_ns / 1e9, UTC)
