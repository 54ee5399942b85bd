"""What takes OTLP in and is measured: our house, MLflow, Phoenix; each started, counted and weighed the same way."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
import psutil
import psycopg

PEERS: Final[Mapping[str, Sequence[str]]] = {"mlflow": ("mlflow>=3.17",), "phoenix": ("arize-phoenix>=20",)}
_UP: Final = re.compile(r"OpenAI\s+(http://\S+)/v1")
_FOREIGN: Final = ("LOOPWRIGHT_", "MLFLOW_", "PHOENIX_", "OTEL_")


@dataclass
class Target:
    """One server in a folder of its own."""

    name: str
    folder: Path
    command: Sequence[str | Path]
    path: str
    env: Mapping[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    url: str = ""
    process: subprocess.Popen[bytes] | None = None
    _spent: float = 0.0

    def start(self, port: int) -> None:
        """Start, and wait until it answers."""
        command = [str(each).replace("PORT", str(port)) for each in self.command]
        env = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=env | dict(self.env), stdout=log, stderr=log, start_new_session=True
            )
        self.url = f"http://127.0.0.1:{port}"
        end = time.monotonic() + 300
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > end:
                sys.exit(f"{self.name} did not start:\n{(self.folder / 'log').read_text(errors='replace')[-3000:]}")
            time.sleep(0.3)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/", timeout=2).status_code < 500
        except httpx.HTTPError:
            return False

    def prepared(self) -> None:
        """What must be known before the first request."""

    def processes(self) -> list[psutil.Process]:
        """It and all below it."""
        if self.process is None:
            return []
        with suppress(psutil.NoSuchProcess):
            whole = psutil.Process(self.process.pid)
            return [whole, *whole.children(recursive=True)]
        return []

    def cpu(self) -> float:
        """CPU seconds since its start, those of processes that ended included."""
        total = 0.0
        for each in self.processes():
            with suppress(psutil.NoSuchProcess):
                used = each.cpu_times()
                total += used.user + used.system + used.children_user + used.children_system
        return total

    def memory(self) -> float:
        """Megabytes of all its processes, shared ones counted once."""
        total = 0
        for each in self.processes():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                total += each.memory_full_info().pss
        return total / 1e6

    def kill(self) -> None:
        """`kill -9` of everything at once."""
        alive = self.processes()
        for each in alive:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        if self.process is not None:
            self.process.wait(30)
        psutil.wait_procs(alive, 30)

    def stop(self) -> None:
        """As an operator does."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.kill()

    def stored(self) -> int:
        """Spans that are in its database now."""
        raise NotImplementedError

    def known(self, traces: Sequence[bytes]) -> int:
        """Spans of these traces that are in its database now."""
        raise NotImplementedError

    def disk(self) -> int:
        """Bytes of its database."""
        raise NotImplementedError

    def busy(self) -> bool:
        """Whether it still works on what it acknowledged."""
        return False


class House(Target):
    """`loopwright up` with the embedded PostgreSQL and nothing configured."""

    def prepared(self) -> None:
        """Its key, its real address, and the database that it started."""
        text = (self.folder / "log").read_text()
        self.url = _UP.findall(text)[-1]
        key = (self.folder / ".loopwright" / "admin.key").read_text().strip()
        self.headers = {"authorization": f"Bearer {key}"}

    def _answers(self) -> bool:
        return bool(_UP.search((self.folder / "log").read_text()))

    def _rows(self, statement: str, *values: object) -> int:
        home = self.folder / ".loopwright"
        [socket] = [each.parent for each in home.rglob(".s.PGSQL.*") if not each.name.endswith(".lock")]
        url = f"postgresql://loopwright@/loopwright?host={socket}"
        with psycopg.connect(url, autocommit=True) as connection:
            row = connection.execute(statement.encode(), values or None).fetchone()
        return int(row[0]) if row else 0

    def stored(self) -> int:
        """Rows of spans."""
        return self._rows("select count(*) from spans")

    def known(self, traces: Sequence[bytes]) -> int:
        """Spans whose call, where they are one, is on record too."""
        return self._rows(
            """select count(*) from spans s where trace_id = any(%s::uuid[])
               and (call_id is null or exists (select from calls c where c.id = s.call_id))""",
            [each.hex() for each in traces],
        )

    def disk(self) -> int:
        """All tables and indexes, without what PostgreSQL begins with."""
        return self._rows(
            """select sum(pg_total_relation_size(c.oid)) from pg_class c
               where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace"""
        )

    def busy(self) -> bool:
        """Something waits in the spool or to be summed up, or full text goes on: of the newest calls it waits for more."""
        waiting = httpx.get(f"{self.url}/api/status", headers=self.headers, timeout=30).json()["waiting_bytes"]
        unindexed, before = self._rows("select count(*) from call_unindexed"), self.unindexed
        self.unindexed = unindexed
        return bool(waiting or unindexed != before or self._rows("select count(*) from trace_touched"))

    unindexed: int = 0


