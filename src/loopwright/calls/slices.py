"""What calls have in common beside their series: tags, clients, codes of errors; each a slice with roll-ups of its own.

Values come from clients, so there is room for so many of each; those that come later are counted together.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from loopwright.calls.record import Record
from loopwright.calls.rows import NAME_BYTES, clean, clipped
from loopwright.core.notes import CASCADE, SAVED_USD, WASTED, WASTED_USD
from loopwright.kit.db import Connection, Database

TAG: Final = "tag"
CLIENT: Final = "client"
ERROR: Final = "error"
CACHE: Final = "loopwright.cache"
MOST_NAMES: Final = 30
"""Names of tags of a project that are sliced; the first ones that come."""
MOST_VALUES: Final = 300
"""Values of a name, clients, codes of a project; the first ones that come, the rest are one slice."""
_OURS: Final = frozenset({CACHE, CASCADE, WASTED})
"""Of the tags of the house, those that are labels: the others hold amounts, ids and reasons."""
_AMOUNT: Final = re.compile(r"-?[0-9]{1,9}(\.[0-9]{1,9})?")
_ADD: Final = """
    insert into call_slices (project_id, kind, name, value)
    select * from unnest(%s::int[], %s::text[], %s::text[], %s::text[]) on conflict do nothing
"""
_GET: Final = """
    select s.* from call_slices s join unnest(%s::int[], %s::text[], %s::text[], %s::text[]) as w (project_id, kind, name, value)
    on s.project_id = w.project_id and s.kind = w.kind and s.name = w.name and s.value is not distinct from w.value
