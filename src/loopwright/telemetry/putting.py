"""Puts spans and logs: rows by COPY, texts in blocks, calls into the spool, in one transaction. What is put is durable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final, Protocol

import psycopg

from loopwright.calls.erase import LOCK, Erasures
from loopwright.calls.record import Record
from loopwright.calls.touching import TOUCH, touches
from loopwright.core.errors import Unavailable
from loopwright.kit.db import Connection, Database
from loopwright.kit.seal import PLAIN, Seal
from loopwright.telemetry.packing import BLOCK_BYTES, BLOCK_TEXTS, Packer, Said, about
from loopwright.telemetry.rows import COLUMNS, row_of
from loopwright.telemetry.span import Span
from loopwright.telemetry.taking import Step

_COPY_SPANS: Final = f"copy spans ({', '.join(name for name, _ in COLUMNS)}) from stdin (format binary)"
_REST: Final = f"""
    with texts as (
        insert into span_texts (day, block, body, sealed_by)
        select day, block, body, %s::text
        from unnest(%s::date[], %s::bigint[], %b::bytea[]) as t (day, block, body)
    )
    {TOUCH}
"""  # noqa: S608  (a constant)
_COPY_TEXTS: Final = "copy span_texts (day, block, body, sealed_by) from stdin (format binary)"
_STEP: Final = 1000
"""Blocks that one step of the sequence is worth: see 001_spans.sql."""
_TRIES: Final = 3


class Spooling(Protocol):
    """Where calls go."""

    def write(self, record: Record) -> None:
        """Append; raises Unavailable when it cannot."""
        ...


@dataclass(slots=True)
class Packed:
    """Texts in blocks, and where each of them lies."""

    blocks: list[tuple[date, int, bytes]] = field(default_factory=list)
    places: list[tuple[int | None, int]] = field(default_factory=list)
    """(block, slot) of each item, in the order of the items."""


class Blocks:
    """Packs texts and numbers blocks. For one request at a time."""

    __slots__ = ("_end", "_next", "packer")

    def __init__(self, seal: Seal) -> None:
        self.packer = Packer(seal)
        self._next = self._end = 0

    async def numbers(self, connection: Connection, most: int) -> int:
        """The first of `most` numbers that nobody else has."""
        while self._end - self._next < most:
            cursor = await connection.execute("select nextval('span_blocks') as first")
            row = await cursor.fetchone()
            assert row is not None
            if row["first"] != self._end:  # Another has taken some between: what was left of ours is left out.
                self._next = row["first"]
            self._end = row["first"] + _STEP
        first = self._next
        self._next += most
        return first

    def pack(self, items: Sequence[tuple[date, bytes | None]], first: int) -> Packed:
        """Put encoded texts into blocks numbered from `first`, those of a day together; None is none."""
        packed = Packed(places=[(None, 0)] * len(items))
        days: dict[date, list[int]] = {}
        for index, (day, text) in enumerate(items):
            if text is not None:
                days.setdefault(day, []).append(index)
        block = first
        for day, members in days.items():
            some: list[bytes] = []
            size = 0
            for last, index in enumerate(members, 1):
                text = items[index][1] or b""
                packed.places[index] = (block, len(some))
                some.append(text)
                size += len(text)
                if len(some) >= BLOCK_TEXTS or size >= BLOCK_BYTES or last == len(members):
                    packed.blocks.append((day, block, self.packer.pack(some, about(day, block))))
                    some, size, block = [], 0, block + 1
        return packed


class Putter:
    """Puts what one process takes in. Any number of requests at once."""

    def __init__(self, db: Database, spool: Spooling, seal: Seal = PLAIN) -> None:
        self._db = db
        self._spool = spool
        self._seal = seal
        self._days: set[date] = set()
        self._erasures = Erasures()
        self._free: list[Blocks] = []

    async def put(self, steps: Sequence[Step], key_id: int) -> int:
        """Store spans, and their calls in the spool; how many were new. Once this returns, no death of a process loses them.

        Raises:
            Unavailable: the database cannot answer now, or the spool has no room. Sending them again does no harm.
        """
        left = list(steps)
        for _ in range(_TRIES):
            if not left:
                return 0
            await self.open_days({step.day for step in left})
            try:
                return await self._put(left, key_id)
            except psycopg.errors.UniqueViolation:
                known = await self._db.rows(
                    "select id from spans where id = any(%s::uuid[])", ([step.id for step in left],)
                )
                gone = {str(row["id"]) for row in known}
                left = [step for step in left if step.id not in gone]
            except psycopg.errors.CheckViolation:  # retention has dropped a day meanwhile
                self._days.clear()
        raise Unavailable("the same spans are being stored by others: send them again", retry_after=1.0)

    async def open_days(self, days: Collection[date]) -> None:
        """Make the partitions of `days`.

        Raises:
            Unavailable: the database cannot answer now.
        """
        for day in sorted(set(days) - self._days):
            await self._db.run("select spans_open_day(%s)", (day,))
            self._days.add(day)

    async def put_texts(
        self,
        items: Sequence[tuple[date, Said]],
        statement: str,
        kinds: Sequence[str],
        rows_of: Callable[[Packed], Iterable[Sequence[Any]]],
    ) -> None:
        """Store texts, and by COPY the rows that name their places.

        Raises:
            Unavailable: the database cannot answer now.
            psycopg.errors.UniqueViolation: some rows are there already; nothing is stored then.
        """
        await self.open_days({day for day, _ in items})
        async with self._db.transaction() as connection:
            await connection.execute("select pg_advisory_xact_lock_shared(%s)", (LOCK,))
            packed = await self._packed(connection, items)
            await _copy(connection, statement, kinds, rows_of(packed))
            await self._copy_texts(connection, packed)

    async def _put(self, steps: list[Step], key_id: int) -> int:
        async with self._db.transaction() as connection:
            await self._erasures.hold(connection)
            kept = [step for step in steps if not (self._erasures and self._erased(step, key_id))]
            packed = await self._packed(connection, [(step.day, said_of(step, self._seal)) for step in kept])
            wordless = bool(self._seal)
            rows = [
                row_of(
                    step.span,
                    row_id=step.id,
                    key_id=key_id,
                    block=block,
                    slot=slot,
                    tags=step.tags,
                    wordless=wordless or not step.texts,
                )
                for step, (block, slot) in zip(kept, packed.places, strict=True)
            ]
            await _copy(connection, _COPY_SPANS, [kind for _, kind in COLUMNS], rows)
            days, numbers, bodies = zip(*packed.blocks, strict=True) if packed.blocks else ((), (), ())
            traces = {(step.span.project_id, step.span.trace_id) for step in kept}
            noted = touches(traces, [step.id for step in kept])
            await connection.execute(_REST.encode(), (self._seal.first, [*days], [*numbers], [*bodies], *noted))
            # Last: whoever is killed before the commit has calls that their repetition makes again, by the same ids.
            for step in kept:
                if step.record is not None:
                    self._spool.write(step.record)
        return len(kept)

    def _erased(self, step: Step, key_id: int) -> bool:
        record = step.record or _shade(step.span, step.id, key_id, step.tags)
        return self._erasures.covers(record)

    async def _packed(self, connection: Connection, items: Sequence[tuple[date, Said | None]]) -> Packed:
        blocks = self._free.pop() if self._free else Blocks(self._seal)
        try:
            encode = blocks.packer.encode
            encoded = [(day, None if said is None else encode(said)) for day, said in items]
            first = await blocks.numbers(connection, _most_blocks(encoded))
            if sum(len(text) for _, text in encoded if text is not None) > _IN_THREAD:
                return await asyncio.to_thread(blocks.pack, encoded, first)
            return blocks.pack(encoded, first)
        finally:
            self._free.append(blocks)

    async def _copy_texts(self, connection: Connection, packed: Packed) -> None:
        if packed.blocks:
            rows = [(day, block, body, self._seal.first) for day, block, body in packed.blocks]
            await _copy(connection, _COPY_TEXTS, ["date", "int8", "bytea", "text"], rows)


def _most_blocks(encoded: Sequence[tuple[date, bytes | None]]) -> int:
    """Blocks that they take at the most."""
    size = sum(len(text) for _, text in encoded if text is not None)
    return size // BLOCK_BYTES + len(encoded) // BLOCK_TEXTS + len({day for day, _ in encoded}) + 1


_IN_THREAD: Final = 200_000
"""Bytes: a millisecond of compression and more."""


async def _copy(connection: Connection, statement: str, kinds: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    async with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(list(kinds))
        for row in rows:
            await copy.write_row(row)


def said_of(step: Step, seal: Seal) -> Said | None:
    """What a span says beside its row; None when it may not be kept, or is nothing."""
    span = step.span
    if not step.texts:
        return None
    error = span.error if seal else None
    said = Said(
        attributes=span.attributes if isinstance(span.attributes, dict) else dict(span.attributes),
        input=span.input,
        output=span.output,
        error=error,
        scope=span.scope,
        dialect=span.dialect,
        provider=span.provider,
        events=[(each.at_ns, each.name, dict(each.attributes)) for each in span.events] if span.events else [],
        links=[(each.trace_id, each.span_id, dict(each.attributes)) for each in span.links] if span.links else [],
        clipped=list(span.clipped),
    )
    return None if said == _NOTHING else said


_NOTHING: Final = Said()


def _shade(span: Span, row_id: str, key_id: int, tags: Mapping[str, str]) -> Record:
    """A span as far as a deletion looks at it."""
    return Record(
        id=span.call_id or row_id,
        started_ns=span.started_ns,
        project_id=span.project_id,
        key_id=key_id,
        operation="",
        model="",
        target="",
        provider="",
        outcome="ok",
        status=0,
        error_code=None,
        error=None,
        stream=False,
        ttft_us=None,
        latency_us=0,
        input_tokens=0,
        output_tokens=0,
        cached_tokens=0,
        reasoning_tokens=0,
        usage_estimated=False,
        cost_nano=None,
        price_source=None,
        client="",
        session=span.session,
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_id=None,
        task=None,
        variant=None,
        prompt_version=None,
        tags=dict(tags),
        request=b"",
        answer=b"",
    )
