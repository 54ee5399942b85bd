"""What counting a call costs its worker: CPU microseconds a call, of each kind of call. Must be 2 or less.

python bench/metrics.py [CALLS]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from loopwright.calls.record import Record
from loopwright.gateway.counted import Meters, buried
from loopwright.kit.cells import read
from loopwright.laboratory.figures_counted import counted

MUST = 2.0
"""Microseconds."""
_ROUNDS = 7
_USUAL: dict[str, Any] = {
    "id": "01990000-0000-7000-8000-000000000001", "started_ns": 1, "project_id": 1, "key_id": 2, "operation": "chat",
    "model": "fast", "target": "gpt", "provider": "openai", "outcome": "ok", "status": 200, "error_code": None,
    "error": None, "stream": True, "ttft_us": 250_000, "latency_us": 1_250_000, "input_tokens": 120,
    "output_tokens": 41, "cached_tokens": 0, "reasoning_tokens": 0, "usage_estimated": False, "cost_nano": 1_500,
    "price_source": "test", "client": "c", "session": None, "trace_id": "a" * 32, "span_id": "b" * 16,
    "parent_id": None, "task": None, "variant": None, "prompt_version": None, "tags": {}, "request": b"",
    "answer": b"",
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "stream": {},
    "whole": {"stream": False, "ttft_us": None},
    "task with tags": {"task": "sort", "tags": {"team": "web"}, "cached_tokens": 100},
    "refused": {"outcome": "refused", "provider": "", "error_code": "rate_limit_exceeded", "output_tokens": 0},
}

PEER = """
import time
from prometheus_client import Counter, Histogram
who = ["project", "task", "model", "provider", "operation", "outcome"]
counters = [Counter(f"c{i}", "", who) for i in range(4)]
times = [Histogram(f"h{i}", "", who[2:5]) for i in range(5)]
def count():
    for each in counters:
        each.labels("default", "", "fast", "openai", "chat", "ok").inc(3)
    for each in times:
        each.labels("fast", "openai", "chat").observe(0.3)
best = 9e9
for _ in range(5):
    began = time.process_time()
    for _ in range(20_000):
        count()
    best = min(best, time.process_time() - began)
print(best / 20_000 * 1e6)
"""
"""The same figures of a streamed call by prometheus_client: requests, two kinds of tokens, cost, five histograms."""


def main() -> int:
    """Measure; 1 when it is dearer than it may be."""
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    dearest = 0.0
    with tempfile.TemporaryDirectory(prefix="lw-") as folder:
        meters = Meters.begin(Path(folder), ["fast"], series=1_000)
        for name, more in KINDS.items():
            record = Record(**(_USUAL | more))
            best = min(_took(meters, record, calls) for _ in range(_ROUNDS)) / calls * 1e6
            dearest = max(dearest, best)
            print(f"{name:16} {best:5.2f} µs CPU a call")
        for number in range(1_000):
            meters.count(Record(**(_USUAL | {"project_id": number})))
        began = time.process_time()
        families = list(counted(read(Path(folder), buried).rows, str))
        print(f"reading 1,000 series: {(time.process_time() - began) * 1e3:.0f} ms CPU, {len(families)} families")
        meters.close()
        print(f"prometheus_client, multiprocess: {_peer(folder):.2f} µs CPU a streamed call")
    print(f"{'within' if dearest <= MUST else 'OVER'} {MUST:g} µs")
    return int(dearest > MUST)


def _took(meters: Meters, record: Record, calls: int) -> float:
    count, began = meters.count, time.process_time()
    for _ in range(calls):
        count(record)
    return time.process_time() - began


def _peer(folder: str) -> float:
    """Microseconds a call."""
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": folder}
    ended = subprocess.run([sys.executable, "-c", PEER], env=environment, capture_output=True, check=True)
    return float(ended.stdout)


if __name__ == "__main__":
    raise SystemExit(main())
