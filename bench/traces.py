"""Traces at size against a running Loopwright: how long pages take to show in a real Chromium, and lists to answer.

Usage: python bench/traces.py [--url http://127.0.0.1:4100] [--key lw-…] [--traces 20000] [--repeats 5]

Sends over OTLP a trace of 3,000 spans, one of 30,000, and `--traces` of four spans each with a call of a model; then
opens the two in Chromium (until rows are painted, and scrolling through all of it), and asks every list query that the
pages offer. Exits 1 when a limit is missed: 800 ms for 3,000 spans, 200 ms (p95) for each list.
"""

from __future__ import annotations

import argparse
import gzip
import os
import random
import secrets
import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from playwright.sync_api import Browser, BrowserContext, sync_playwright

OPEN_LIMIT_MS = 800.0
LIST_LIMIT_MS = 200.0
_FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
_NAMES = ("search docs", "call tool", "plan", "read page", "summarise", "shop.answer", "desk.route_order")
_KINDS = ("tool", "retrieval", "agent", "chain", "workflow")
_DAY_NS = 86_400 * 10**9
_BATCH = 512


@dataclass(kw_only=True)
class Figures:
    """What was measured, and what of it is over its limit."""

    rows: list[tuple[str, str, str]] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    def add(self, what: str, taken: list[float], limit: float | None = None) -> None:
        """A row: the middle and the slowest of twenty, against a limit on the latter."""
        middle, high = statistics.median(taken), sorted(taken)[max(int(len(taken) * 0.95) - 1, 0)]
        reached = "" if limit is None else "reached" if high <= limit else f"missed, limit {limit:.0f}"
        self.rows.append((what, f"{middle:8.1f} ms", f"{high:8.1f} ms   {reached}"))
        if limit is not None and high > limit:
            self.missed.append(what)


def spans_of(trace: int, count: int, pick: random.Random) -> Iterator[Span]:
    """A trace of `count` spans, each under one of those shortly before it."""
    start = time.time_ns() - 60 * 10**9
    live = [(1, start, 30 * 10**9)]
    yield _span(trace, 1, 0, f"big {count}", "workflow", start, 30 * 10**9, pick)
    for number in range(2, count + 1):
        parent, since, took = pick.choice(live[-40:])
        begun, long = since + int(took * pick.random() * 0.5), max(int(took * pick.random() * 0.5), 1000)
        live.append((number, begun, long))
        yield _span(trace, number, parent, pick.choice(_NAMES), pick.choice(_KINDS), begun, long, pick)


