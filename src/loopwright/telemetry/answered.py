"""Which call of the gateway a program's span tells of, by the id of the answer: for spans that share no trace with it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec

from loopwright.calls.answer import read
from loopwright.calls.pages import opened
from loopwright.calls.payloads import Packer
from loopwright.calls.record import Record
from loopwright.calls.rows import day_of
from loopwright.calls.touching import OUTSIDE
from loopwright.kit.db import Connection
from loopwright.kit.ids import floor_of
from loopwright.kit.seal import Seal

_APART: Final = timedelta(seconds=5)
"""By which clocks may differ: a call lies between begin and end of the span that tells of it."""
_MOST: Final = 2_000
"""Calls of one stretch of time that are looked at."""
_OPENED: Final = 256
"""Calls whose answers are read."""
_UUID: Final = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_OWN: Final = "select id::text, project_id from calls where id = any(%s::uuid[]) and not starts_with(client, %s)"
_NEAR: Final = """
    select f.* from unnest(%s::uuid[], %s::uuid[]) w (low, high) cross join lateral (
        select c.id, c.project_id, c.input_tokens, c.output_tokens, c.block, c.slot from calls c
        where c.id >= w.low and c.id < w.high and c.project_id = any(%s) and not starts_with(c.client, %s)
        order by c.id limit %s
    ) f
"""
_BLOCKS: Final = """
    select p.day, p.block, p.body from unnest(%s::date[], %s::bigint[]) w (day, block)
    join call_payloads p on p.day = w.day and p.block = w.block
"""
_Alike = tuple[int, str]
"""(project, id of an answer)."""


async def answered(
    connection: Connection, told: Sequence[Record], records: Sequence[Record], seal: Seal
) -> dict[str, str]:
    """Ids of the calls of the gateway, on record or among `records`, whose answers `told` tell of; by the id of the latter.

    An id is no name of one answer for ever (upstreams may number from one), so the time must fit, and the tokens where
    both know them.
    """
    asked = [each for each in told if each.answer_id]
    if not asked:
        return {}
    found = await _own(connection, asked)
    rest = [each for each in asked if each.id not in found]
    projects = {each.project_id for each in rest}
    here = [each for each in records if not each.observed and each.project_id in projects]
    found |= _among(rest, ((each.id, each, _id_of(read(each.answer, stream=each.stream).body)) for each in here))
    rest = [each for each in rest if each.id not in found]
    if rest:
        found |= _among(rest, await _stored(connection, rest, seal))
    return found


async def _own(connection: Connection, asked: Sequence[Record]) -> dict[str, str]:
    """Answers of ours whose ids hold the id of their call."""
    named = {each.id: ids[0] for each in asked if (ids := _UUID.findall(each.answer_id or ""))}
    if not named:
        return {}
    cursor = await connection.execute(_OWN, (list(named.values()), OUTSIDE))
    project = {row["id"]: row["project_id"] for row in await cursor.fetchall()}
    return {each.id: named[each.id] for each in asked if project.get(named.get(each.id, "")) == each.project_id}


async def _stored(
    connection: Connection, asked: Sequence[Record], seal: Seal
) -> list[tuple[str, Mapping[str, Any], str | None]]:
    """Calls on record of the times of `asked` that may be theirs, with the ids of their answers."""
    lows, highs = zip(*_stretches(asked), strict=True)
    projects = list({each.project_id for each in asked})
    cursor = await connection.execute(
        _NEAR, ([floor_of(low) for low in lows], [floor_of(high) for high in highs], projects, OUTSIDE, _MOST)
    )
    alike = {(each.project_id, *_tokens(each)) for each in asked}
    projects_any = {each.project_id for each in asked if _tokens(each) == (0, 0)}
    rows = [
        row
        for row in await cursor.fetchall()
        if row["block"] is not None
        and (
            row["project_id"] in projects_any or (row["project_id"], row["input_tokens"], row["output_tokens"]) in alike
        )
    ][:_OPENED]
    places = list({(day_of(str(row["id"])), row["block"]) for row in rows})
    if not places:
        return []
    cursor = await connection.execute(_BLOCKS, ([day for day, _ in places], [block for _, block in places]))
    stored = {(line["day"], line["block"]): bytes(line["body"]) for line in await cursor.fetchall()}
    texts = opened(rows, stored, Packer(seal))
    return [(str(row["id"]), row, _id_of(texts[row["id"]].response)) for row in rows if row["id"] in texts]


def _stretches(asked: Sequence[Record]) -> list[tuple[datetime, datetime]]:
    """The times of `asked` and a little more, those that overlap as one."""
    merged: list[tuple[datetime, datetime]] = []
    for low, high in sorted(_times(each) for each in asked):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return merged


def _among(
    asked: Sequence[Record], calls: Iterable[tuple[str, Record | Mapping[str, Any], str | None]]
) -> dict[str, str]:
    """Of each of `asked` the call that answered it."""
    wanted: dict[_Alike, list[Record]] = {}
    for each in asked:
        wanted.setdefault((each.project_id, each.answer_id or ""), []).append(each)
    found: dict[str, str] = {}
    for call_id, call, answer_id in calls:
        project, tokens = _facts(call)
        began = UUID(call_id)
        for each in wanted.get((project, answer_id or ""), ()):
            low, high = _times(each)
            alike = _tokens(each) in ((0, 0), tokens)
            if alike and each.id not in found and UUID(floor_of(low)) <= began < UUID(floor_of(high)):
                found[each.id] = call_id
    return found


def _facts(call: Record | Mapping[str, Any]) -> tuple[int, tuple[int, int]]:
    if isinstance(call, Record):
        return call.project_id, _tokens(call)
    return call["project_id"], (call["input_tokens"], call["output_tokens"])


def _tokens(record: Record) -> tuple[int, int]:
    return record.input_tokens, record.output_tokens


def _times(record: Record) -> tuple[datetime, datetime]:
    began = datetime.fromtimestamp(record.started_ns / 1e9, UTC)
    return began - _APART, began + timedelta(microseconds=record.latency_us) + _APART


class _Named(msgspec.Struct):
    id: str | None = None


_named: Final = msgspec.json.Decoder(_Named)


def _id_of(answer: bytes) -> str | None:
    try:
        return _named.decode(answer).id if answer else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
