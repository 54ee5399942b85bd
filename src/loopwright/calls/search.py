"""Finds calls by their words, newest first: candidates from the word index and the queue before it, checked on the texts.

The index knows each call's words, so a word that is rare costs a few row reads and words that seldom meet are
intersected before any text is read. Texts decide in the end: about phrases, and about hashes that collide.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from loopwright.calls.pages import Condition, among, blocks_of, newest, opened
from loopwright.calls.payloads import Packer
from loopwright.calls.postings import bucket_of, lookup
from loopwright.calls.question import CallFilter
from loopwright.calls.words import Phrase, hash_of, holds, phrases_of
from loopwright.kit.db import Database
from loopwright.kit.seal import PLAIN, Seal

_BUDGET: Final = 2.0
"""Seconds after which a search returns what it has."""
_DIRECT: Final = 500
"""When the rest of the filter leaves at most this many calls, their texts are read without the index."""
_LEAST_CHECKED: Final = 16
"""Candidates whose texts are read at once; more where more are wanted, or where few of those before held what is looked for."""
_MOST_CHECKED: Final = 512
_GROUPS: Final = 2
"""Groups asked at once, at first; four times as many when they come to little, all of them when they come to nothing."""
_MOST_GROUPS: Final = 64
_RESOLVED: Final = 64
"""Calls of a group whose ids are read at once, at first; four times as many when they come to little."""
_THREAD_ROWS: Final = 8
"""Texts of more calls than this are read in a thread."""
_LATEST_DAY: Final = date(9999, 12, 31)


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found."""

    rows: list[dict[str, Any]]
    """Newest first."""
    searched_to: str | None
    """Everything newer than this id was looked at; None when everything was."""


class _MovedError(Exception):
    """A group is no longer where it was."""


async def find(db: Database, asked: CallFilter, condition: Condition, limit: int, seal: Seal = PLAIN) -> Found:
    """The newest `limit` calls under `condition` that hold `asked.text`; what `seal` cannot open holds nothing.

    Raises:
        BadRequest: there is no word in the text.
        Unavailable: the database cannot answer now.
    """
    phrases = phrases_of(asked.text or "")
    packer = Packer(seal)
    if _narrow(asked):
        rows = await newest(db, condition, _DIRECT + 1)
        if len(rows) <= _DIRECT:
            found = await _verified(db, rows, phrases, packer)
            return Found(found[:limit], None)
    deadline = time.monotonic() + _BUDGET
    while True:
        try:
            return await _through_index(db, condition, phrases, limit, packer, deadline)
        except _MovedError:
            # A group was merged into another meanwhile: look where it went.
            await asyncio.sleep(0)


async def _through_index(
    db: Database, condition: Condition, phrases: Sequence[Phrase], limit: int, packer: Packer, deadline: float
) -> Found:
    found: list[dict[str, Any]] = []
    checked = 0
    async with aclosing(_candidates(db, condition, phrases, packer.seal)) as runs:
        async for ids in runs:
            start = 0
            while start < len(ids):
                # As many as will do if they hold it as often as those before.
                wanted = math.ceil((limit - len(found)) * (checked + 1) / (len(found) + 1))
                some = ids[start : start + min(max(wanted, _LEAST_CHECKED), _MOST_CHECKED)]
                rows = await among(db, condition, some)
                found += await _verified(db, rows, phrases, packer)
                checked, start = checked + len(some), start + len(some)
                if len(found) >= limit:
                    return Found(found[:limit], None)
                if time.monotonic() > deadline:
                    return Found(found, str(some[-1]))
    return Found(found, None)


def _narrow(asked: CallFilter) -> bool:
    given = (
        asked.key_id, asked.outcome, asked.error_code, asked.task, asked.session, asked.tags or None, asked.min_cost_nano,
        asked.min_latency_ms, asked.model,
    )  # fmt: skip
    return any(value is not None for value in given)


