"""Real engines for the tests of this room: an event loop in a thread of its own supervises them."""

import asyncio
import importlib.metadata
import secrets
import socket
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import openai
import pytest

from loopwright.engines.machine import look
from loopwright.engines.protocol import Engine, Plan
from loopwright.kit.processes import Backoff, Process, Supervisor
from loopwright.kit.settings import EngineSettings

T = TypeVar("T")


def carried(package: str, ending: str) -> Path:
    """A file of an installed package; the test is skipped when the package is missing."""
    try:
        files = importlib.metadata.distribution(package).files or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"package {package} is not installed (make install brings it)")
    return Path(str(next(file for file in files if str(file).endswith(ending)).locate()))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A running engine as a client sees it."""

    plan: Plan
    process: Process
    port: int
    secret: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def openai(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=self.secret, max_retries=0, timeout=60)

    def http(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.secret}"}, timeout=60)


class House:
    """Starts engines on a loop that outlives the tests."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._supervisor = Supervisor(backoff=Backoff(first=0.05, most=0.2))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(120)

    def serve(self, engine: Engine, name: str, settings: EngineSettings) -> Served:
        plan = engine.plan(name, settings, look())
        port, secret = free_port(), secrets.token_urlsafe(24)
        program = engine.program(plan, port=port, secret=secret, log=self._logs / f"{name}.log")
        process = self.run(self._supervisor.start(program))
        self.run(process.ready(100))
        return Served(plan=plan, process=process, port=port, secret=secret)

    def close(self) -> None:
        self.run(self._supervisor.stop_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
