"""Stores batches of calls, each in one transaction with the positions up to which the spool is drained."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date
from typing import Final

import psycopg

from loopwright.calls import rollup
from loopwright.calls.erase import Erasures
from loopwright.calls.intake import Batch
from loopwright.calls.payloads import Packer
from loopwright.calls.record import Record
from loopwright.calls.rows import COLUMNS, SeriesKey, day_of, series_of, started_at
from loopwright.calls.shaped import Shaped, Shaper
from loopwright.calls.silence import Silences
from loopwright.calls.slices import Slices
from loopwright.calls.touching import touched, traces_of
from loopwright.kit.db import Connection, Database
from loopwright.kit.seal import PLAIN, Seal
from loopwright.kit.settings import CallsSettings

_MOST_SERIES: Final = 50_000
_OTHER: Final = "(other)"
_DAY: Final = 86_400
_COPY_CALLS: Final = f"copy calls ({', '.join(name for name, _ in COLUMNS)}) from stdin (format binary)"
_COPY_TEXTS: Final = "copy call_payloads (day, block, body, sealed_by) from stdin (format binary)"
_ADD_SERIES: Final = """
    insert into call_series (project_id, operation, model, target, provider, task, variant, prompt_version)
    select * from unnest(%s::int[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
    on conflict do nothing
"""
_GET_SERIES: Final = """
    select s.* from call_series s
    join unnest(%s::int[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
        as w (project_id, operation, model, target, provider, task, variant, prompt_version)
    on s.project_id = w.project_id and s.operation = w.operation and s.model = w.model and s.target = w.target
        and s.provider = w.provider and s.task is not distinct from w.task
        and s.variant is not distinct from w.variant and s.prompt_version is not distinct from w.prompt_version
"""
_QUEUE: Final = "insert into call_unindexed (day, ids, blocks, sizes) values (%s, %s, %s, %s)"
_MOVE: Final = """
    insert into spool_positions as p (segment, position, finished)
    select * from unnest(%s::text[], %s::bigint[], %s::boolean[])
    on conflict (segment) do update
        set position = excluded.position, finished = excluded.finished, touched_at = now()
"""

Charge = Callable[[Connection, Sequence[tuple[str, Record]]], Awaitable[None]]
Doubles = Callable[[Connection, Sequence[Record]], Awaitable[set[str]]]


class Store:
    """The database side of the drain."""

    def __init__(
        self,
        db: Database,
        settings: CallsSettings,
        charge: Charge | None = None,
        seal: Seal = PLAIN,
        doubles: Doubles | None = None,
    ) -> None:
        """`charge` is told of the calls of each batch, with the worker of each, in the transaction that stores them.

        `doubles` says there which of them were told of twice: those are left out.
        """
        self._doubles = doubles
        self._seal = seal
        self._db = db
        self._charge = charge
        self._settings = settings
        self._shaper = Shaper(Packer(seal), settings.payloads)
        self._series: dict[SeriesKey, int] = {}
        self._slices = Slices(db)
        self._room: int | None = None
        """Series that may still be made."""
        self._days: set[date] = set()
        self._erasures = Erasures()
        self._silences = Silences()

    async def standing(self, names: Sequence[str]) -> tuple[dict[str, int], set[str], list[tuple[str, str, bytes]]]:
        """(positions, finished files, carried streams) as the database knows them for the files `names`.

        Raises:
            Unavailable: the database cannot answer now.
        """
        found = await self._db.rows("select * from spool_positions where segment = any(%s)", (list(names),))
        workers = list({name[:32] for name in names})
        carried = await self._db.rows("select * from spool_opened where worker = any(%s)", (workers,))
        return (
            {row["segment"]: row["position"] for row in found},
            {row["segment"] for row in found if row["finished"]},
            [(str(row["id"]), row["worker"], bytes(row["record"])) for row in carried],
        )

    async def store(self, batch: Batch) -> int:
        """Store `batch` whole or not at all; how many calls were new.

        Raises:
            Unavailable: the database cannot answer now; whether the batch was stored, its positions tell.
            psycopg.DataError: something in the batch cannot be stored.
        """
        records = list({entry.record.id: entry.record for entry in batch.entries}.values())
        try:
            return await self._store(batch, records)
        except psycopg.errors.UniqueViolation:
            # Some are on record already: a spool file or a database came back from a copy. They count once.
            known = await self._db.rows(
                "select id from calls where id = any(%s::uuid[])", ([record.id for record in records],)
            )
            gone = {str(row["id"]) for row in known}
            return await self._store(batch, [record for record in records if record.id not in gone])

    async def open_days(self, days: set[date]) -> None:
        """Make the partitions of `days`.

        Raises:
            Unavailable: the database cannot answer now.
        """
        for day in sorted(days - self._days):
            await self._db.run("select calls_open_day(%s)", (day,))
            self._days.add(day)

    def forget_days(self) -> None:
        """Look again whether partitions and slices exist: retention may have dropped some."""
        self._days.clear()
        self._slices.forget()

    async def _store(self, batch: Batch, records: list[Record]) -> int:
        series = await self._series_of(records)
        slices = await self._slices.ids_of(records)
        await self.open_days({day for record in records for day in (day_of(record.id), started_at(record).date())})
        block = await self._db.row("select nextval('call_blocks') as block") if records else None
        async with self._db.transaction() as connection:
            shaped = None
            if block is not None:
                if await self._erasures.hold(connection):
                    self._slices.forget()
                if any(record.cache_key is not None for record in records):
                    await self._silences.hold(connection)
                    records = [self._silences.heard(record) for record in records]
                if self._doubles is not None and (twice := await self._doubles(connection, records)):
                    records = [record for record in records if record.id not in twice]
                shaped = await asyncio.to_thread(self._shape, records, series, slices, block["block"])
                await self._insert(connection, shaped)
                await touched(connection, traces_of(records), [record.id for record in records])
                if self._charge is not None:
                    workers = {entry.record.id: entry.segment[:32] for entry in batch.entries}
                    await self._charge(connection, [(workers[record.id], record) for record in records])
            await self._move(connection, batch)
        return 0 if shaped is None else len(shaped.rows)

    def _shape(
        self,
        records: list[Record],
        series: Mapping[str, int],
        slices: Mapping[str, Sequence[int]],
        block: int,
    ) -> Shaped:
        erased: Callable[[Record], bool] = self._erasures.covers if self._erasures else _nothing
        return self._shaper.shape(records, series, slices, first_block=block, erased=erased)

    async def _insert(self, connection: Connection, shaped: Shaped) -> None:
        async with connection.cursor() as cursor:
            async with cursor.copy(_COPY_CALLS) as copy:
                copy.set_types([kind for _, kind in COLUMNS])
                for row in shaped.rows:
                    await copy.write_row(row)
            async with cursor.copy(_COPY_TEXTS) as copy:
                copy.set_types(["date", "int8", "bytea", "text"])
                for texts in shaped.texts:
                    for block, body in texts.bodies:
                        await copy.write_row((texts.day, block, body, self._seal.first))
        if self._settings.full_text:
            await connection.cursor().executemany(_QUEUE, [line for texts in shaped.texts for line in texts.queued()])
        if shaped.tally is not None:
            fine_from = int(time.time()) // _DAY * _DAY - (rollup.FINE_DAYS - 1) * _DAY
            await rollup.add(connection, shaped.tally, fine_from=fine_from)

    async def _move(self, connection: Connection, batch: Batch) -> None:
        names = list(batch.positions)
        finished = [name in batch.finished for name in names]
        await connection.execute(_MOVE, (names, list(batch.positions.values()), finished))
        if batch.closed:
            await connection.execute("delete from spool_opened where id = any(%s::uuid[])", (batch.closed,))
        if batch.carried:
            await connection.execute(
                """insert into spool_opened (id, worker, record)
                   select * from unnest(%s::uuid[], %s::text[], %s::bytea[]) on conflict do nothing""",
                tuple(list(column) for column in zip(*batch.carried, strict=True)),
            )

    async def _series_of(self, records: Sequence[Record]) -> Mapping[str, int]:
        """The series of each record, by its id."""
        if len(self._series) > 2 * _MOST_SERIES:
            self._series = {}
        keys = {record.id: series_of(record) for record in records}
        unknown = set(keys.values()) - self._series.keys()
        if unknown:
            if self._room is None:
                counted = await self._db.row("select count(*) as series from call_series")
                self._room = _MOST_SERIES - (counted["series"] if counted else 0)
            # Names come from clients: however many one makes up, the table stays small.
            named = {
                key: key if index < self._room else _crowded(key) for index, key in enumerate(sorted(unknown, key=str))
            }
            self._room -= len(named)
            columns = tuple(list(column) for column in zip(*set(named.values()), strict=True))
            await self._db.run(_ADD_SERIES, columns)
            for row in await self._db.rows(_GET_SERIES, columns):
                self._series[SeriesKey(**{name: row[name] for name in SeriesKey._fields})] = row["id"]
            self._series |= {key: self._series[name] for key, name in named.items()}
        return {record_id: self._series[key] for record_id, key in keys.items()}


def _crowded(key: SeriesKey) -> SeriesKey:
    return key._replace(model=_OTHER, target="", task=None, variant=None, prompt_version=None)


def _nothing(_: Record) -> bool:
    return False