async def _verified(
    db: Database, rows: Sequence[dict[str, Any]], phrases: Sequence[Phrase], packer: Packer
) -> list[dict[str, Any]]:
    stored = await blocks_of(db, rows)

    def check() -> list[dict[str, Any]]:
        texts = opened(rows, stored, packer)
        return [row for row in rows if row["id"] in texts and holds(texts[row["id"]], phrases)]

    return await asyncio.to_thread(check) if len(rows) > _THREAD_ROWS else check()


@dataclass(slots=True)
class _Source:
    """Some calls with an order: a group of the index, or the queue before it."""

    last: UUID
    """None of what is still to come from here is newer."""
    group: dict[str, Any] | None
    ids: list[UUID]
    slots: list[int] | None = None
    """Which calls of the group are still to come, rising; None: not looked up yet."""
    step: int = _RESOLVED


async def _candidates(
    db: Database, condition: Condition, phrases: Sequence[Phrase], seal: Seal
) -> AsyncGenerator[list[UUID], None]:
    """Ids of calls that may hold the phrases, newest first, in runs that overlap no other."""
    low, high = _bounds(condition)
    sources = await _sources(db, low, high)
    words = _hashes(phrases, sources, seal)
    waiting: list[UUID] = []
    size = _GROUPS
    while sources:
        chunk, sources = sources[:size], sources[size:]
        groups = [source for source in chunk if source.group is not None]
        await _look_up(db, [source for source in groups if source.slots is None], words)
        waiting += await _resolved(db, groups)
        for source in chunk:
            waiting += source.ids
        size = min(size * 4, _MOST_GROUPS) if waiting else _MOST_GROUPS
        sources = sorted(sources + [one for one in groups if one.slots], key=lambda one: one.last, reverse=True)
        # What is newer than everything in the sources to come is in its final order.
        edge = sources[0].last if sources else None
        ready = sorted((one for one in waiting if edge is None or one > edge), reverse=True)
        waiting = [] if edge is None else [one for one in waiting if one <= edge]
        ready = [one for one in ready if low <= one < high]
        if ready:
            yield ready


def _hashes(phrases: Sequence[Phrase], sources: Sequence[_Source], seal: Seal) -> dict[str | None, list[int]]:
    """The words as each group knows them, by the key they are hashed under; a key that is not here is left out."""
    found: dict[str | None, list[int]] = {}
    for blind in {source.group["blind"] for source in sources if source.group is not None}:
        secret = None if blind is None else seal.blind(blind)
        if blind is None or secret is not None:
            found[blind] = sorted({hash_of(word, secret) for phrase in phrases for word in phrase})
    return found


async def _sources(db: Database, low: UUID, high: UUID) -> list[_Source]:
    """Where candidates can come from within [low, high), the one with the newest call first."""
    first_day, last_day = _day(low), _day(high)
    # One statement, one snapshot: a call moves from the queue to a group in a transaction and is seen in one of them.
    rows = await db.rows(
        """select day, group_id, bits, blind, first_id, last_id, null::bytea as ids from call_groups
           where day between %(first)s and %(last)s and last_id >= %(low)s and first_id < %(high)s
           union all
           select day, batch, 0, null, null, null, ids from call_unindexed where day between %(first)s and %(last)s""",
        {"first": first_day, "last": last_day, "low": low, "high": high},
        binary=True,
    )
    sources = []
    for row in rows:
        if row["ids"] is None:
            sources.append(_Source(row["last_id"], row, []))
        else:
            data = row["ids"]
            ids = sorted(UUID(bytes=data[start : start + 16]) for start in range(0, len(data), 16))
            sources.append(_Source(ids[-1], None, ids))
    return sorted(sources, key=lambda source: source.last, reverse=True)