class OnSqlite(Target):
    """A server with a SQLite file."""

    pattern: str = "*.db"

    def _file(self) -> Path:
        return next(self.folder.rglob(self.pattern))

    def _rows(self, statement: str, values: Sequence[object] = ()) -> int:
        with closing(sqlite3.connect(f"file:{self._file()}?mode=ro", uri=True, timeout=60)) as db:
            return int(db.execute(statement, values).fetchone()[0])

    def stored(self) -> int:
        """Rows of spans."""
        return self._rows("select count(*) from spans")

    def disk(self) -> int:
        """The file with its log."""
        return sum(each.stat().st_size for each in self.folder.rglob(self.pattern + "*"))


class Mlflow(OnSqlite):
    """`mlflow server`."""

    pattern = "mlflow.db"

    def known(self, traces: Sequence[bytes]) -> int:
        """Its ids of traces are `tr-` and the hexadecimal digits."""
        marks = ",".join("?" * len(traces))
        return self._rows(
            f"select count(*) from spans where trace_id in ({marks})",
            [f"tr-{each.hex()}" for each in traces],
        )


class Phoenix(OnSqlite):
    """`phoenix serve`."""

    pattern = "phoenix.db"

    def known(self, traces: Sequence[bytes]) -> int:
        """Traces have a table of their own."""
        marks = ",".join("?" * len(traces))
        return self._rows(
            f"select count(*) from spans s join traces t on t.id = s.trace_rowid where t.trace_id in ({marks})",
            [each.hex() for each in traces],
        )


Making = Callable[[Path], Target]


def house(folder: Path) -> Target:
    """Ours."""
    # No engine of ours beside it: what is measured takes telemetry in, and the others host nothing either.
    (folder / "loopwright.yaml").write_text("providers: {said: {kind: scripted}}\nmodels: {said: {provider: said}}\n")
    command = [sys.executable, "-m", "loopwright.cli.main", "up", "--port", "PORT"]
    return House("Loopwright", folder, command, "/otlp/v1/traces")


def mlflow(peers: Path) -> Making:
    """MLflow out of an environment of its own."""

    def made(folder: Path) -> Target:
        program = peers / "mlflow" / "bin" / "mlflow"
        command: list[str | Path] = [
            program,
            "server",
            "--backend-store-uri",
            f"sqlite:///{folder}/mlflow.db",
            "--host",
            "127.0.0.1",
            "--port",
            "PORT",
        ]
        path = f"{program.parent}:{os.environ['PATH']}"  # it starts others by their bare names
        return Mlflow(
            "MLflow", folder, command, "/v1/traces", env={"PATH": path}, headers={"x-mlflow-experiment-id": "0"}
        )

    return made


def phoenix(peers: Path) -> Making:
    """Phoenix out of an environment of its own."""

    def made(folder: Path) -> Target:
        env = {
            "PHOENIX_WORKING_DIR": str(folder),
            "PHOENIX_HOST": "127.0.0.1",
            "PHOENIX_TELEMETRY_ENABLED": "false",
            "PHOENIX_GRPC_PORT": "0",
        }
        return PhoenixAt("Phoenix", folder, [peers / "phoenix" / "bin" / "phoenix", "serve"], "/v1/traces", env=env)

    return made


class PhoenixAt(Phoenix):
    """Told its port by the environment."""

    def start(self, port: int) -> None:
        """Start, and wait until it answers."""
        self.env = {**self.env, "PHOENIX_PORT": str(port)}
        super().start(port)


def install(peers: Path) -> None:
    """Put the others into environments of their own."""
    for name, packages in PEERS.items():
        subprocess.run([sys.executable, "-m", "venv", peers / name], check=True)
        subprocess.run([peers / name / "bin" / "pip", "install", "-q", *packages], check=True)