def small(traces: int, pick: random.Random) -> Iterator[Span]:
    """Traces of the last three days: a root, a tool, a retrieval, a call of a model."""
    now = time.time_ns()
    for number in range(1, traces + 1):
        trace, start = secrets.randbits(128), now - int(pick.random() * 3 * _DAY_NS)
        long = int(pick.lognormvariate(0, 1) * 10**9)
        session = f"s{number % max(traces // 5, 1)}"
        yield _span(trace, 1, 0, pick.choice(_NAMES), "workflow", start, long, pick, session=session)
        yield _span(trace, 2, 1, "call tool", "tool", start, long // 3, pick, session=session)
        yield _span(trace, 3, 1, "search docs", "retrieval", start + long // 3, long // 9, pick, session=session)
        model = pick.choice(
            ["gpt-4o", "claude-sonnet-4", "llama-3", "rare"] if number % 1000 == 0 else ["gpt-4o", "llama-3"]
        )
        told = {"gen_ai.operation.name": "chat", "gen_ai.request.model": model, "gen_ai.provider.name": "openai"}
        yield _span(trace, 4, 1, f"chat {model}", "llm", start + long // 2, long // 2, pick, session=session, **told)


def _span(
    trace: int, number: int, parent: int, name: str, kind: str, start: int, long: int, pick: random.Random, **told: str
) -> Span:
    made = Span(trace_id=trace.to_bytes(16), span_id=number.to_bytes(8), name=name)
    made.start_time_unix_nano, made.end_time_unix_nano = start, start + long
    if parent:
        made.parent_span_id = parent.to_bytes(8)
    if pick.random() < 0.01:
        made.status.code, made.status.message = Status.STATUS_CODE_ERROR, "it broke"
    said = {
        "loopwright.kind": kind,
        "loopwright.input": f"what {name} was given " * 4,
        "loopwright.output": "what came of it " * 8,
    }
    if session := told.pop("session", ""):
        said["session.id"] = session
    for key, value in {**said, **told}.items():
        made.attributes.add(key=key).value.string_value = value
    return made


def send(http: httpx.Client, spans: Iterator[Span]) -> int:
    """Send spans in batches; how many."""
    sent, batch = 0, []
    for span in spans:
        batch.append(span)
        if len(batch) == _BATCH:
            sent += _post(http, batch)
            batch = []
    return sent + (_post(http, batch) if batch else 0)


def _post(http: httpx.Client, batch: list[Span]) -> int:
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "bench"
    resource.scope_spans.add().spans.extend(batch)
    headers = {"content-type": "application/x-protobuf", "content-encoding": "gzip"}
    while True:
        answer = http.post("/otlp/v1/traces", content=gzip.compress(request.SerializeToString(), 1), headers=headers)
        if answer.status_code not in (429, 503):
            answer.raise_for_status()
            return len(batch)
        time.sleep(float(answer.headers.get("retry-after", 1)))


def settled(http: httpx.Client, traces: int) -> None:
    """Wait until everything sent is drained and summed up."""
    known, still = "", 0
    while still < 3:
        time.sleep(2.5)
        page = http.get("/api/traces", params={"limit": 1000}).json()["traces"]
        waiting = http.get("/api/status").json()["waiting_bytes"]
        seen = f"{waiting} {[(row['trace_id'], row['steps'], row['calls']) for row in page]}"
        still = still + 1 if seen == known and waiting == 0 and len(page) >= min(traces, 900) else 0
        known = seen


def signed_in(browser: Browser, url: str, key: str) -> BrowserContext:
    """A browser profile with a session."""
    context = browser.new_context(viewport={"width": 1360, "height": 900})
    page = context.new_page()
    page.goto(f"{url}/sign-in")
    page.fill("#key", key)
    page.click("button.main")
    page.wait_for_url("**/overview")
    page.close()
    return context


def opened(
    browser: Browser, url: str, key: str, trace: str, repeats: int
) -> tuple[list[float], list[float], list[float]]:
    """Milliseconds until rows of a trace are painted, from the keys' first step to its facts, and to walk to its end."""
    shown, answered, walked = [], [], []
    for _ in range(repeats):
        context = signed_in(browser, url, key)
        page = context.new_page()
        page.goto(f"{url}/traces/{trace}", wait_until="commit")
        page.locator(".fall-row").first.wait_for(state="visible")
        shown.append(
            page.evaluate(
                "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now()))))"
            )
        )
        begun = time.perf_counter()
        page.locator(".fall-row").nth(1).click()
        page.locator(".fall-said pre").first.wait_for(state="visible")
        answered.append((time.perf_counter() - begun) * 1000)
        begun = time.perf_counter()
        page.locator(".fall-rows").press("End")
        page.locator('.fall-row[aria-selected="true"]').wait_for(state="visible")
        walked.append((time.perf_counter() - begun) * 1000)
        context.close()
    return shown, answered, walked


def asked(http: httpx.Client, repeats: int) -> dict[str, list[float]]:
    """Milliseconds of every list query, by what it asks."""
    row = http.get("/api/traces", params={"limit": 500}).json()["traces"][-1]
    queries: dict[str, tuple[str, dict[str, str]]] = {
        "newest": ("/api/traces", {}),
        "by service": ("/api/traces", {"service": "bench"}),
        "no such service": ("/api/traces", {"service": "nobody"}),
        "words of the name": ("/api/traces", {"name": "answ shop"}),
        "failed": ("/api/traces", {"failed": "true"}),
        "ok": ("/api/traces", {"failed": "false"}),
        "long": ("/api/traces", {"min_duration_ms": "8000"}),
        "longest": ("/api/traces", {"min_duration_ms": "10000000"}),
        "dear": ("/api/traces", {"min_cost_usd": "0.00001"}),
        "dearest": ("/api/traces", {"min_cost_usd": "100"}),
        "by model": ("/api/traces", {"model": "gpt-4o"}),
        "rare model": ("/api/traces", {"model": "rare"}),
        "rare model, failed, long": ("/api/traces", {"model": "rare", "failed": "true", "min_duration_ms": "2000"}),
        "of a session": ("/api/traces", {"session": row["session"] or "s1"}),
        "older page": ("/api/traces", {"until": row["started_at"]}),
        "sessions": ("/api/sessions", {}),
        "one session": ("/api/sessions/s1", {}),
        "calls of a trace": ("/api/calls", {"trace": row["trace_id"]}),
    }
    taken: dict[str, list[float]] = {}
    for what, (path, params) in queries.items():
        for _ in range(repeats * 4):
            begun = time.perf_counter()
            answer = http.get(path, params=params)
            taken.setdefault(what, []).append((time.perf_counter() - begun) * 1000)
            answer.raise_for_status()
    return taken


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure traces at size.")
    parser.add_argument("--url", default=os.environ.get("LOOPWRIGHT_URL", "http://127.0.0.1:4100"))
    parser.add_argument("--key", default=os.environ.get("LOOPWRIGHT_API_KEY"), help="default: .loopwright/admin.key")
    parser.add_argument("--traces", type=int, default=20_000, help="of four spans")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    home = Path(os.environ.get("LOOPWRIGHT_HOME", ".loopwright"))
    url, key = options.url.rstrip("/"), options.key or (home / "admin.key").read_text().strip()
    pick, figures = random.Random(7), Figures()
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=120) as http:
        big = {count: secrets.token_hex(16) for count in (3_000, 30_000)}
        begun = time.perf_counter()
        sent = send(http, small(options.traces, pick))
        sent += sum(send(http, spans_of(int(trace, 16), count, pick)) for count, trace in big.items())
        print(
            f"sent {sent:,} spans, {sent / (time.perf_counter() - begun):,.0f} a second; waiting until all is summed up"
        )
        settled(http, options.traces)
        for what, taken in asked(http, options.repeats).items():
            figures.add(f"list: {what}", taken, LIST_LIMIT_MS)
        chromium = shutil.which("chromium")
        if chromium is None:
            print("no chromium: apt-get install chromium", file=sys.stderr)
            return 1
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=chromium, args=_FLAGS)
            for count, trace in big.items():
                shown, answered, walked = opened(browser, url, key, trace, options.repeats)
                figures.add(f"open {count:,} spans", shown, OPEN_LIMIT_MS if count == 3_000 else None)
                figures.add(f"  a step's texts of {count:,}", answered)
                figures.add(f"  to the last of {count:,}", walked)
            browser.close()
    print(f"{'':<34}{'p50':>11}{'p95':>11}")
    for what, middle, high in figures.rows:
        print(f"{what:<34}{middle} {high}")
    for what in figures.missed:
        print(f"MISSED {what}", file=sys.stderr)
    return 1 if figures.missed else 0


if __name__ == "__main__":
    sys.exit(main())
