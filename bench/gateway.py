"""What a request through the gateway costs, beside nginx, TensorZero, LiteLLM and Portkey, in one run on one machine.

Each target runs alone on CPU 0; the mock upstream and the load generator run on CPU 1. The figure to trust is CPU per
request (or per streamed event) of the target's own processes: it moves little when the machine is busy, as rates and
latencies do. Ours is the shipped gateway: key check, routing, usage and cost accounting, recording of every prompt and
answer; once more with all on: five limits and budgets, a cache that is looked into, a route with a fallback. The recorder
and Postgres are reported beside it. Every answer is checked for mix-ups.

    python bench/gateway.py                      # us, nginx when installed, and the peers installed before
    python bench/gateway.py --turns 5            # each started five times, there and back; the median counts
    python bench/gateway.py --install-peers      # the others into bench/out/peers, once
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from gateway_targets import TARGETS, Absent, Target, install, mock
from processes import cpu, memory, pinned

HERE: Final = Path(__file__).parent
PEERS: Final = HERE / "out" / "peers"
CASES: Final[dict[str, dict[str, Any]]] = {
    "one at a time": {"connections": 1, "seconds": 2.0, "warm": 0.5},
    "32 at a time": {"connections": 32, "seconds": 4.0, "warm": 1.0},
    "32 KB prompts": {"connections": 32, "seconds": 3.0, "warm": 1.0, "extra": 32_000},
    "cache hit": {"connections": 32, "seconds": 3.0, "warm": 1.0, "same": True, "only": "loopwright, all on"},
    "1 stream": {"connections": 1, "seconds": 2.0, "warm": 0.5, "stream": True, "model": "mock-c16-i2000"},
    "32 streams": {"connections": 32, "seconds": 4.0, "warm": 1.0, "stream": True, "model": "mock-c64-i10000"},
    "256 streams": {"connections": 256, "seconds": 5.0, "warm": 2.0, "stream": True, "model": "mock-c64-i10000"},
}
GOALS: Final = {
    "loopwright": {"32 at a time": 150.0, "256 streams": 40.0},
    "loopwright, all on": {"32 at a time": 180.0, "256 streams": 45.0, "cache hit": 80.0},
}
"""CPU µs of the gateway process a request, and an event."""
ADDED: Final = {"1 stream": 0.5, "32 streams": 2.0}
"""Milliseconds of the time to the first token at the median."""


def main() -> None:
    """Measure every target that is here."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--targets", default=";".join(TARGETS), help="names with ; between")
    options.add_argument("--cases", default=",".join(CASES))
    options.add_argument("--turns", type=int, default=1, help="starts of each target; the one of median CPU counts")
    options.add_argument("--peers", type=Path, default=PEERS)
    options.add_argument("--install-peers", action="store_true")
    options.add_argument("--json", type=Path, help="write all figures here")
    given = options.parse_args()
    screen = Console(width=max(Console().width, 130))
    if given.install_peers:
        install(given.peers)
        return
    cases = [name.strip() for name in given.cases.split(",")]
    wanted = [name.strip() for name in given.targets.split(";")]
    turns: list[dict[str, Any]] = []
    with mock() as upstream, Progress(console=screen) as progress:
        task = progress.add_task("measuring", total=len(wanted) * len(cases) * given.turns)
        for turn in range(given.turns):
            for name in wanted if turn % 2 == 0 else wanted[::-1]:
                try:
                    with TARGETS[name](upstream, given.peers) as target:
                        for case in cases:
                            if CASES[case].get("only", name) == name:
                                settle(target)
                                progress.update(task, description=f"{name}: {case}")
                                turns.append(measure(target, case))
                            progress.advance(task)
                except Absent as error:
                    screen.print(f"{name}: left out: {error}")
                    progress.advance(task, len(cases))
    rows = medians(turns)
    report(screen, rows, cases)
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(rows, indent=1))
    bad = [row for row in turns if row["mixed"] or row["errors"] or row["undone"]]
    for row in bad:
        screen.print(
            f"[red]{row['target']}, {row['case']}: {row['errors']} errors, {row['mixed']} mixed, {row['undone']} cut"
        )
    sys.exit(1 if any(row["target"] in GOALS for row in bad) else 0)


