"""Measures taking OTLP in: spans a second, CPU, bytes and memory of each server; then what `kill -9` of everything costs.

    python bench/otlp.py --install-peers                # MLflow and Phoenix into bench/out/peers, once
    python bench/otlp.py                                # 12,000 traces of ours, 3,000 of the others: about 10 minutes
    python bench/otlp.py --only loopwright --traces 3000

Every server gets the same traces of four spans (`otlp_traffic.py`) over two connections, 128 spans a request, and is
measured until all it acknowledged is in its database, indexed and summed up. CPU is that of all its processes with the
database. Then a fresh one is killed whole while it is sent 6,000 spans and more, started again, and asked which of the
acknowledged ones it has.
"""

from __future__ import annotations

import argparse
import http.client
import json
import queue
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from otlp_targets import Making, Target, house, install, mlflow, phoenix
from otlp_traffic import SPANS, Traffic
from processes import free_port

HERE: Final = Path(__file__).parent
AT_ONCE: Final = 32
"""Traces of a request."""
SETTLED: Final = 5.0
"""Seconds that nothing is left to do before that counts as the end."""


@dataclass
class Sending:
    """Requests on their way, from several connections."""

    target: Target
    connections: int
    acknowledged: list[bytes] = field(default_factory=list)
    """Traces."""
    latencies: list[float] = field(default_factory=list)
    refused: int = 0
    size: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _threads: list[threading.Thread] = field(default_factory=list)

    def begin(self, requests: Iterator[tuple[list[bytes], bytes]]) -> None:
        """Send all of them."""
        waiting: queue.SimpleQueue[tuple[list[bytes], bytes]] = queue.SimpleQueue()
        for each in requests:
            waiting.put(each)
        self._threads = [
            threading.Thread(target=self._send, args=(waiting,), daemon=True) for _ in range(self.connections)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def going(self) -> bool:
        """Whether something is still to be sent."""
        return any(thread.is_alive() for thread in self._threads)

    def wait(self) -> None:
        """Until every request has its answer."""
        for thread in self._threads:
            thread.join()

    def _send(self, waiting: queue.SimpleQueue[tuple[list[bytes], bytes]]) -> None:
        place = urllib.parse.urlparse(self.target.url)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=120)
        headers = {"content-type": "application/x-protobuf", **self.target.headers}
        while not self.stopped.is_set():
            try:
                ids, body = waiting.get_nowait()
            except queue.Empty:
                return
            began = time.perf_counter()
            try:
                connection.request("POST", self.target.path, body, headers)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                return  # killed
            with self._lock:
                if answer.status == 200:
                    self.acknowledged += ids
                    self.latencies.append(time.perf_counter() - began)
                    self.size += len(body)
                else:
                    self.refused += 1
            if answer.status in (429, 503):
                waiting.put((ids, body))
                time.sleep(0.2)


@dataclass
class Figures:
    """What one server did."""

    accepted: float
    """Spans a second until the last was acknowledged."""
    durable: float
    """Spans a second until all were in its database."""
    cpu: float
    """Seconds a thousand spans, all work behind the acknowledgement included."""
    disk: float
    """Bytes a span."""
    memory: float
    """Megabytes."""
    p50: float
    p99: float
    """Milliseconds of a request."""
    wire: float
    """Bytes a span as it came."""
    refused: int


