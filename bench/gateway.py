"""What a request through the gateway costs, beside nginx, TensorZero and LiteLLM, in one run on one machine.

Each target runs alone on CPU 0; the mock upstream and the load generator run on CPU 1. The figure to trust is CPU per
request (or per streamed event) of the target's own processes: it moves little when the machine is busy, as rates and
latencies do. Ours is the shipped gateway with everything on: key check, routing, usage and cost accounting, recording of
every prompt and answer; the recorder and Postgres are reported beside it. Every answer is checked for mix-ups.

    python bench/gateway.py                      # us, nginx when installed, and the peers installed before
    python bench/gateway.py --install-peers      # LiteLLM and TensorZero into bench/out/peers, once
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

HERE: Final = Path(__file__).parent
PEERS: Final = HERE / "out" / "peers"
TICK: Final = os.sysconf("SC_CLK_TCK")
MODELS: Final = ("mock", "mock-c16-i2000", "mock-c64-i10000")
CASES: Final[dict[str, dict[str, Any]]] = {
    "one at a time": {"connections": 1, "seconds": 2.0, "warm": 0.5},
    "32 at a time": {"connections": 32, "seconds": 4.0, "warm": 1.0},
    "32 KB prompts": {"connections": 32, "seconds": 3.0, "warm": 1.0, "extra": 32_000},
    "1 stream": {"connections": 1, "seconds": 2.0, "warm": 0.5, "stream": True, "model": "mock-c16-i2000"},
    "32 streams": {"connections": 32, "seconds": 4.0, "warm": 1.0, "stream": True, "model": "mock-c64-i10000"},
    "256 streams": {"connections": 256, "seconds": 5.0, "warm": 2.0, "stream": True, "model": "mock-c64-i10000"},
}
GOALS: Final = {"32 at a time": 150.0, "256 streams": 40.0}
"""CPU µs of the gateway process a request, and an event."""


@dataclass(slots=True, kw_only=True)
class Target:
    """A running target."""

    name: str
    port: int
    headers: list[str]
    path: str = "/v1/chat/completions"
    prefix: str = ""
    """Before the model's name."""
    measured: Callable[[], list[int]]
    """Process ids whose CPU counts."""
    beside: Callable[[], dict[str, list[int]]] = field(default=dict)
    """Others of its processes, reported beside it."""


