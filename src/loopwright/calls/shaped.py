"""From records to what the database takes: rows, blocks of texts, counts. Pure work on the CPU, for a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby
from typing import Any, Final

from loopwright.calls.answer import read
from loopwright.calls.payloads import Packer, Payload, about, blocks_of
from loopwright.calls.record import Record
from loopwright.calls.rollup import Tally, tally
from loopwright.calls.rows import day_of, row_of
from loopwright.kit.copying import uuid_of

_QUEUED_BLOCKS: Final = 32
"""Blocks in one line of the full-text queue."""


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of one day's calls."""

    day: date
    bodies: list[tuple[int, bytes]]
    """(block, bytes)."""
    ids: bytes
    """16 bytes a call, in the order of blocks and slots."""
    sizes: list[int]
    """Calls in each block."""

    def queued(self) -> Iterator[tuple[date, bytes, list[int], list[int]]]:
        """Lines of `call_unindexed`, each of a bounded number of calls."""
        offset = 0
        for start in range(0, len(self.bodies), _QUEUED_BLOCKS):
            sizes = self.sizes[start : start + _QUEUED_BLOCKS]
            end = offset + 16 * sum(sizes)
            blocks = [block for block, _ in self.bodies[start : start + _QUEUED_BLOCKS]]
            yield self.day, self.ids[offset:end], blocks, sizes
            offset = end


@dataclass(slots=True)
class Shaped:
    """A batch ready to be stored."""

    rows: list[tuple[Any, ...]] = field(default_factory=list)
    texts: list[Texts] = field(default_factory=list)
    days: set[date] = field(default_factory=set)
    tally: Tally | None = None


@dataclass(frozen=True, slots=True)
class Shaper:
    """Shapes batches. For one thread at a time."""

    packer: Packer
    payloads: bool

    def shape(
        self,
        records: Sequence[Record],
        series: Mapping[str, int],
        slices: Mapping[str, Sequence[int]],
        *,
        first_block: int,
        erased: Callable[[Record], bool],
    ) -> Shaped:
        """Rows for `records` (distinct ids); erased ones are counted in the totals and otherwise dropped.

        `series` and `slices` are by the ids of records.
        """
        records = sorted(records, key=_id)
        numbers = [series[record.id] for record in records]
        gone = {record.id for record in records if erased(record)}
        shaped = Shaped(
            tally=tally(records, numbers, [() if record.id in gone else slices[record.id] for record in records])
        )
        kept = [(record, number) for record, number in zip(records, numbers, strict=True) if record.id not in gone]
        block = first_block
        for day, group in groupby(kept, key=_day):
            shaped.days.add(day)
            block = self._shape_day(shaped, day, list(group), block)
        return shaped

    def _shape_day(self, shaped: Shaped, day: date, kept: list[tuple[Record, int]], block: int) -> int:
        answers = [read(record.answer, stream=record.stream) for record, _ in kept]
        # What went wrong may quote what was said: with the texts it is sealed, in the row it is not.
        sealed = bool(self.packer.seal)
        spoken = [
            index
            for index, (record, _) in enumerate(kept)
            if (self.payloads and (record.request or answers[index].body)) or (sealed and record.error)
        ]
        payloads = [
            Payload(kept[index][0].request, answers[index].body, kept[index][0].error if sealed else None)
            for index in spoken
        ]
        sizes = blocks_of(payloads)
        places: dict[int, tuple[int, int]] = {}
        bodies: list[tuple[int, bytes]] = []
        start = 0
        for size in sizes:
            bodies.append((block, self.packer.pack(payloads[start : start + size], about(day, block))))
            for slot, index in enumerate(spoken[start : start + size]):
                places[index] = (block, slot)
            start += size
            block += 1
        for index, (record, number) in enumerate(kept):
            place, slot = places.get(index, (None, 0))
            finish = record.finish if record.finish is not None else answers[index].finish
            row = row_of(record, series_id=number, finish=finish, block=place, slot=slot, wordless=sealed)
            shaped.rows.append(row)
        if bodies:
            ids = b"".join([uuid_of(kept[index][0].id) for index in spoken])
            shaped.texts.append(Texts(day, bodies, ids, sizes))
        return block


def _id(record: Record) -> str:
    return record.id


def _day(item: tuple[Record, int]) -> date:
    return day_of(item[0].id)
