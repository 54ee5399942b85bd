"""Measures charts: any measure over time, split by any dimension, compared; and search in texts beside them.

    .venv/bin/python bench/dashboards.py --folder /tmp/filled --keep        # 1,000,000 calls: filling takes most of it
    .venv/bin/python bench/dashboards.py --folder /tmp/filled --keep        # again, on what is filled
    .venv/bin/python bench/dashboards.py --calls 100000

The calls are those of `calls.py`: 30 days, 8 models, 50 keys, 5 tasks, a tag of 2 values and one of 10,000.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from calls import SETTINGS, fill
from calls_text import Traffic, Writer
from loopwright.calls.charts import ChartAsk
from loopwright.calls.query import CallFilter, Calls
from loopwright.kit.db import Database
from loopwright.kit.migrations import migrate
from loopwright.kit.postgres import EmbeddedPostgres
from loopwright.kit.seal import PLAIN
from processes import postgres_cpu

CHART_MS = 200.0
TEXT_MS = 50.0
PAIR_MS = 100.0
_COLUMNS = (
    TextColumn("{task.description}"),
    BarColumn(),
    MofNCompleteColumn(),
    TimeElapsedColumn(),
    TimeRemainingColumn(),
)

Ask = Callable[[], Awaitable[object]]
Result = tuple[str, float, list[float], float]
"""What, target in ms, ms of each run, ms of CPU of a run, the database's with it."""


