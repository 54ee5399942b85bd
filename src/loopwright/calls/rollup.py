"""Roll-ups: counters and latency histograms by five minutes, hour and day, kept up in the drain's own transaction.

Each call counts in six rows: five minutes, hour and day (UTC), each for its key and for all keys together; and in
three more for each of its slices (its tags, its client, its error: see slices.py), which are kept for a shorter time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from psycopg.rows import tuple_row

from loopwright.calls.histogram import bins_of, merged, unpacked
from loopwright.calls.record import Record
from loopwright.calls.rows import counted
from loopwright.calls.slices import saved_by
from loopwright.kit.arrays import byteas, int4s, int8s
from loopwright.kit.db import Connection

ALL_KEYS: Final = -1
FIVE_MINUTES: Final = 300
HOUR: Final = 3600
DAY: Final = 86_400
FINE_DAYS: Final = 2
"""Days that the five-minute rows are kept."""
SLICE_HOURS_DAYS: Final = 8
"""Days that the hourly rows of slices are kept."""
COUNTERS: Final = (
    "requests", "errors", "refused", "cancelled", "interrupted", "unpriced",
    "input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "cost_nano",
    "cache_hits", "cache_nano", "cascade_nano", "wasted_nano",
)  # fmt: skip
_SPARSE: Final = ("cache_hits", "cache_nano", "cascade_nano", "wasted_nano")
"""Zero is null in every table; in those of slices that holds for all but `requests`."""
HISTOGRAMS: Final = ("latency", "ttft", "tpot")
_LOCK: Final = 0x726F6C6C
"""Of Postgres's advisory locks: drains of several machines take turns here, so a merge never overtakes another."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Tally:
    """What some calls add to the roll-ups: one line a call."""

    seconds: Ints
    """When it started, in Unix seconds."""
    series: Ints
    keys: Ints
    counters: Ints
    """Shape (calls, counters)."""
    measures: tuple[NDArray[np.float64], ...]
    """Latency, TTFT and TPOT in microseconds; NaN where there is none."""
    sliced: tuple[Ints, Ints]
    """Which call is in which slice: (numbers of calls, ids of slices)."""


