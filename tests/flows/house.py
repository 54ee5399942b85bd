"""A real house in a folder of its own: `loopwright up` as a user starts it, and what tests do to it."""

from __future__ import annotations

import asyncio
import atexit
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import psycopg

from loopwright.kit.db import Database
from loopwright.kit.jobs import Jobs
from loopwright.kit.migrations import migrate
from loopwright.kit.postgres import EmbeddedPostgres
from loopwright.rooms import ROOMS

_T = TypeVar("_T")
_UP = re.compile(r"OpenAI\s+(http://\S+)/v1")
SCRIPTED = """
providers:
  fake: {kind: scripted, args: {answers: [{match: "^count (?P<n>\\\\d+)$", text: "answer $n"}], between: 0.001}}
  flood: {kind: scripted, args: {otherwise: "FLOOD", chunk: 500}}
models:
  flood: {provider: flood}
  fake: {provider: fake, price: {input: 1.0, output: 2.0}}
  unpriced: {provider: fake, model: fake}
""".replace("FLOOD", "$last" * 100)  # each process reads this file: what makes much out of little, not much


@cache
def _database() -> Path:
    """A database with all tables and nothing in them, as a first start makes it, which takes longest of all it does.

    Made once and copied for each house: `tests/house/test_readme.py` starts one without.
    """
    folder = Path(tempfile.mkdtemp(prefix="lw-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with ThreadPoolExecutor(1) as pool:  # the first house of a process may be started within a loop
        pool.submit(lambda: asyncio.run(_make(folder / "pg"))).result()
    return folder / "pg"


async def _make(folder: Path) -> None:
    server = await EmbeddedPostgres.start(folder, settings={"fsync": "off"})
    db = await Database.open(server.url, size=2)
    await migrate(db, ROOMS)
    await Jobs(db).prepare()
    await db.close()
    async with await psycopg.AsyncConnection.connect(server.url_of("postgres", "postgres"), autocommit=True) as admin:
        # Machines do not fail here, only processes: what the system has been given is as good as on the disk.
        await admin.execute("ALTER SYSTEM SET fsync = off")
    await server.stop()


class House:
    """One data folder, one `loopwright up`."""

    def __init__(self, folder: Path, *, config: str | None = None, arguments: tuple[str, ...] = (), **env: str) -> None:
        self.folder = folder
        self.log = folder / "up.log"
        self.arguments = arguments
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._env = {name: value for name, value in os.environ.items() if not name.startswith("LOOPWRIGHT_")} | env
        if config is not None:
            (folder / "loopwright.yaml").write_text(config)

    def start(self) -> House:
        """Start and wait until it says that it is up."""
        home = self.folder / ".loopwright"
        if not home.exists() and "LOOPWRIGHT_DATABASE_URL" not in self._env:
            home.mkdir(mode=0o700)
            subprocess.run(["cp", "-a", _database(), home / "pg"], check=True)  # with its owner
        command = [sys.executable, "-m", "loopwright.cli.main", "up", "--port", "0", *self.arguments]
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=self._env, stdout=output, stderr=output, start_new_session=True
            )
        process = self._process
        wait(lambda: _UP.search(self.log.read_text()) or process.poll() is not None)
        found = _UP.search(self.log.read_text())
        assert found, f"it did not start:\n{self.log.read_text()}"
        self.url = found[1]
        return self

    def stop(self) -> int:
        """As an operator does; its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(90)

    def kill(self) -> None:
        """`kill -9` of every process of the house at once."""
        assert self._process is not None
        processes = [psutil.Process(self._process.pid), *psutil.Process(self._process.pid).children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):  # some die with their parent
                process.kill()
        self._process.wait(30)
        psutil.wait_procs(processes, 30)

    def children(self, word: str) -> list[psutil.Process]:
        """Its processes that have `word` in their command line."""
        assert self._process is not None
        found = psutil.Process(self._process.pid).children(recursive=True)
        return [process for process in found if word in " ".join(process.cmdline())]

    @property
    def key(self) -> str:
        """The administrator's."""
        return (self.folder / ".loopwright" / "admin.key").read_text().strip()

    def api(self, method: str, path: str, *, key: str | None = None, **options: Any) -> httpx.Response:
        """A management request."""
        headers = {"authorization": f"Bearer {key or self.key}"}
        return httpx.request(method, self.url + path, headers=headers, timeout=60, **options)

    def calls(self, **filters: Any) -> list[dict[str, Any]]:
        """All calls on record that pass the filters, newest first."""
        found: list[dict[str, Any]] = []
        before: str | None = None
        while True:
            page = self.api(
                "GET", "/api/calls", params={**filters, "limit": 1000, **({"before": before} if before else {})}
            )
            assert page.status_code == 200, page.text
            found += page.json()["calls"]
            before = page.json()["next"]
            if before is None:
                return found

    def settled(self) -> None:
        """Wait until nothing is left in the spool."""
        wait(lambda: self.api("GET", "/api/status").json()["waiting_bytes"] == 0)


def wait(condition: Callable[[], _T | None], seconds: float = 180) -> _T:
    """Until `condition` holds; what it said then."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
    return found
