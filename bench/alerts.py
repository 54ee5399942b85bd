"""How soon somebody is told, what looking costs, how often a forecast is wrong, how often the cause is named.

    python bench/alerts.py                         # all of it, some minutes
    python bench/alerts.py delay --trials 3        # one part: delay, cost, forecast, causes

delay     from the first bad call to the webhook, on a real house (`loopwright up`) whose upstream begins to fail
cost      CPU of one look, our process and PostgreSQL's, at so many series and objectives
forecast  hours out of bounds on real traffic (Azure LLM inference trace 2023, an hour of it in slices) and what is found
          of traffic that is suddenly three times as much
causes    how often the explanation names first what a simulation made fail
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import datetime as dt
import json
import os
import statistics
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import numpy as np

from alerts_causes import causes
from loopwright.calls.histogram import bins_of, merged
from loopwright.kit.db import Database
from loopwright.kit.migrations import migrate
from loopwright.kit.postgres import EmbeddedPostgres
from loopwright.kit.settings import Settings
from loopwright.kit.settings_alerts import AlertSettings, ObjectiveSettings
from loopwright.kit.settings_monitoring import MonitoringSettings
from loopwright.monitoring.alerts_forecast import forecast
from loopwright.monitoring.alerts_round import Looking
from loopwright.rooms import ROOMS
from processes import free_port, postgres_cpu, started

DATA: Final = Path(os.environ.get("LOOPWRIGHT_TEST_DATA", "../shared/data")) / "azure_llm_trace_2023"
LIMIT: Final = 15.0
"""Seconds within which somebody is to be told."""
ANSWER: Final = json.dumps(
    {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    }
).encode()


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", nargs="*", default=["delay", "cost", "forecast", "causes"])
    parser.add_argument("--trials", type=int, default=5, help="of delay")
    parser.add_argument("--rate", type=float, default=2.0, help="calls a second of the model that fails")
    parser.add_argument("--before", type=float, default=20.0, help="seconds of good calls before")
    parser.add_argument("--series", type=int, nargs="*", default=[100, 1_000])
    parser.add_argument("--seconds", type=float, default=130.0, help="of cost, at each number of series")
    parser.add_argument("--scenarios", type=int, default=30)
    asked = parser.parse_args()
    failed = False
    for part in asked.part:
        if part == "delay":
            failed |= not delay(asked.trials, asked.rate, asked.before)
        elif part == "cost":
            for series in asked.series:
                asyncio.run(cost(series, asked.seconds))
        elif part == "forecast":
            forecasts()
        elif part == "causes":
            asyncio.run(causes(asked.scenarios))
        else:
            sys.exit(f"there is no part {part!r}: delay, cost, forecast, causes")
    sys.exit(1 if failed else 0)


# ---- delay ----


class Ears:
    """Keeps when which alert was told."""

    def __init__(self) -> None:
        self.told: dict[str, float] = {}
        self.notices = 0


class Upstream:
    """Answers, but not for models that are to fail."""

    def __init__(self) -> None:
        self.failing: set[str] = set()


@contextmanager
def listening(answer: Any) -> Iterator[int]:
    """An HTTP server on a free port; `answer(path, body)` is (status, body)."""

    class Heard(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            status, body = answer(self.path, self.rfile.read(int(self.headers["content-length"])))
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Heard)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def delay(trials: int, rate: float, before: float) -> bool:
    """Print each delay; whether all were under the limit."""
    ears, upstream = Ears(), Upstream()

    def hear(_path: str, body: bytes) -> tuple[int, bytes]:
        now, notice = time.monotonic(), json.loads(body)
        ears.notices += 1
        for alert in notice["alerts"]:
            if notice["event"] == "firing":
                ears.told.setdefault(alert["labels"].get("model", ""), now)
        return 200, b"{}"

    def serve(_path: str, body: bytes) -> tuple[int, bytes]:
        if json.loads(body)["model"] in upstream.failing:
            return 500, b'{"error": {"message": "down"}}'
        return 200, ANSWER

    with listening(hear) as hook, listening(serve) as models, tempfile.TemporaryDirectory(prefix="lw-") as folder:
        names = [f"m{number}" for number in range(trials)]
        here = Path.cwd()
        os.chdir(folder)
        Path("loopwright.yaml").write_text(_config(names, models, hook), encoding="utf-8")
        port = free_port()
        command = [sys.executable, "-m", "loopwright.cli.main", "up", "--port", str(port), "--no-engine"]
        try:
            with started(command, port, cpu_number=None, within=180):
                key = Path(".loopwright/admin.key").read_text(encoding="utf-8").strip()
                found = _trials(f"http://127.0.0.1:{port}", key, names, upstream, ears, rate, before)
        finally:
            os.chdir(here)
    late = [each for each in found if each is None or each >= LIMIT]
    known = [each for each in found if each is not None]
    if known:
        print(
            f"delay: {len(found)} trials at {rate:g} failing calls a second; from the first bad call to the webhook median"
            f" {statistics.median(known):.1f} s, most {max(known):.1f} s (allowed {LIMIT:g}); {ears.notices} notices"
        )
    if late:
        print(f"delay: {len(late)} of {len(found)} were late or never told")
    return not late


def _config(names: list[str], models: int, hook: int) -> str:
    lines = [f"  {name}: {{provider: up}}" for name in names]
    return (
        f'providers:\n  up: {{base_url: "http://127.0.0.1:{models}/v1", own: true}}\nmodels:\n'
        + "\n".join(lines)
        + f'\nmonitoring:\n  alerts:\n    channels:\n      ops: {{url: "http://127.0.0.1:{hook}/", secret: s}}\n'
    )


def _trials(
    url: str, key: str, names: list[str], upstream: Upstream, ears: Ears, rate: float, before: float
) -> list[float | None]:
    stop = threading.Event()
    first_bad: dict[str, float] = {}

    def ask(name: str) -> None:
        while not stop.is_set():
            began = time.monotonic()
            if _failed(url, key, name):
                first_bad.setdefault(name, began)
            stop.wait(max(1.0 / rate - (time.monotonic() - began), 0.0))

    threads = [threading.Thread(target=ask, args=(name,), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    time.sleep(before)
    if ears.told:
        print(f"delay: told of {sorted(ears.told)} while all was well")
    found: list[float | None] = []
    for name in names:
        upstream.failing = {name}
        end = time.monotonic() + 60.0
        while name not in ears.told and time.monotonic() < end:
            time.sleep(0.02)
        told = ears.told.get(name)
        found.append(None if told is None else told - first_bad[name])
        print(f"  {name}: " + ("never" if found[-1] is None else f"{found[-1]:.2f} s"))
    stop.set()
    for thread in threads:
        thread.join()
    return found


def _failed(url: str, key: str, name: str) -> bool:
    body = json.dumps({"model": name, "messages": [{"role": "user", "content": "well?"}]}).encode()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    try:
        urllib.request.urlopen(urllib.request.Request(f"{url}/v1/chat/completions", body, headers), timeout=30).close()
    except urllib.error.HTTPError as error:
        return error.code >= 500
    except OSError:
        return False
    return False


# ---- cost ----


async def cost(series: int, seconds: float) -> None:
    """Print the CPU of looking at `series` series that all had calls in every five minutes of six hours."""
    with tempfile.TemporaryDirectory(prefix="lw-") as folder:
        server = await EmbeddedPostgres.start(Path(folder) / "pg", settings={"fsync": "off"})
        try:
            db = await Database.open(server.url, size=4)
            await migrate(db, ROOMS)
            await _fill(db, series)
            objectives = {
                "answered": ObjectiveSettings(),
                "quick": ObjectiveSettings(kind="latency", under=2.0, goal=0.95),
                "cheap": ObjectiveSettings(kind="cost", usd=0.01, goal=0.95, by=("task",)),
            }
            look = Looking(db, Settings(monitoring=MonitoringSettings(alerts=AlertSettings(), objectives=objectives)))
            ours, theirs = time.process_time(), postgres_cpu()
            await look()
            first = time.process_time() - ours + postgres_cpu() - theirs
            ours, theirs, began = time.process_time(), postgres_cpu(), time.perf_counter()
            while (waited := time.perf_counter() - began) < seconds:
                await look()
                await asyncio.sleep(look.every)
            own, its = time.process_time() - ours, postgres_cpu() - theirs
            print(
                f"cost: {series} series, {len(objectives)} objectives: looking every {look.every:g} s for {waited:.0f} s takes"
                f" {100 * (own + its) / waited:.2f} % of a core, {100 * its / waited:.2f} % of it in PostgreSQL; the first"
                f" look, which reads three days, {first:.2f} s of CPU"
            )
            await db.close()
        finally:
            await server.stop()


async def _fill(db: Database, series: int) -> None:
    bins = bins_of(np.random.default_rng(1).lognormal(13.5, 0.5, 60))
    histogram = merged(np.zeros(60, dtype=np.int64), bins, np.ones(60, dtype=np.int64), 1)[0]
    await db.run(
        """insert into call_series (project_id, operation, model, target, provider, task)
           select 1 + n %% 10, 'chat', 'model-' || n %% 50, 'target-' || n, 'p', 'task-' || n %% 20
           from generate_series(1, %s) n""",
        (series,),
    )
    for day in range(-4, 2):
        await db.run("select calls_open_day((now() at time zone 'utc')::date + %s)", (day,))
    for table, step, span in (("5m", "5 minutes", "6 hours"), ("1h", "1 hour", "4 days")):
        await db.run(
            f"""insert into call_rollups_{table} (bucket, series_id, key_id, requests, errors, refused, cancelled,
                    interrupted, unpriced, input_tokens, output_tokens, cached_tokens, reasoning_tokens, cost_nano,
                    latency, ttft, tpot)
                select b, s.id, -1, 60, case when s.id %% 7 = 0 then 1 else 0 end, 0, 0, 0, 0, 6000, 3000, 0, 0, 60000,
                    %s, '', '' from call_series s,
                    generate_series(date_bin('{step}', now() - interval '{span}', 'epoch'), now(), interval '{step}') b""",
            (histogram,),
        )
    await db.run("analyze")


# ---- forecast ----


def forecasts() -> None:
    """Print how often real traffic lies outside, and how often three times as much does."""
    if not DATA.exists():
        print(f"forecast: skipped, {DATA} is not there: set LOOPWRIGHT_TEST_DATA")
        return
    for which in ("conv", "code"):
        path = DATA / f"AzureLLMInferenceTrace_{which}.csv"
        with path.open(encoding="utf-8") as file:
            rows = [
                (
                    dt.datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp(),
                    int(row["ContextTokens"]) + int(row["GeneratedTokens"]),
                )
                for row in csv.DictReader(file)
            ]
        for width in (10, 15, 30):
            traffic: dict[int, float] = {}
            tokens: dict[int, float] = {}
            begin = int(rows[0][0]) // width
            for at, count in rows:
                slot = int(at) // width - begin
                traffic[slot] = traffic.get(slot, 0.0) + 1
                tokens[slot] = tokens.get(slot, 0.0) + count
            for name, amounts in (("traffic", traffic), ("tokens", tokens)):
                looked, wrong, found = _outside(amounts, traffic)
                print(
                    f"forecast: {which:4} {name:7} in slices of {width:2} s: {wrong} of {looked} outside"
                    f" ({100 * wrong / looked:.2f} %), threefold found {100 * found / looked:.0f} %"
                )


def _outside(amounts: dict[int, float], traffic: dict[int, float]) -> tuple[int, int, int]:
    asked = AlertSettings().anomalies
    looked = wrong = found = 0
    for at in range(max(amounts)):
        expected = forecast(amounts, at, confidence=asked.confidence)
        if expected is None:
            continue
        looked += 1
        value = amounts.get(at, 0.0)
        enough = traffic.get(at, 0.0) >= asked.minimum_requests
        wrong += enough and value > expected.high and value > asked.factor * expected.middle
        found += 3 * value > expected.high and 3 * value > asked.factor * expected.middle
    return looked, wrong, found


if __name__ == "__main__":
    main()