def tally(records: Sequence[Record], series: Sequence[int], slices: Sequence[Sequence[int]] = ()) -> Tally:
    """Count `records`, which belong to `series`, each to some `slices`."""
    sliced = [(number, each) for number, found in enumerate(slices) for each in found]
    counters = np.array([_counters(record) for record in records], dtype=np.int64).reshape(-1, len(COUNTERS))
    nan = float("nan")
    ttft = [nan if record.ttft_us is None else float(record.ttft_us) for record in records]
    return Tally(
        np.array([record.started_ns // 1_000_000_000 for record in records], dtype=np.int64),
        np.array(series, dtype=np.int64),
        np.array([record.key_id for record in records], dtype=np.int64),
        counters,
        (
            np.array([float(record.latency_us) for record in records]),
            np.array(ttft),
            np.array([_tpot(record) for record in records]),
        ),
        (
            np.array([number for number, _ in sliced], dtype=np.int64),
            np.array([each for _, each in sliced], dtype=np.int64),
        ),
    )


async def add(connection: Connection, new: Tally, *, fine_from: int) -> None:
    """Add `new` to the roll-ups; five-minute rows only for calls since `fine_from` (Unix seconds)."""
    if not len(new.seconds):
        return
    await connection.execute("select pg_advisory_xact_lock(%s)", (_LOCK,))
    every = np.arange(len(new.keys), dtype=np.int64)
    twice, owners_of_all = np.concatenate((every, every)), np.concatenate((new.keys, np.full_like(new.keys, ALL_KEYS)))
    numbers, slices = new.sliced
    whole = None
    hours_from = fine_from - (SLICE_HOURS_DAYS - FINE_DAYS) * DAY
    for tables, calls, owners, hours in (
        ("call_rollups", twice, owners_of_all, whole),
        ("call_slice_rollups", numbers, slices, hours_from),
    ):
        for ending, width, since in (("1d", DAY, whole), ("1h", HOUR, hours), ("5m", FIVE_MINUTES, fine_from)):
            chosen = slice(None) if since is None else new.seconds[calls] >= since
            await _add_to(connection, f"{tables}_{ending}", width, new, calls[chosen], owners[chosen])


async def _add_to(connection: Connection, table: str, width: int, new: Tally, calls: Ints, owners: Ints) -> None:
    """Add the calls of these numbers, each to the rows of its owner: a key, all keys, a slice."""
    if not len(calls):
        return
    buckets = new.seconds[calls] // width * width
    lines = np.stack((owners, buckets, new.series[calls]), axis=1)
    groups, which = np.unique(lines, axis=0, return_inverse=True)
    which = which.reshape(-1)
    size = len(groups)
    counters = new.counters[calls].T
    sums = [np.bincount(which, weights=column, minlength=size).astype(np.int64) for column in counters]
    identity = (int4s(groups[:, 0]), int8s(groups[:, 1]), int4s(groups[:, 2]))
    stored = await _stored(connection, table, identity, size)
    histograms = []
    for number, measure in enumerate(new.measures):
        values = measure[calls]
        measured = ~np.isnan(values)
        old_groups, old_bins, old_counts = unpacked([row[number] for row in stored])
        added = merged(
            np.concatenate((which[measured], old_groups)),
            np.concatenate((bins_of(values[measured]), old_bins)),
            np.concatenate((np.ones(int(measured.sum()), dtype=np.int64), old_counts)),
            size,
        )
        histograms.append(byteas(added))
    await connection.execute(_UPSERT[table], (*identity, *map(int8s, sums), *histograms))


async def _stored(connection: Connection, table: str, identity: Sequence[bytes], size: int) -> list[tuple[bytes, ...]]:
    async with connection.cursor(binary=True, row_factory=tuple_row) as cursor:
        await cursor.execute(_STORED[table], identity)
        found: list[tuple[bytes, ...]] = [(b"", b"", b"")] * size
        for line, *histograms in await cursor.fetchall():
            found[line - 1] = tuple(histograms)
    return found


def _statements(table: str) -> tuple[bytes, bytes]:
    """(read the histograms, add) for one of our tables."""
    of_slices = table.startswith("call_slice")
    owner = "slice_id" if of_slices else "key_id"
    sparse = COUNTERS[1:] if of_slices else _SPARSE
    given = ", ".join(f"nullif(g.{name}, 0)" if name in sparse else f"g.{name}" for name in (*COUNTERS, *HISTOGRAMS))
    columns = ", ".join((*COUNTERS, *HISTOGRAMS))
    kinds = ["int[]", "bigint[]", "int[]", *(["bigint[]"] * len(COUNTERS)), *(["bytea[]"] * len(HISTOGRAMS))]
    arrays = ", ".join(f"%s::{kind}" for kind in kinds)
    adds = ", ".join(
        f"{name} = coalesce(r.{name} + excluded.{name}, r.{name}, excluded.{name})"
        if name in sparse
        else f"{name} = r.{name} + excluded.{name}"
        for name in COUNTERS
    )
    sets = ", ".join(f"{name} = excluded.{name}" for name in HISTOGRAMS)
    stored = f"""
        select g.line, r.latency, r.ttft, r.tpot
        from unnest(%s::int[], %s::bigint[], %s::int[]) with ordinality as g ({owner}, bucket, series_id, line)
        join {table} r on r.{owner} = g.{owner} and r.bucket = to_timestamp(g.bucket) and r.series_id = g.series_id
    """  # noqa: S608  (names of our own tables)
    upsert = f"""
        insert into {table} as r ({owner}, bucket, series_id, {columns})
        select g.{owner}, to_timestamp(g.bucket), g.series_id, {given}
        from unnest({arrays}) as g ({owner}, bucket, series_id, {columns})
        on conflict ({owner}, bucket, series_id) do update set {adds}, {sets}
    """  # noqa: S608
    return stored.encode(), upsert.encode()


_TABLES: Final = tuple(
    f"{tables}_{ending}" for tables in ("call_rollups", "call_slice_rollups") for ending in ("5m", "1h", "1d")
)
_STORED: Final = {table: _statements(table)[0] for table in _TABLES}
_UPSERT: Final = {table: _statements(table)[1] for table in _TABLES}


def _counters(record: Record) -> tuple[Any, ...]:
    outcome = record.outcome
    return (
        1,
        outcome == "error",
        outcome == "refused",
        outcome == "cancelled",
        outcome == "interrupted",
        record.cost_nano is None,
        counted(record.input_tokens),
        counted(record.output_tokens),
        counted(record.cached_tokens),
        counted(record.reasoning_tokens),
        record.cost_nano or 0,
        *saved_by(record),
    )


def _tpot(record: Record) -> float:
    if record.ttft_us is None or record.output_tokens < 2:
        return float("nan")
    return (record.latency_us - record.ttft_us) / (record.output_tokens - 1)
