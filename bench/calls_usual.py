"""The usual way to record calls, for comparison in `calls.py`: one wide table with a GIN index over all text."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from rich.progress import Progress

from calls_text import Traffic
from loopwright.calls.answer import read
from loopwright.calls.record import Record
from loopwright.kit.db import Database

_TABLE = """
    create table usual (
        id uuid primary key, started_at timestamptz not null, project_id int, key_id int, model text, target text,
        provider text, outcome text, status int, error_code text, latency_us bigint, ttft_us bigint, cost_nano bigint,
        input_tokens int, output_tokens int, client text, session text, trace_id text, span_id text, task text,
        tags jsonb, request text, response text,
        words tsvector generated always as (to_tsvector('simple', request || ' ' || response)) stored
    )
"""
_INDEXES = (
    "create index on usual (started_at)",
    "create index on usual (model, started_at)",
    "create index on usual (key_id, started_at)",
    "create index on usual (session)",
    "create index on usual using gin (tags)",
    "create index on usual using gin (words)",
)
_COLUMNS = """
    id, started_at, project_id, key_id, model, target, provider, outcome, status, error_code, latency_us, ttft_us,
    cost_nano, input_tokens, output_tokens, client, session, trace_id, span_id, task, tags, request, response
"""
_BATCH = 500


async def usual_way(db: Database, traffic: Traffic, calls: int, progress: Progress) -> dict[str, float]:
    """Rates of one commit a row and of batches of 500, and bytes a call with indexes."""
    task = progress.add_task("the usual way", total=2 * calls)
    figures = {"calls": float(calls)}
    rows = [tuple(_row(record)) for record in traffic.records(0, 2 * calls)]
    single = f"insert into usual ({_COLUMNS}) values (%s, to_timestamp(%s), {', '.join(['%s'] * 21)})"
    for name, size in (("single", 1), ("batch", _BATCH)):
        await db.run("drop table if exists usual")
        for statement in (_TABLE, *_INDEXES):
            await db.run(statement)
        part = rows[:calls] if size == 1 else rows[calls:]
        began = time.monotonic()
        for start in range(0, calls, size):
            await _insert(db, single, part[start : start + size])
            progress.update(task, advance=min(size, calls - start))
        figures[name] = calls / (time.monotonic() - began)
    row = await db.row("select pg_total_relation_size('usual') as bytes")
    figures["bytes"] = (row or {"bytes": 0})["bytes"] / calls
    await db.run("drop table usual")
    return figures


async def _insert(db: Database, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
    async with db.transaction() as connection, connection.cursor() as cursor:
        await cursor.executemany(statement.encode(), rows)


def _row(record: Record) -> Iterator[object]:
    yield from (record.id, record.started_ns / 1e9, record.project_id, record.key_id, record.model, record.target)
    yield from (record.provider, record.outcome, record.status, record.error_code, record.latency_us, record.ttft_us)
    yield from (record.cost_nano, record.input_tokens, record.output_tokens, record.client, record.session)
    yield from (record.trace_id, record.span_id, record.task)
    yield "{" + ", ".join(f'"{name}": "{value}"' for name, value in record.tags.items()) + "}"
    yield record.request.decode()
    yield read(record.answer, stream=record.stream).body.decode()
