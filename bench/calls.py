"""Measures the record of calls: spool, drain, full text, disk, queries; beside the usual way to do it.

    .venv/bin/python bench/calls.py                       # 1,000,000 calls, about 15 minutes
    .venv/bin/python bench/calls.py --calls 50000 --text some.txt

Calls carry about 2 KB of text each (prompt and answer), lie over 30 days and come from 8 models, 50 keys, 5 tasks.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from calls_text import Traffic, Writer
from calls_usual import usual_way
from loopwright.calls.drain import Drain
from loopwright.calls.indexer import Indexer
from loopwright.calls.query import CallFilter, Calls
from loopwright.calls.record import Record
from loopwright.calls.spool import Spool
from loopwright.calls.upkeep import Upkeep
from loopwright.kit.db import Database
from loopwright.kit.keyring import SealingKey
from loopwright.kit.migrations import migrate
from loopwright.kit.postgres import EmbeddedPostgres
from loopwright.kit.seal import PLAIN, Seal
from loopwright.kit.settings import CallsSettings
from processes import postgres_cpu

CHUNK = 50_000
"""Calls that are made and spooled, untimed, before they are drained, timed."""
SPOOLED = 500
"""Of these, spooled and timed together."""
SETTINGS = CallsSettings()
Figures = dict[str, float]


async def fill(db: Database, folder: Path, traffic: Traffic, calls: int, progress: Progress, seal: Seal) -> Figures:
    """Spool and drain `calls` as the recorder does, full text running beside; the figures."""
    spool = Spool(folder, 50_000_000_000, seal)
    task = progress.add_task("spool and drain", total=calls)
    figures: Figures = dict.fromkeys(("spool_cpu", "drain_s", "own_cpu", "pg_cpu", "text_beside", "text_after"), 0.0)
    for start in range(0, calls, CHUNK):
        size = min(CHUNK, calls - start)
        for records in batched(traffic.records(start, size), SPOOLED):
            # Timed together: reading the clock costs a tenth of what a record does.
            began = time.process_time()
            for record in records:
                spool.write(record)
            figures["spool_cpu"] += time.process_time() - began
        await one_chunk(Drain(db, folder, SETTINGS, seal=seal), size, figures)
        progress.update(task, advance=size)
    spool.close()
    task = progress.add_task("full text", total=calls, completed=int(figures["text_beside"]))
    indexer = Indexer(db, seal=seal)
    began, own = time.monotonic(), time.process_time()
    while await indexer.once() + await indexer.merge_once():
        figures["text_after"] = indexer.indexed
        progress.update(task, completed=int(figures["text_beside"]) + indexer.indexed)
    figures["text_after_s"] = time.monotonic() - began
    figures["text_cpu"] = time.process_time() - own
    # As the recorder does once a day is over and quiet.
    began, own, pg = time.monotonic(), time.process_time(), postgres_cpu()
    await Upkeep(db, indexer).settle()
    figures["settle_s"] = time.monotonic() - began
    figures["settle_cpu"] = time.process_time() - own + postgres_cpu() - pg
    return figures


def batched(records: Iterator[Record], size: int) -> Iterator[list[Record]]:
    """`records` in lists of up to `size`."""
    while some := list(islice(records, size)):
        yield some


async def one_chunk(drain: Drain, size: int, figures: Figures) -> None:
    """Drain what is spooled, timed; full text runs beside and is stopped with it."""
    began, own, pg = time.monotonic(), time.process_time(), postgres_cpu()
    running = asyncio.create_task(drain.run())
    while drain.stored < size:  # noqa: ASYNC110  (the drain knows nobody who waits for it)
        await asyncio.sleep(0.02)
    figures["drain_s"] += time.monotonic() - began
    figures["text_beside"] += drain.indexed
    figures["own_cpu"] += time.process_time() - own
    figures["pg_cpu"] += postgres_cpu() - pg
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def disk(db: Database) -> dict[str, int]:
    """Bytes of our tables with their indexes, by table."""
    rows = await db.rows(
        """select coalesce(p.relname, c.relname)::text as name, sum(pg_total_relation_size(c.oid))::bigint as bytes
           from pg_class c left join pg_inherits i on i.inhrelid = c.oid left join pg_class p on p.oid = i.inhparent
           where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace
             and (c.relname like 'call%%' or c.relname like 'spool%%')
           group by 1 order by 2 desc""",
    )
    return {row["name"]: row["bytes"] for row in rows}


async def times(
    db: Database, traffic: Traffic, options: argparse.Namespace, progress: Progress
) -> list[tuple[str, float, list[float]]]:
    """(what, target in ms, milliseconds of each run) of the queries."""
    room, now, calls, days = Calls(db, SETTINGS, sealing(options)), traffic.until, options.calls, options.days
    month, day = now - timedelta(days=days), now - timedelta(days=1)
    lists = {
        "newest": CallFilter(),
        "project": CallFilter(project_id=1),
        "model, common": CallFilter(model=traffic.models[0]),
        "model, rare": CallFilter(model=traffic.models[-1]),
        "key": CallFilter(key_id=7),
        "key and model": CallFilter(key_id=49, model=traffic.models[-1]),
        "outcome error": CallFilter(outcome="error"),
        "outcome interrupted": CallFilter(outcome="interrupted"),
        "error code": CallFilter(error_code="upstream_timeout"),
        "task": CallFilter(task="classify"),
        "session": CallFilter(session=traffic.session(calls // 2)),
        "tag, common": CallFilter(tags=(("env", "prod"),)),
        "tag, rare": CallFilter(tags=(("customer", "c77"),)),
        "cost, 1 in 1,000": CallFilter(min_cost_nano=traffic.cost_at(0.999)),
        "latency, 1 in 1,000": CallFilter(min_latency_ms=traffic.latency_at(0.999)),
        "latency, 1 in 100,000": CallFilter(min_latency_ms=traffic.latency_at(0.99999)),
        "the day before yesterday": CallFilter(since=now - timedelta(days=2), until=now - timedelta(days=1)),
        "key, latency, three days": CallFilter(key_id=3, min_latency_ms=9000, since=now - timedelta(days=3)),
    }
    runs: list[tuple[str, float, list[Coroutine[Any, Any, object]]]] = [
        (f"list: {name}", 100.0, [room.page(asked) for _ in range(20)]) for name, asked in lists.items()
    ]
    rare = [CallFilter(text=traffic.rare_word(calls * number // 20)) for number in range(20)]
    runs += [
        ("text: rare word", 50.0, [room.page(asked) for asked in rare]),
        ("text: absent word", 50.0, [room.page(CallFilter(text=f"nosuchword{number}")) for number in range(20)]),
        ("text: common word", 100.0, [room.page(CallFilter(text=traffic.common_word)) for _ in range(20)]),
        ("text: two middling words", 100.0, [room.page(CallFilter(text=pair)) for pair in traffic.pairs(20)]),
    ]
    for name, since in (("day", day), ("month", month)):
        asked = CallFilter(since=since, until=now)
        runs.append((f"overview: {name}", 150.0, [room.overview(asked) for _ in range(20)]))
        runs.append((f"by key: {name}", 150.0, [room.by("key", asked) for _ in range(5)]))
    task = progress.add_task("queries", total=len(runs))
    results = []
    for name, target, asks in runs:
        took = []
        for ask in asks:
            began = time.perf_counter()
            await ask
            took.append((time.perf_counter() - began) * 1000)
        results.append((name, target, took))
        progress.update(task, advance=1)
    return results


def sealing(options: argparse.Namespace) -> Seal:
    """With a key when it was asked for."""
    return Seal([SealingKey(id="2026-11", secret=b"k" * 32)]) if options.sealed else PLAIN


async def measure(options: argparse.Namespace, console: Console) -> None:
    """All of it."""
    words = Writer(options.text)
    traffic = Traffic(words, options.calls, until=datetime.now(UTC), days=options.days)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with tempfile.TemporaryDirectory(prefix="lw-bench-", dir=options.folder) as home:
        server = await EmbeddedPostgres.start(Path(home) / "pg")
        try:
            db = await Database.open(server.url)
            await migrate(db, ["access", "catalog", "calls"])
            with Progress(*columns, console=console) as progress:
                figures = await fill(db, Path(home) / "spool", traffic, options.calls, progress, sealing(options))
                sizes = await disk(db)
                results = await times(db, traffic, options, progress)
                usual = await usual_way(db, traffic, options.usual, progress)
            await db.close()
        finally:
            await server.stop()
    show(console, options.calls, figures, sizes, results)
    show_usual(console, options.calls, figures, sizes, usual)
    if options.json:
        measured = {"figures": figures, "sizes": sizes, "queries": results, "usual": usual}
        await asyncio.to_thread(options.json.write_text, json.dumps(measured), encoding="utf-8")


def show(
    console: Console, calls: int, figures: Figures, sizes: dict[str, int], results: list[tuple[str, float, list[float]]]
) -> None:
    """Print what was measured beside what must be reached."""
    table = Table("what", "measured", "target", title=f"{calls:,} calls")
    drained = calls / figures["drain_s"]
    beside = figures["text_beside"] / figures["drain_s"]
    table.add_row("spool, CPU a record", f"{figures['spool_cpu'] / calls * 1e6:.1f} µs", "≤ 8 µs")
    table.add_row("drain, full text running beside", f"{drained:,.0f} calls/s", "≥ 3,000")
    table.add_row("full text beside the drain", f"{beside:,.0f} calls/s", "≥ 800")
    if figures["text_after"]:
        table.add_row(
            "full text alone, merging too", f"{figures['text_after'] / figures['text_after_s']:,.0f} calls/s", ""
        )
    table.add_row("own CPU, text beside", f"{figures['own_cpu'] / calls * 1e6:.0f} µs a call", "")
    table.add_row("PostgreSQL CPU", f"{figures['pg_cpu'] / calls * 1e6:.0f} µs a call", "")
    settled = figures["settle_cpu"] / calls * 1e6
    table.add_row("tidying days that are over, all CPU", f"{settled:.0f} µs a call", "")
    table.add_row("disk with indexes", f"{sum(sizes.values()) / calls:,.0f} bytes a call", "≤ 2,048")
    for name, size in sizes.items():
        table.add_row(f"  {name}", f"{size / calls:,.1f}", "")
    console.print(table)
    table = Table("query", "p50 ms", "p95 ms", "target ms", "")
    for name, target, took in results:
        ordered = sorted(took)
        p95 = ordered[int(len(ordered) * 0.95) - 1 if len(ordered) > 1 else 0]
        table.add_row(
            name, f"{ordered[len(ordered) // 2]:.1f}", f"{p95:.1f}", f"< {target:.0f}", "" if p95 < target else "MISSED"
        )
    console.print(table)


def show_usual(console: Console, calls: int, figures: Figures, sizes: dict[str, int], usual: Figures) -> None:
    """Print the ratios to the usual way."""
    table = Table(
        "", "here", "usual", "ratio", title=f"the usual way, {usual['calls']:,.0f} calls: one table, GIN over text"
    )
    rate, size = calls / figures["drain_s"], sum(sizes.values()) / calls
    table.add_row(
        "calls/s, one commit a row", f"{rate:,.0f}", f"{usual['single']:,.0f}", f"{rate / usual['single']:.1f} x"
    )
    table.add_row("calls/s, batches", f"{rate:,.0f}", f"{usual['batch']:,.0f}", f"{rate / usual['batch']:.1f} x")
    table.add_row("bytes a call", f"{size:,.0f}", f"{usual['bytes']:,.0f}", f"{usual['bytes'] / size:.2f} x")
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=30, help="days over which they lie")
    parser.add_argument("--usual", type=int, default=10_000, help="calls for the usual way beside")
    parser.add_argument("--text", type=Path, help="a file of prose to make texts of; default: made-up words")
    parser.add_argument("--folder", type=Path, help="where the database is put; default: the temporary folder")
    parser.add_argument("--sealed", action="store_true", help="with encryption at rest")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    asyncio.run(measure(parser.parse_args(), Console()))


if __name__ == "__main__":
    main()