def measured(making: Making, traces: int, connections: int, seed: int) -> Figures:
    """Send `traces` to a fresh server."""
    with tempfile.TemporaryDirectory(prefix="lw-") as home:
        target = making(Path(home))
        target.start(free_port())
        try:
            target.prepared()
            warm = Sending(target, 1)
            warm.begin(Traffic(seed + 1).requests(AT_ONCE * 2, AT_ONCE))
            warm.wait()
            settle(target, len(warm.acknowledged) * SPANS)
            before, spent, size = target.stored(), target.cpu(), target.disk()
            sending = Sending(target, connections)
            requests = iter(list(Traffic(seed).requests(traces, AT_ONCE)))
            began = time.monotonic()
            sending.begin(requests)
            sending.wait()
            accepted = time.monotonic() - began
            spans = len(sending.acknowledged) * SPANS
            stored, used = settle(target, before + spans)
            durable = stored - began
            lasted = sorted(sending.latencies)
            return Figures(
                accepted=spans / accepted,
                durable=spans / durable,
                cpu=(used - spent) / spans * 1000,
                disk=(target.disk() - size) / spans,
                memory=target.memory(),
                p50=lasted[len(lasted) // 2] * 1000,
                p99=lasted[int(len(lasted) * 0.99)] * 1000,
                wire=sending.size / spans,
                refused=sending.refused,
            )
        finally:
            target.stop()


def settle(target: Target, spans: int) -> tuple[float, float]:
    """Wait until that many are stored and nothing is left to do: when they were, and CPU seconds when nothing was left."""
    end, stored, quiet, used = time.monotonic() + 400, 0.0, 0.0, 0.0
    while time.monotonic() < end:
        now = time.monotonic()
        if not stored and target.stored() >= spans:
            stored = now
        if not stored or target.busy():
            quiet = 0.0
        elif not quiet:
            quiet, used = now, target.cpu()
        elif now - quiet > SETTLED:
            return stored, used
        time.sleep(0.25 if stored else 0.05)
    sys.exit(f"{target.name} has stored {target.stored():,} of {spans:,} spans and does not go on")


def killed(making: Making, traces: int, connections: int) -> tuple[int, int]:
    """(spans acknowledged before everything was killed, of these on record once it is started again)."""
    with tempfile.TemporaryDirectory(prefix="lw-") as home:
        target = making(Path(home))
        target.start(free_port())
        target.prepared()
        sending = Sending(target, connections)
        sending.begin(Traffic(7).requests(traces * 4, AT_ONCE))
        while len(sending.acknowledged) < traces and sending.going:
            time.sleep(0.005)
        target.kill()
        sending.stopped.set()
        sending.wait()
        kept = sending.acknowledged
        (Path(home) / "log").write_text("")
        target.start(free_port())
        try:
            target.prepared()
            end, found = time.monotonic() + 60, 0
            while time.monotonic() < end and found < len(kept) * SPANS:
                found = sum(target.known(kept[first : first + 500]) for first in range(0, len(kept), 500))
                time.sleep(0.5)
        finally:
            target.stop()
        return len(kept) * SPANS, found


def main() -> None:
    """Measure and tell."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--traces", type=int, default=12_000, help="of ours")
    options.add_argument("--peer-traces", type=int, default=3_000, help="of the others, which take longer")
    options.add_argument("--connections", type=int, default=2)
    options.add_argument("--only", choices=("loopwright", "mlflow", "phoenix"))
    options.add_argument("--no-kill", action="store_true", help="leave out the second part")
    options.add_argument("--install-peers", action="store_true")
    options.add_argument("--peers", type=Path, default=HERE / "out" / "peers")
    options.add_argument("--json", type=Path, help="also write the figures there")
    told = options.parse_args()
    if told.install_peers:
        install(told.peers)
        return
    makings: dict[str, Making] = {"loopwright": house, "mlflow": mlflow(told.peers), "phoenix": phoenix(told.peers)}
    chosen = {name: each for name, each in makings.items() if told.only in (None, name)}
    screen, found = Console(), {}
    for name, making in chosen.items():
        if name != "loopwright" and not (told.peers / name).is_dir():
            screen.print(f"{name}: left out, `--install-peers` installs it")
            continue
        traces = told.traces if name == "loopwright" else told.peer_traces
        screen.print(f"{name}: {traces * SPANS:,} spans …")
        figures = measured(making, traces, told.connections, seed=1)
        lost = None
        if not told.no_kill:
            acknowledged, kept = killed(making, 1_500, told.connections)
            lost = (acknowledged, acknowledged - kept)
        found[name] = (figures, lost)
        screen.print(vars(figures), f"lost of acknowledged: {lost}")
    shown(screen, found)
    if told.json:
        told.json.write_text(json.dumps({name: [vars(each), lost] for name, (each, lost) in found.items()}, indent=1))


def shown(screen: Console, found: dict[str, tuple[Figures, tuple[int, int] | None]]) -> None:
    """The figures, a row for each server."""
    table = Table(title="OTLP in")
    for head in (
        "",
        "spans/s accepted",
        "spans/s durable",
        "CPU s / 1,000",
        "bytes / span",
        "MB",
        "p50 / p99 ms",
        "lost by kill -9",
    ):
        table.add_column(head, justify="right" if head else "left")
    for name, (each, lost) in found.items():
        table.add_row(
            name,
            f"{each.accepted:,.0f}",
            f"{each.durable:,.0f}",
            f"{each.cpu:.3f}",
            f"{each.disk:,.0f}",
            f"{each.memory:,.0f}",
            f"{each.p50:.0f} / {each.p99:.0f}",
            "" if lost is None else f"{lost[1]:,} of {lost[0]:,}",
        )
    screen.print(table)
    wire = next(iter(found.values()))[0].wire
    screen.print(
        f"{wire:,.0f} bytes a span on the wire; {sum(each.refused for each, _ in found.values())} requests put off"
    )


if __name__ == "__main__":
    main()