def main() -> None:
    """Measure every target that is here."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--targets", default="direct,nginx,tensorzero,litellm,loopwright")
    options.add_argument("--cases", default=",".join(CASES))
    options.add_argument("--repeat", type=int, default=1, help="runs of each case; the one with least CPU counts")
    options.add_argument("--peers", type=Path, default=PEERS)
    options.add_argument("--install-peers", action="store_true")
    options.add_argument("--json", type=Path, help="write all figures here")
    given = options.parse_args()
    screen = Console()
    if given.install_peers:
        install(given.peers)
        return
    cases = [name.strip() for name in given.cases.split(",")]
    rows: list[dict[str, Any]] = []
    with mock() as upstream, Progress(console=screen) as progress:
        wanted = [name.strip() for name in given.targets.split(",")]
        task = progress.add_task("measuring", total=len(wanted) * len(cases))
        for name in wanted:
            try:
                with TARGETS[name](upstream, given.peers) as target:
                    for case in cases:
                        progress.update(task, description=f"{name}: {case}")
                        runs = [measure(target, case) for _ in range(given.repeat)]
                        rows.append(min(runs, key=lambda row: row["cpu_us"] or 1e9))
                        progress.advance(task)
            except Absent as error:
                screen.print(f"{name}: left out: {error}")
                progress.advance(task, len(cases))
    report(screen, rows, cases)
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(rows, indent=1))
    bad = [row for row in rows if row["mixed"] or row["errors"] or row["undone"]]
    for row in bad:
        screen.print(
            f"[red]{row['target']}, {row['case']}: {row['errors']} errors, {row['mixed']} mixed, {row['undone']} cut"
        )
    sys.exit(1 if any(row["target"] == "loopwright" for row in bad) else 0)


class Absent(Exception):
    """A target that is not on this machine."""


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


def report(screen: Console, rows: list[dict[str, Any]], cases: list[str]) -> None:
    """A table for each case, with ratios to ours."""
    for case in cases:
        here = {row["target"]: row for row in rows if row["case"] == case}
        if not here:
            continue
        ours, direct = here.get("loopwright"), here.get("direct")
        unit = next(iter(here.values()))["unit"]
        table = Table(title=case, title_justify="left")
        for heading in ("", f"CPU µs/{unit}", "ratio to ours", f"{unit}s/s", "p50 ms", "p99 ms", "added p50 ms", "MB"):
            table.add_column(heading, justify="right" if heading else "left")
        for name, row in here.items():
            first = "ttft_" if unit == "event" else ""
            p50, p99 = row[f"{first}p50_us"], row[f"{first}p99_us"]
            added = p50 - direct[f"{first}p50_us"] if direct and p50 and name != "direct" else None
            ratio = row["cpu_us"] / ours["cpu_us"] if ours and row["cpu_us"] and ours["cpu_us"] else None
            table.add_row(
                name,
                figure(row["cpu_us"], 1),
                figure(ratio, 2),
                figure(row["events_per_s" if unit == "event" else "rps"], 0),
                figure(p50 and p50 / 1000, 2),
                figure(p99 and p99 / 1000, 2),
                figure(None if added is None else added / 1000, 2),
                figure(row["rss_mb"], 0),
            )
        screen.print(table)
        if ours:
            beside = ", ".join(f"{name} {spent:.1f}" for name, spent in ours["beside_us"].items())
            screen.print(f"  beside ours, CPU µs/{unit}: {beside}")
            if case in GOALS and ours["cpu_us"]:
                verdict = "reached" if ours["cpu_us"] <= GOALS[case] else "[red]missed[/red]"
                screen.print(f"  goal: at most {GOALS[case]:.0f} µs/{unit}: {verdict}")


def figure(value: float | None, digits: int) -> str:
    """A number for the table."""
    return "-" if value is None else f"{value:,.{digits}f}"


# ---- targets ----


@contextmanager
def mock() -> Iterator[int]:
    """The mock upstream's port."""
    process = subprocess.Popen(
        pinned(1, sys.executable, HERE / "mock_upstream.py", "0"), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()


@contextmanager
def direct(upstream: int, _peers: Path) -> Iterator[Target]:
    """No gateway: what the harness itself takes."""
    yield Target(name="direct", port=upstream, headers=[], measured=list)


@contextmanager
def nginx(upstream: int, _peers: Path) -> Iterator[Target]:
    """A bare reverse proxy."""
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    if not Path(program).exists():
        raise Absent("install Debian's nginx-light to have it measured")
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        temp = "".join(
            f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        Path(folder, "nginx.conf").write_text(
            f"worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log error;"
            "worker_rlimit_nofile 20000; events { worker_connections 8192; } http { access_log off;"
            f"client_body_buffer_size 1m; client_max_body_size 64m; {temp} keepalive_requests 100000000;"
            f"upstream up {{ server 127.0.0.1:{upstream}; keepalive 1024; keepalive_requests 100000000; }}"
            f"server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ proxy_pass http://up;"
            'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; } } }'
        )
        with started([program, "-p", folder, "-c", f"{folder}/nginx.conf"], port) as pid:
            yield Target(name="nginx", port=port, headers=[], measured=lambda: tree(pid))


@contextmanager
def tensorzero(upstream: int, peers: Path) -> Iterator[Target]:
    """TensorZero's Rust gateway out of its Python wheel, observability off."""
    python = peers / "tensorzero" / "bin" / "python"
    if not python.exists():
        raise Absent("`--install-peers` installs it")
    with tempfile.TemporaryDirectory() as folder:
        config, url = Path(folder, "tensorzero.toml"), Path(folder, "url")
        models = "".join(
            f'[models."{name}"]\nrouting = ["m"]\n[models."{name}".providers.m]\ntype = "openai"\n'
            f'model_name = "{name}"\napi_base = "http://127.0.0.1:{upstream}/v1/"\n'
            for name in MODELS
        )
        config.write_text(f"[gateway]\nobservability.enabled = false\n{models}")
        script = (
            "import sys, time, pathlib\nfrom tensorzero.tensorzero import _start_http_gateway as start\n"
            "g = start(config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False)\n"
            "pathlib.Path(sys.argv[2]).write_text(g.base_url)\ntime.sleep(3600)\n"
        )
        env = {"OPENAI_API_KEY": "sk-upstream", "RUST_LOG": "error"}
        with started([str(python), "-c", script, str(config), str(url)], None, env) as pid:
            wait_for(url.exists, 60)
            time.sleep(0.5)
            yield Target(
                name="tensorzero",
                port=int(url.read_text().split(":")[2].split("/")[0]),
                headers=[],
                path="/openai/v1/chat/completions",
                prefix="tensorzero::model_name::",
                measured=lambda: tree(pid),
            )


@contextmanager
def litellm(upstream: int, peers: Path) -> Iterator[Target]:
    """LiteLLM's proxy: a master key, no database, one worker."""
    program = peers / "litellm" / "bin" / "litellm"
    if not program.exists():
        raise Absent("`--install-peers` installs it")
    with tempfile.TemporaryDirectory() as folder:
        config, port = Path(folder, "config.yaml"), free_port()
        models = "".join(
            f"  - model_name: {name}\n    litellm_params: {{model: openai/{name}, "
            f"api_base: 'http://127.0.0.1:{upstream}/v1', api_key: sk-upstream}}\n"
            for name in MODELS
        )
        config.write_text(f"model_list:\n{models}general_settings:\n  master_key: sk-test\n")
        env = {
            "LITELLM_LOG": "ERROR",
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_TELEMETRY": "False",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_MASTER_KEY": "sk-test",
            "NO_DOCS": "True",
            "DISABLE_ADMIN_UI": "True",
        }
        command = [
            str(program),
            "--config",
            str(config),
            "--port",
            str(port),
            "--host",
            "127.0.0.1",
            "--num_workers",
            "1",
        ]
        with started(command, port, env, within=180) as pid:
            yield Target(
                name="litellm", port=port, headers=["authorization: Bearer sk-test"], measured=lambda: tree(pid)
            )


@contextmanager
def loopwright(upstream: int, _peers: Path) -> Iterator[Target]:
    """The shipped gateway, everything on: one worker on CPU 0, recorder and Postgres on CPU 1."""
    with tempfile.TemporaryDirectory() as folder:
        home, config, port = Path(folder, "home"), Path(folder, "loopwright.yaml"), free_port()
        models = "".join(f"  {name}: {{provider: mock, price: {{input: 0.15, output: 0.6}}}}\n" for name in MODELS)
        config.write_text(
            f"providers:\n  mock: {{base_url: 'http://127.0.0.1:{upstream}/v1', api_key: sk-upstream}}\nmodels:\n{models}"
        )
        env = {"LOOPWRIGHT_HOME": str(home), "LOOPWRIGHT_CONFIG": str(config)}
        command = [sys.executable, "-m", "loopwright.cli.main", "up", "--port", str(port)]
        with started(command, port, env, cpu_number=None) as pid:
            wait_for((home / "admin.key").exists, 60)
            named = {"worker": "_gateway", "recorder": "_recorder", "postgres": "postgres"}
            processes = {
                name: [child for child in tree(pid) if word in command_of(child)] for name, word in named.items()
            }
            for name, pids in processes.items():
                for child in pids:
                    os.sched_setaffinity(child, {0 if name == "worker" else 1})
            yield Target(
                name="loopwright",
                port=port,
                headers=[f"authorization: Bearer {(home / 'admin.key').read_text().strip()}"],
                measured=lambda: processes["worker"],
                beside=lambda: {
                    name: [child for child in tree(pid) if word in command_of(child)]
                    for name, word in named.items()
                    if name != "worker"
                },
            )


TARGETS: Final = {
    "direct": direct,
    "nginx": nginx,
    "tensorzero": tensorzero,
    "litellm": litellm,
    "loopwright": loopwright,
}


def install(peers: Path) -> None:
    """LiteLLM and TensorZero, each into an environment of its own."""
    wanted = {"litellm": ["litellm[proxy]", "opentelemetry-api", "opentelemetry-sdk"], "tensorzero": ["tensorzero"]}
    for name, packages in wanted.items():
        subprocess.run([sys.executable, "-m", "venv", peers / name], check=True)
        subprocess.run([peers / name / "bin" / "pip", "install", *packages], check=True)


# ---- processes ----


@contextmanager
def started(
    command: list[str],
    port: int | None,
    env: dict[str, str] | None = None,
    *,
    within: float = 60,
    cpu_number: int | None = 0,
) -> Iterator[int]:
    """Run a target until the block ends; ready once something listens on `port`."""
    whole = command if cpu_number is None else pinned(cpu_number, *command)
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            whole, env={**os.environ, **(env or {})}, stdout=log, stderr=log, start_new_session=True
        )
        try:
            if port is not None:
                wait_for(lambda: answers(port) or process.poll() is not None, within)
            if process.poll() is not None:
                log.seek(0)
                sys.exit(
                    f"{command[0]} ended with {process.returncode}:\n{log.read().decode(errors='replace')[-3000:]}"
                )
            yield process.pid
        finally:
            children = tree(process.pid)
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                for child in children:
                    with suppress(ProcessLookupError):
                        os.kill(child, signal.SIGKILL)
                process.wait()


def pinned(number: int, *command: str | Path) -> list[str]:
    """A command on one CPU, where that can be chosen."""
    words = [str(word) for word in command]
    return ["taskset", "-c", str(number), *words] if shutil.which("taskset") else words


def answers(port: int) -> bool:
    """Whether something speaks HTTP there."""
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2).close()
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False
    return True


def wait_for(condition: Callable[[], object], seconds: float) -> None:
    """Until `condition` holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"not ready within {seconds:g} s")
        time.sleep(0.2)


def free_port() -> int:
    """A port nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tree(pid: int) -> list[int]:
    """A process and its descendants."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                stat = (entry / "stat").read_text()
                parents.setdefault(int(stat[stat.rindex(")") + 2 :].split()[1]), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found.extend(parents.get(one, []))
    return found


def command_of(pid: int) -> str:
    """A process's command line."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def cpu(pids: list[int]) -> float:
    """CPU seconds so far."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            stat = Path(f"/proc/{pid}/stat").read_text()
            fields = stat[stat.rindex(")") + 2 :].split()
            total += int(fields[11]) + int(fields[12])
    return total / TICK


def memory(pid: int) -> float:
    """Resident megabytes."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


if __name__ == "__main__":
    main()
