"""The gateways that `bench/gateway.py` measures, and how each is started in front of the mock upstream."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from loopwright import Client
from processes import command_of, free_port, pinned, started, tree, wait_for

HERE: Final = Path(__file__).parent
MODELS: Final = ("mock", "mock-c16-i2000", "mock-c64-i10000")


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


class Absent(Exception):
    """A target that is not on this machine."""


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
def portkey(upstream: int, peers: Path) -> Iterator[Target]:
    """Portkey's open gateway on Node.js: no keys of its own, no records."""
    script = peers / "portkey" / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    node = shutil.which("node")
    if not script.exists() or node is None:
        raise Absent("`--install-peers` installs it, where Node.js is")
    port = free_port()
    env = {"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"}
    with started([node, str(script), f"--port={port}", "--headless"], port, env) as pid:
        headers = [
            "authorization: Bearer sk-upstream",
            "x-portkey-provider: openai",
            f"x-portkey-custom-host: http://127.0.0.1:{upstream}/v1",
        ]
        yield Target(name="portkey", port=port, headers=headers, measured=lambda: tree(pid))


_SINGLE: Final = "  {name}: {{provider: mock, price: {{input: 0.15, output: 0.6}}}}\n"
_WHOLE: Final = (
    "  {name}:\n    targets: [{{provider: mock, price: {{input: 0.15, output: 0.6}}}}, {{provider: spare}}]\n"
    "    cache: {{ttl: 1h, exact: {{any: true}}}}\n"
)
_LIMITS: Final = {
    "requests_per_minute": 100_000_000,
    "tokens_per_minute": 900_000_000,
    "concurrent_requests": 100_000,
    "usd_per_day": 1_000_000,
    "usd_per_month": 10_000_000,
}


@contextmanager
def loopwright(upstream: int, _peers: Path) -> Iterator[Target]:
    """The shipped gateway: key check, routing, usage, cost, and every call recorded."""
    with _ours(upstream, "loopwright", _SINGLE) as (target, _key):
        yield target


@contextmanager
def whole_road(upstream: int, _peers: Path) -> Iterator[Target]:
    """The same with a cache that is looked into, a route with a fallback, and five limits and budgets on the key."""
    with (
        _ours(upstream, "loopwright, all on", _WHOLE) as (target, key),
        Client(f"http://127.0.0.1:{target.port}", key) as api,
    ):
        mine = api.keys()[0]["id"]
        for kind, amount in _LIMITS.items():
            api.put_limit(kind, str(amount), key=mine)
        time.sleep(1.5)  # the worker hears of them
        yield target


@contextmanager
def _ours(upstream: int, name: str, model: str) -> Iterator[tuple[Target, str]]:
    """A house with one worker on CPU 0, recorder and Postgres on CPU 1, and the key of its administrator."""
    with tempfile.TemporaryDirectory() as folder:
        home, config, port = Path(folder, "home"), Path(folder, "loopwright.yaml"), free_port()
        provider = f"{{base_url: 'http://127.0.0.1:{upstream}/v1', api_key: sk-upstream}}"
        models = "".join(model.format(name=each) for each in MODELS)
        config.write_text(f"providers:\n  mock: {provider}\n  spare: {provider}\nmodels:\n{models}")
        env = {"LOOPWRIGHT_HOME": str(home), "LOOPWRIGHT_CONFIG": str(config)}
        command = [sys.executable, "-m", "loopwright.cli.main", "up", "--port", str(port)]
        with started(command, port, env, cpu_number=None) as pid:
            wait_for((home / "admin.key").exists, 60)
            named = {"worker": "_gateway", "recorder": "_recorder", "postgres": "postgres"}
            processes = {
                each: [child for child in tree(pid) if word in command_of(child)] for each, word in named.items()
            }
            for each, pids in processes.items():
                for child in pids:
                    os.sched_setaffinity(child, {0 if each == "worker" else 1})
            key = (home / "admin.key").read_text().strip()
            yield (
                Target(
                    name=name,
                    port=port,
                    headers=[f"authorization: Bearer {key}"],
                    measured=lambda: processes["worker"],
                    beside=lambda: {
                        each: [child for child in tree(pid) if word in command_of(child)]
                        for each, word in named.items()
                        if each != "worker"
                    },
                ),
                key,
            )


TARGETS: Final = {
    "direct": direct,
    "nginx": nginx,
    "tensorzero": tensorzero,
    "litellm": litellm,
    "portkey": portkey,
    "loopwright": loopwright,
    "loopwright, all on": whole_road,
}


def install(peers: Path) -> None:
    """LiteLLM, TensorZero and Portkey, each into an environment of its own."""
    wanted = {"litellm": ["litellm[proxy]", "opentelemetry-api", "opentelemetry-sdk"], "tensorzero": ["tensorzero"]}
    for name, packages in wanted.items():
        subprocess.run([sys.executable, "-m", "venv", peers / name], check=True)
        subprocess.run([peers / name / "bin" / "pip", "install", *packages], check=True)
    npm = shutil.which("npm")
    if npm is not None:
        # The newest server adapter it asks for answers every stream with 500 (Portkey-AI/gateway#1389).
        asked = {"dependencies": {"@portkey-ai/gateway": "1.15.2"}, "overrides": {"@hono/node-server": "1.13.5"}}
        (peers / "portkey").mkdir(parents=True, exist_ok=True)
        (peers / "portkey" / "package.json").write_text(json.dumps(asked))
        subprocess.run([npm, "install"], cwd=peers / "portkey", check=True)