def medians(turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each target and case the turn of median CPU (of two in the middle the dearer), with what the turns took."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in turns:
        groups.setdefault((row["target"], row["case"]), []).append(row)
    found = []
    for rows in groups.values():
        rows.sort(key=lambda row: row["cpu_us"] or 0.0)
        found.append(rows[len(rows) // 2] | {"turns_us": [row["cpu_us"] for row in rows]})
    return found


def measure(target: Target, case: str) -> dict[str, Any]:
    """One case on one target."""
    plan = {
        "port": target.port,
        "path": target.path,
        "headers": target.headers,
        **CASES[case],
        "model": target.prefix + CASES[case].get("model", "mock"),
    }
    load = subprocess.Popen(
        pinned(1, sys.executable, HERE / "load.py", json.dumps(plan)), stdout=subprocess.PIPE, text=True
    )
    assert load.stdout is not None
    load.stdout.readline()
    before, others = cpu(target.measured()), {name: cpu(pids) for name, pids in target.beside().items()}
    began = time.perf_counter()
    time.sleep(plan["seconds"])
    seconds = time.perf_counter() - began
    used = cpu(target.measured()) - before
    besides = {name: cpu(pids) - others[name] for name, pids in target.beside().items()}
    row: dict[str, Any] = json.loads(load.stdout.read())
    load.wait()
    stream = bool(plan.get("stream"))
    units = (row["events_per_s"] if stream else row["rps"]) * seconds
    row |= {
        "target": target.name,
        "case": case,
        "unit": "event" if stream else "request",
        "cpu_us": used / units * 1e6 if units and used else None,
        "beside_us": {name: spent / units * 1e6 for name, spent in besides.items()} if units else {},
        "rss_mb": sum(memory(pid) for pid in target.measured()),
    }
    return row


def settle(target: Target, most: float = 60.0) -> None:
    """Wait until its other processes are done with the case before: they share a CPU with the load generator."""
    end = time.monotonic() + most
    while time.monotonic() < end:
        before = sum(cpu(pids) for pids in target.beside().values())
        time.sleep(0.5)
        if sum(cpu(pids) for pids in target.beside().values()) - before < 0.05:
            return


def report(screen: Console, rows: list[dict[str, Any]], cases: list[str]) -> None:
    """A table for each case, with ratios to ours."""
    for case in cases:
        here = {row["target"]: row for row in rows if row["case"] == case}
        if not here:
            continue
        ours, direct = here.get("loopwright"), here.get("direct")
        unit = next(iter(here.values()))["unit"]
        table = Table(title=case, title_justify="left")
        for heading in (
            "", f"CPU µs/{unit}", "of all turns", "ratio to ours", f"{unit}s/s", "p50 ms", "p99 ms", "added p50 ms", "MB",
        ):  # fmt: skip
            table.add_column(heading, justify="right" if heading else "left")
        for name, row in here.items():
            first = "ttft_" if unit == "event" else ""
            p50, p99 = row[f"{first}p50_us"], row[f"{first}p99_us"]
            added = p50 - direct[f"{first}p50_us"] if direct and p50 and name != "direct" else None
            ratio = row["cpu_us"] / ours["cpu_us"] if ours and row["cpu_us"] and ours["cpu_us"] else None
            table.add_row(
                name,
                figure(row["cpu_us"], 1),
                " to ".join(figure(row["turns_us"][at], 0) for at in (0, -1)) if row["cpu_us"] else "-",
                figure(ratio, 2),
                figure(row["events_per_s" if unit == "event" else "rps"], 0),
                figure(p50 and p50 / 1000, 2),
                figure(p99 and p99 / 1000, 2),
                figure(None if added is None else added / 1000, 2),
                figure(row["rss_mb"], 0),
            )
        screen.print(table)
        for name, row in here.items():
            if name not in GOALS:
                continue
            beside = ", ".join(f"{each} {spent:.1f}" for each, spent in row["beside_us"].items())
            screen.print(f"  beside {name}, CPU µs/{unit}: {beside}")
            goal = GOALS[name].get(case)
            if goal is not None and row["cpu_us"]:
                screen.print(
                    f"  goal of {name}: at most {goal:.0f} µs/{unit}: {verdict(reached=row['cpu_us'] <= goal)}"
                )
            most = ADDED.get(case)
            if most is not None and direct:
                added = (row["ttft_p50_us"] - direct["ttft_p50_us"]) / 1000
                screen.print(
                    f"  goal of {name}: at most {most:g} ms to the first token: {verdict(reached=added <= most)}"
                )


def verdict(*, reached: bool) -> str:
    """For people."""
    return "reached" if reached else "[red]missed[/red]"


def figure(value: float | None, digits: int) -> str:
    """A number for the table."""
    return "-" if value is None else f"{value:,.{digits}f}"


if __name__ == "__main__":
    main()
