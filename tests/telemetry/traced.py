"""Spans and calls put on record as intake and drain do, for the tests of traces."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from loopwright.calls.drain import Drain
from loopwright.calls.query import Calls
from loopwright.calls.record import Record
from loopwright.calls.rows import day_of
from loopwright.calls.spool import Spool
from loopwright.calls.touching import touched
from loopwright.kit.db import Database
from loopwright.kit.ids import Ids
from loopwright.kit.migrations import migrate
from loopwright.kit.settings import CallsSettings
from loopwright.telemetry.folding import Folding
from loopwright.telemetry.rows import COLUMNS, id_of, row_of
from loopwright.telemetry.span import Span
from loopwright.telemetry.spans import Spans
from loopwright.telemetry.traces import Traces

SECOND = 10**9


def hexed(number: int) -> str:
    return f"{number:016x}"


def span(
    trace: int, number: int, parent: int | None = None, *, at: float = 0.0, took: float = 1.0, **more: Any
) -> Span:
    usual: dict[str, Any] = {
        "name": f"step {number}", "kind": "chain", "status": "ok", "service": "shop", "project_id": 1,
    }  # fmt: skip
    return Span(
        trace_id=f"{trace:032x}", span_id=hexed(number), parent_id=None if parent is None else hexed(parent),
        started_ns=begin() + int(at * SECOND), duration_us=int(took * 1_000_000), **(usual | more),
    )  # fmt: skip


def begin() -> int:
    """A minute of today, the same for a whole test."""
    return (time.time_ns() // (3600 * SECOND)) * 3600 * SECOND - 3600 * SECOND


def record(trace: int, number: int, parent: int | None, *, at: float = 0.0, took: float = 1.0, **more: Any) -> Record:
    started = begin() + int(at * SECOND)
    usual: dict[str, Any] = {
        "id": Ids().new(started), "started_ns": started, "project_id": 1, "key_id": 1, "operation": "chat",
        "model": "small", "target": "small-1", "provider": "scripted", "outcome": "ok", "status": 200,
        "error_code": None, "error": None, "stream": False, "ttft_us": 1_000, "latency_us": int(took * 1_000_000),
        "input_tokens": 10, "output_tokens": 11, "cached_tokens": 0, "reasoning_tokens": 0, "usage_estimated": False,
        "cost_nano": 1_500, "price_source": "test", "client": "pytest", "session": None, "trace_id": f"{trace:032x}",
        "span_id": hexed(number), "parent_id": None if parent is None else hexed(parent), "task": None, "variant": None,
        "prompt_version": None, "tags": {},
        "request": asked("why?"), "answer": answered("because"),
    }  # fmt: skip
    return Record(**(usual | more))


def asked(*said: str, **more: Any) -> bytes:
    messages = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(said)]
    return json.dumps({"model": "small", "messages": messages, **more}).encode()


def answered(text: str) -> bytes:
    message = {"role": "assistant", "content": text}
    return json.dumps({"object": "chat.completion", "choices": [{"index": 0, "message": message}]}).encode()


@dataclass
class OnRecord:
    """The rooms of calls and of telemetry over one database."""

    db: Database
    spool: Spool
    drain: Drain
    calls: Calls
    traces: Traces
    folding: Folding

    async def keep(self, *records: Record) -> None:
        for each in records:
            self.spool.write(each)
        while await self.drain.once():
            pass

    async def put(self, spans: Sequence[Span]) -> None:
        """Rows without texts."""
        ids = [id_of(each.started_ns, each.trace_id, each.span_id) for each in spans]
        for day in {day_of(each) for each in ids}:
            await self.db.run("select spans_open_day(%s)", (day,))
        rows = [
            row_of(each, row_id=row_id, key_id=1, block=None, slot=0, tags={}, wordless=False)
            for each, row_id in zip(spans, ids, strict=True)
        ]
        async with self.db.transaction() as connection:
            async with (
                connection.cursor() as cursor,
                cursor.copy(
                    f"copy spans ({', '.join(name for name, _ in COLUMNS)}) from stdin (format binary)"
                ) as copy,
            ):
                copy.set_types([kind for _, kind in COLUMNS])
                for row in rows:
                    await copy.write_row(row)
            await touched(connection, {(each.project_id, UUID(each.trace_id)) for each in spans}, ids)

    async def fold(self) -> None:
        while await self.folding.once():
            pass


@asynccontextmanager
async def opened(database_url: str, folder: Path) -> AsyncIterator[OnRecord]:
    db = await Database.open(database_url, size=4)
    try:
        await migrate(db, ("calls", "telemetry"))
        settings = CallsSettings()
        spool = Spool(folder / "spool", settings.spool_limit)
        yield OnRecord(
            db=db, spool=spool, drain=Drain(db, folder / "spool", settings), calls=Calls(db, settings),
            traces=Traces(db, Spans(db)), folding=Folding(db),
        )  # fmt: skip
        spool.close()
    finally:
        await db.close()