def asks(room: Calls, traffic: Traffic, calls: int, days: int) -> list[tuple[str, float, list[Ask]]]:
    """(what, target in ms, the asking, as often as it is measured)."""
    now = traffic.until
    spans = {
        "1 hour": timedelta(hours=1),
        "24 hours": timedelta(days=1),
        "7 days": timedelta(days=7),
        f"{days} days": timedelta(days=days),
    }
    charts: list[tuple[str, ChartAsk, bool]] = []
    for name, span in spans.items():
        which = CallFilter(since=now - span, until=now)
        charts += [
            (f"requests by outcome, {name}", ChartAsk(filter=which, split="outcome"), False),
            (f"failed by error code, {name}", ChartAsk(filter=which, measures=("requests",), split="error_code"), False),
            (f"latency with its terms, {name}", ChartAsk(filter=which, measures=("ttft_p50", "decoding", "latency_p50", "latency_p95")), False),
            (f"ttft p95 by model, {name}", ChartAsk(filter=which, measures=("ttft_p95",), split="model"), False),
            (f"ttft p95 by target, {name}", ChartAsk(filter=which, measures=("ttft_p95",), split="target"), False),
            (f"cost by key, {name}", ChartAsk(filter=which, measures=("cost",), split="key"), False),
            (f"tokens by task, {name}", ChartAsk(filter=which, measures=("tokens",), split="task"), False),
            (f"cost by tag of 2 values, {name}", ChartAsk(filter=which, measures=("cost",), split="tag:env"), False),
            (f"cost by tag of 10,000 values, {name}", ChartAsk(filter=which, measures=("cost",), split="tag:customer"), False),
            (f"latency p95 by tag of 10,000 values, {name}", ChartAsk(filter=which, measures=("latency_p95",), split="tag:customer"), False),
            (f"requests by client, {name}", ChartAsk(filter=which, split="client"), False),
            (f"cost by session, {name}", ChartAsk(filter=which, measures=("cost",), split="session"), False),
            (f"requests by model, compared, {name}", ChartAsk(filter=which, split="model"), True),
        ]  # fmt: skip
        tagged = CallFilter(since=now - span, until=now, tags=(("env", "prod"),))
        both = CallFilter(since=now - span, until=now, tags=(("env", "prod"),), key_id=3)
        failed = CallFilter(since=now - span, until=now, outcome="error")
        charts += [
            (f"cost by model of a tag, {name}", ChartAsk(filter=tagged, measures=("cost",), split="model"), False),
            (f"cost by model of a tag and a key, {name}", ChartAsk(filter=both, measures=("cost",), split="model"), False),
            (f"latency p95 of errors by model, {name}", ChartAsk(filter=failed, measures=("latency_p95",), split="model"), False),
        ]  # fmt: skip

    def drawn(ask: ChartAsk, *, beside: bool) -> Ask:
        return (lambda: room.compared(ask)) if beside else (lambda: room.chart(ask))

    def page(asked: CallFilter) -> Ask:
        return lambda: room.page(asked)

    week = now - timedelta(days=7)
    points = [
        ("calls of a point: target", CallFilter(since=week, until=week + timedelta(hours=3), target="model-3-2026-07")),
        ("calls of a point: a rare tag", CallFilter(since=week, until=now, tags=(("customer", "c77"),))),
        ("calls of a point: client and task", CallFilter(since=week, until=now, client="OpenAI/Python 1.66.0", task="classify")),
        ("calls of a point: error code", CallFilter(since=week, until=now, error_code="upstream_timeout", provider="openai")),
        ("calls of a point: without a task", CallFilter(since=week, until=now, without=("task",), key_id=4)),
    ]  # fmt: skip
    rare = [page(CallFilter(text=traffic.rare_word(calls * number // 20))) for number in range(20)]
    absent = [page(CallFilter(text=f"nosuchword{number}")) for number in range(20)]
    return [
        *((name, CHART_MS, [drawn(ask, beside=beside)] * 20) for name, ask, beside in charts),
        *((name, CHART_MS, [page(asked)] * 20) for name, asked in points),
        ("text: rare word", TEXT_MS, rare),
        ("text: absent word", TEXT_MS, absent),
        ("text: common word", PAIR_MS, [page(CallFilter(text=traffic.common_word))] * 20),
        ("text: two middling words", PAIR_MS, [page(CallFilter(text=pair)) for pair in traffic.pairs(20)]),
    ]


async def filled(
    folder: Path, options: argparse.Namespace, console: Console
) -> tuple[EmbeddedPostgres, Traffic, int, int]:
    """A database with the calls: one that is there, or a new one."""
    told = folder / "filled.json"
    server = await EmbeddedPostgres.start(folder / "pg")
    if await asyncio.to_thread(told.exists):
        about = json.loads(await asyncio.to_thread(told.read_text))
        until = datetime.fromisoformat(about["until"])
        console.print(f"{about['calls']:,} calls are there already, until {until:%Y-%m-%d %H:%M}")
        return (
            server,
            Traffic(Writer(None), about["calls"], until=until, days=about["days"]),
            about["calls"],
            about["days"],
        )
    traffic = Traffic(Writer(None), options.calls, until=datetime.now(UTC), days=options.days)
    db = await Database.open(server.url)
    await migrate(db, ["access", "catalog", "calls"])
    with Progress(*_COLUMNS, console=console) as progress:
        await fill(db, folder / "spool", traffic, options.calls, progress, PLAIN)
    await db.close()
    about = {"calls": options.calls, "days": options.days, "until": traffic.until.isoformat()}
    await asyncio.to_thread(told.write_text, json.dumps(about))
    return server, traffic, options.calls, options.days


async def measure(folder: Path, options: argparse.Namespace, console: Console) -> list[Result]:
    """All of it."""
    server, traffic, calls, days = await filled(folder, options, console)
    db = await Database.open(server.url)
    try:
        room = Calls(db, SETTINGS)
        runs = [run for run in asks(room, traffic, calls, days) if run[0].startswith(options.only)]
        results = []
        with Progress(*_COLUMNS, console=console) as progress:
            task = progress.add_task("charts", total=len(runs))
            for name, target, asked in runs:
                took = []
                used = time.process_time() + postgres_cpu()
                for ask in asked:
                    began = time.perf_counter()
                    await ask()
                    took.append((time.perf_counter() - began) * 1000)
                used = time.process_time() + postgres_cpu() - used
                results.append((name, target, took, used * 1000 / len(asked)))
                progress.update(task, advance=1)
    finally:
        await db.close()
        await server.stop()
    return results


def show(console: Console, results: list[Result]) -> bool:
    """Print what was measured beside what must be reached; whether all was."""
    table = Table("what", "p50 ms", "p95 ms", "target ms", "", "CPU ms")
    good = True
    for name, target, took, used in results:
        ordered = sorted(took)
        p95 = ordered[max(int(len(ordered) * 0.95) - 1, 0)]
        good = good and p95 < target
        reached = "" if p95 < target else "MISSED"
        middle = ordered[len(ordered) // 2]
        table.add_row(name, f"{middle:.1f}", f"{p95:.1f}", f"< {target:.0f}", reached, f"{used:.0f}")
    console.print(table)
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=30, help="days over which they lie")
    parser.add_argument("--folder", type=Path, help="where the database is put; default: the temporary folder")
    parser.add_argument("--keep", action="store_true", help="leave it there, filled, for the next time")
    parser.add_argument("--only", default="", help="what begins with this: `text`")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    console = Console()
    if options.keep and options.folder is None:
        parser.error("--keep needs a --folder")
    if options.keep:
        options.folder.mkdir(parents=True, exist_ok=True)
    with nullcontext(options.folder) if options.keep else tempfile.TemporaryDirectory(dir=options.folder) as home:
        results = asyncio.run(measure(Path(home), options, console))
    if options.json:
        options.json.write_text(json.dumps(results), encoding="utf-8")
    sys.exit(0 if show(console, results) else 1)


if __name__ == "__main__":
    main()