async def _look_up(db: Database, sources: Sequence[_Source], words: Mapping[str | None, list[int]]) -> None:
    """Find which calls of groups have all `words`, given as each group knows them."""
    asked = {(source.group["day"], source.group["group_id"]): source for source in sources if source.group is not None}
    if not asked:
        return
    wanted = [
        (day, number, bucket_of(word, source.group["bits"]), word)
        for (day, number), source in asked.items()
        if source.group is not None
        for word in words.get(source.group["blind"], ())
    ]
    numbers: dict[tuple[date, int], list[NDArray[np.int64]]] = {}
    if wanted:
        rows = await db.rows(
            """select w.at, p.body from unnest(%s::date[], %s::bigint[], %s::int[]) with ordinality w (day, group_id, bucket, at)
               join call_postings p on p.day = w.day and p.group_id = w.group_id and p.bucket = w.bucket""",
            tuple(list(column) for column in zip(*wanted, strict=True))[:3],
            binary=True,
        )
        absent = set(range(len(wanted)))
        for row in rows:
            at = row["at"] - 1
            absent.discard(at)
            day, number, _, word = wanted[at]
            numbers.setdefault((day, number), []).append(lookup(row["body"], word))
        if absent:
            # Either no word of the group is in that bucket, or the group was merged into another meanwhile.
            await _still_there(db, list({wanted[at][:2] for at in absent}))
    for key, source in asked.items():
        lists = sorted(numbers.get(key, []), key=len)
        source.slots = []
        if lists and source.group is not None and len(lists) == len(words[source.group["blind"]]):
            source.slots = _common(lists).tolist()


def _common(lists: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """What is in all of some rising lists, the shortest first."""
    common = lists[0]
    for other in lists[1:]:
        if not len(common):
            break
        there = np.zeros(max(int(common[-1]), int(other[-1])) + 1, dtype=np.bool_)
        there[other] = True
        common = common[there[common]]
    return common


async def _still_there(db: Database, groups: Sequence[tuple[date, int]]) -> None:
    row = await db.row(
        """select count(*) as there from unnest(%s::date[], %s::bigint[]) w (day, group_id)
           join call_groups g on g.day = w.day and g.group_id = w.group_id""",
        ([day for day, _ in groups], [number for _, number in groups]),
    )
    if row is None or row["there"] < len(groups):
        raise _MovedError


async def _resolved(db: Database, sources: Sequence[_Source]) -> list[UUID]:
    """The ids of the newest calls still to come from groups, which then come no more."""
    days: list[date] = []
    groups: list[int] = []
    slots: list[int] = []
    for source in sources:
        if source.group is not None and source.slots:
            taken, source.slots = source.slots[-source.step :], source.slots[: -source.step]
            source.step *= 4
            days += [source.group["day"]] * len(taken)
            groups += [source.group["group_id"]] * len(taken)
            slots += taken
    if not slots:
        return []
    rows = await db.rows(
        """select w.day, w.group_id, substring(g.ids from w.slot * 16 + 1 for 16) as id
           from unnest(%s::date[], %s::bigint[], %s::int[]) w (day, group_id, slot)
           join call_groups g on g.day = w.day and g.group_id = w.group_id""",
        (days, groups, slots),
        binary=True,
    )
    if len(rows) < len(slots):
        raise _MovedError
    oldest: dict[tuple[date, int], UUID] = {}
    ids: list[UUID] = []
    for row in rows:
        one = UUID(bytes=row["id"])
        ids.append(one)
        key = (row["day"], row["group_id"])
        oldest[key] = min(one, oldest.get(key, one))
    for source in sources:
        if source.group is not None:
            # Numbers rise with ids: what is left is older still.
            source.last = oldest.get((source.group["day"], source.group["group_id"]), source.last)
    return ids


def _bounds(condition: Condition) -> tuple[UUID, UUID]:
    """The ids a condition allows, as [low, high)."""
    params = condition.params
    low = max((UUID(params[name]) for name in ("since", "after") if name in params), default=UUID(int=0))
    high = min((UUID(params[name]) for name in ("until", "before") if name in params), default=UUID(int=2**128 - 1))
    return low, high


def _day(call_id: UUID) -> date:
    milliseconds = call_id.int >> 80
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).date()
    except (ValueError, OverflowError, OSError):
        return _LATEST_DAY