"""
_MOST_HELD: Final = 200_000
_MOST_ALIKE: Final = 20_000
_ROLLUPS: Final = ("call_slice_rollups_5m", "call_slice_rollups_1h", "call_slice_rollups_1d")


class SliceKey(NamedTuple):
    """One slice of a project."""

    project_id: int
    kind: str
    name: str
    value: str | None
    """None: whatever there was no room for."""


def slices_of(record: Record) -> Iterator[SliceKey]:
    """The slices a record would be in were there room for all."""
    project = record.project_id
    yield SliceKey(project, CLIENT, "", clipped(record.client))
    if record.error_code is not None:
        yield SliceKey(project, ERROR, "", clipped(record.error_code))
    for name, value in record.tags.items():
        if name.startswith("loopwright.") and name not in _OURS:
            continue
        name, value = clean(name), clean(value)  # noqa: PLW2901
        if len(name.encode("utf-8", "replace")) > NAME_BYTES:
            continue
        short = len(value) * 4 <= NAME_BYTES or len(value.encode("utf-8", "replace")) <= NAME_BYTES
        yield SliceKey(project, TAG, name, value if short else None)


def saved_by(record: Record) -> tuple[int, int, int, int]:
    """(hits of the cache, nanodollars it saved, a cascade saved, were wasted), as the tags of a call tell."""
    tags = record.tags
    if not tags:
        return (0, 0, 0, 0)
    hit = tags.get(CACHE) in ("hit", "semantic-hit")
    saved = _nano(tags.get(SAVED_USD))
    return (
        int(hit),
        saved if hit else 0,
        saved if not hit and tags.get(CASCADE) == "kept" else 0,
        _nano(tags.get(WASTED_USD)),
    )


def _nano(amount: str | None) -> int:
    """Tags of these names could come from a client: what is no amount counts as nothing."""
    if amount is None or not _AMOUNT.fullmatch(amount):
        return 0
    return int(Decimal(amount) * 1_000_000_000)


class Slices:
    """The ids of slices, made as they are met. For the drain."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._ids: dict[SliceKey, int | None] = {}
        """Only what was met lately: retention takes slices that nobody met for long."""
        self._alike: dict[tuple[object, ...], list[int]] = {}
        """The slices of records that are alike, which most are."""
        self._room: dict[tuple[int, str, str], int] | None = None
        """Values that each name still has room for."""

    def forget(self) -> None:
        """Ask the database again: some may be gone, and there may be room."""
        self._ids = {}
        self._alike = {}
        self._room = None

    async def ids_of(self, records: Sequence[Record]) -> Mapping[str, Sequence[int]]:
        """By id of each record the slices that it is counted in; names for which there is no room are left out.

        Raises:
            Unavailable: the database cannot answer now.
        """
        if len(self._ids) > _MOST_HELD:
            self._ids = {}
        if len(self._alike) > _MOST_ALIKE:
            self._alike = {}
        marks = [
            (record.project_id, record.client, record.error_code, *record.tags.items()) if record.tags
            else (record.project_id, record.client, record.error_code)
            for record in records
        ]  # fmt: skip
        new = {mark: record for mark, record in zip(marks, records, strict=True) if mark not in self._alike}
        keys = {mark: list(slices_of(record)) for mark, record in new.items()}
        unknown = {key for some in keys.values() for key in some} - self._ids.keys()
        if unknown:
            await self._get(unknown)
            missing = unknown - self._ids.keys()
            if missing:
                await self._make(missing)
        known = self._ids
        for mark, some in keys.items():
            # Two tags cannot share a slice: it knows their name.
            self._alike[mark] = [found for key in some if (found := known[key]) is not None]
        return {record.id: self._alike[mark] for mark, record in zip(marks, records, strict=True)}

    async def _get(self, wanted: Collection[SliceKey]) -> None:
        if wanted:
            for row in await self._db.rows(_GET, _columns(wanted)):
                self._ids[SliceKey(*(row[name] for name in SliceKey._fields))] = row["id"]

    async def _make(self, missing: Collection[SliceKey]) -> None:
        if self._room is None:
            counted = await self._db.rows(
                "select project_id, kind, name, count(value)::int as size from call_slices group by 1, 2, 3"
            )
            self._room = {(row["project_id"], row["kind"], row["name"]): MOST_VALUES - row["size"] for row in counted}
        placed = {key: self._placed(key) for key in sorted(missing, key=str)}
        wanted = {key for key in placed.values() if key is not None and key not in self._ids}
        if wanted:
            await self._db.run(_ADD, _columns(wanted))
            await self._get(wanted)
        self._ids |= {key: None if name is None else self._ids[name] for key, name in placed.items()}

    def _placed(self, key: SliceKey) -> SliceKey | None:
        assert self._room is not None
        which = key[:3]
        left = self._room.get(which)
        if left is None:
            if sum(project == key.project_id and kind == key.kind for project, kind, _ in self._room) >= MOST_NAMES:
                return None
            left = MOST_VALUES
        if key.value is None or left <= 0:
            self._room[which] = left
            return key._replace(value=None)
        self._room[which] = left - 1
        return key


def _columns(keys: Collection[SliceKey]) -> tuple[list[object], ...]:
    return tuple(list(column) for column in zip(*keys, strict=True))


async def forget_slice(connection: Connection, project_id: int | None, name: str, value: str) -> None:
    """Take away the slice of a tag with its roll-ups: who deletes its calls wants no trace of its name."""
    cursor = await connection.execute(
        """delete from call_slices where kind = 'tag' and name = %s and value = %s and (%s::int is null or project_id = %s)
           returning id""",
        (name, value, project_id, project_id),
    )
    gone = [row["id"] for row in await cursor.fetchall()]
    if gone:
        for table in _ROLLUPS:
            await connection.execute(f"delete from {table} where slice_id = any(%s)".encode(), (gone,))  # noqa: S608


async def retain_slices(db: Database, before: datetime, hours_before: datetime) -> None:
    """Drop roll-ups of slices from before then, and the names of slices that have none left.

    Raises:
        Unavailable: the database cannot answer now.
    """
    await db.run("delete from call_slice_rollups_1h where bucket < %s", (hours_before,))
    await db.run("delete from call_slice_rollups_1d where bucket < %s", (before,))
    await db.run(
        """delete from call_slices s
           where not exists (select from call_slice_rollups_1d r where r.slice_id = s.id)
             and not exists (select from call_slice_rollups_1h r where r.slice_id = s.id)
             and s.made_at < now() - interval '2 hours'"""
    )
