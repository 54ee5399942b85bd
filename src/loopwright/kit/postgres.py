"""PostgreSQL from a Python package, run in the data folder for as long as this process lives."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self
from urllib.parse import quote

import psutil
import psycopg

from loopwright.core.errors import StartError
from loopwright.kit.lock import FolderLock
from loopwright.kit.postgres_files import (
    PORT,
    ROLE,
    Account,
    account_for,
    bound_log,
    check_version,
    command,
    include_settings,
    last_words,
    programs,
    socket_folder,
    write_settings,
)

_START_LIMIT = 600.0
"""Seconds the server may take to be ready: after a crash it replays up to 1 GB of its journal first."""
_STOP_LIMIT = 30.0
"""Seconds a fast shutdown may take before the server is stopped without its last checkpoint."""
_LONGEST_PAUSE = 30.0
"""Seconds between restarts, at most."""
_INSTEAD = "or set database.url (LOOPWRIGHT_DATABASE_URL) to a server of yours"

_log = logging.getLogger(__name__)


class EmbeddedPostgres:
    """The server of one data folder. Only this user can connect, by a socket that is closed to everyone else."""

    def __init__(self, folder: Path, account: Account, sockets: Path, lock: FolderLock) -> None:
        self.folder = folder
        self.log = folder.with_name("pg.log")
        self._account = account
        self._sockets = sockets
        self._lock = lock
        self._binaries = programs()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    @classmethod
    async def start(cls, folder: Path, *, settings: Mapping[str, str] | None = None) -> Self:
        """Start the server of `folder`, which is made when missing; its lock, log and socket stand beside it.

        Call it on the main thread: the kernel stops the server when the thread that started it ends. `settings` are
        PostgreSQL's own and come before ours.

        Raises:
            StartError: the folder is in use, is not ours, was made by another version, or the server does not start.
        """
        folder = Path(os.path.realpath(folder))  # noqa: ASYNC240  (once, at the start)
        lock = FolderLock.take(folder.with_name("pg.lock"))
        try:
            binaries = programs()
            account = account_for(folder, binaries)
            server = cls(folder, account, socket_folder(folder, account), lock)
        except OSError as error:
            lock.release()
            raise StartError(f"cannot prepare {folder.parent} for PostgreSQL: {error}; {_INSTEAD}") from error
        except BaseException:
            lock.release()
            raise
        try:
            await _stop_orphans(folder, server._sockets)
            if not (folder / "PG_VERSION").exists():
                await server._make(synced=(settings or {}).get("fsync") != "off")
            check_version(folder)
            write_settings(folder, server._sockets, account, settings or {})
            await server._run()
            await server._prepare()
        except (OSError, psycopg.Error) as error:
            await server.stop()
            raise StartError(f"cannot start PostgreSQL in {folder}: {error}; {_INSTEAD}") from error
        except BaseException:
            await server.stop()
            raise
        return server

    @property
    def url(self) -> str:
        """Where the house's database is; stays the same when the server is started again."""
        return self.url_of(ROLE, ROLE)

    def url_of(self, database: str, role: str) -> str:
        """Where `database` is, for `role`: `loopwright`, or `postgres`, who may do everything."""
        return f"postgresql://{role}@/{quote(database)}?host={quote(str(self._sockets), safe='')}&port={PORT}"

    @property
    def pid(self) -> int | None:
        """The server's process, while it runs."""
        running = self._process is not None and self._process.poll() is None
        return self._process.pid if self._process is not None and running else None

    async def watch(self) -> None:
        """Until cancelled or stopped: start the server again when it dies, with back-off, and keep its log bounded."""
        pause, since = 1.0, time.monotonic()
        while True:
            await asyncio.sleep(1.0)
            if self._stopped:
                return
            if self.pid is not None:
                bound_log(self.log)
                if time.monotonic() - since > 60:
                    pause = 1.0
                continue
            _log.error("PostgreSQL has died; starting it again. Its last words:\n%s", last_words(self.log, 0))
            try:
                await _stop_orphans(self.folder, self._sockets)
                await self._run()
            except (StartError, OSError) as error:
                _log.error("%s", error)
            since = time.monotonic()
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def stop(self) -> None:
        """Stop the server: clients are disconnected, everything is written, the folder is free. May be repeated."""
        self._stopped = True
        process = self._process
        if process is not None:
            for how, limit in ((signal.SIGINT, _STOP_LIMIT), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
                if process.poll() is None:
                    process.send_signal(how)
                    await _ended(process, limit)
            self._process = None
        if self._sockets != self.folder.with_name("pg.run"):
            shutil.rmtree(self._sockets, ignore_errors=True)
        self._lock.release()

    async def _make(self, *, synced: bool) -> None:
        """Make the data folder beside its place first, so that one broken off is never taken for a good one."""
        if self.folder.exists() and any(self.folder.iterdir()):
            raise StartError(f"{self.folder} has files but no database; move it away and start again")
        new = self.folder.with_name(f"{self.folder.name}.new")
        if new.exists():
            shutil.rmtree(new)
        new.mkdir(mode=0o700, parents=True)
        self._account.give(new)
        process = self._spawn(
            "initdb",
            *("-D", str(new), "-U", "postgres", "--auth=peer", "--no-instructions"),
            # A sort order of its own: one from the C library changes with the machine and breaks indexes.
            *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            *(() if synced else ("--no-sync",)),
        )
        if not await _ended(process, _START_LIMIT) or process.returncode != 0:
            process.kill()
            raise StartError(f"cannot make a database in {new}; its last words:\n{last_words(self.log, 0)}")
        include_settings(new)
        if self.folder.exists():
            self.folder.rmdir()
        new.rename(self.folder)

    def _spawn(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        bound_log(self.log)
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            return subprocess.Popen(  # noqa: S603  (our own launcher)
                command(self._account, self._binaries, program, *arguments),
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                cwd="/",
                env={"PATH": os.defpath, "LC_ALL": "C"},
                # Ctrl-C at the terminal is for us; the server stops after its clients.
                start_new_session=True,
            )
        finally:
            os.close(descriptor)

    async def _run(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            StartError: it ended, or was not ready in time; with what it wrote.
        """
        written = self.log.stat().st_size if self.log.exists() else 0
        process = self._process = self._spawn("postgres", "-D", str(self.folder))
        deadline = time.monotonic() + _START_LIMIT
        while not self._ready(process.pid):
            if process.poll() is not None:
                raise StartError(f"PostgreSQL did not start in {self.folder}:\n{last_words(self.log, written)}")
            if time.monotonic() > deadline:
                process.kill()
                raise StartError(f"PostgreSQL was not ready after {_START_LIMIT:.0f} s; see {self.log}")
            await asyncio.sleep(0.02)

    def _ready(self, pid: int) -> bool:
        with contextlib.suppress(OSError, IndexError, ValueError):
            lines = (self.folder / "postmaster.pid").read_text("utf-8").splitlines()
            return int(lines[0]) == pid and lines[7].strip() == "ready"
        return False

    async def _prepare(self) -> None:
        """Make what the house needs and its role may not make itself; each start, so that a crash between heals."""
        admin = self.url_of("postgres", "postgres")
        async with await psycopg.AsyncConnection.connect(admin, autocommit=True) as connection:
            found = await (await connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (ROLE,))).fetchone()
            if found is None:
                await connection.execute("CREATE ROLE loopwright LOGIN")
            found = await (await connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (ROLE,))).fetchone()
            if found is None:
                await connection.execute("CREATE DATABASE loopwright OWNER loopwright")
        inside = self.url_of(ROLE, "postgres")
        async with await psycopg.AsyncConnection.connect(inside, autocommit=True) as connection:
            found = await (await connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'vector'")).fetchone()
            if found is None:
                await connection.execute("CREATE EXTENSION vector")


async def _ended(process: subprocess.Popen[bytes], limit: float) -> bool:
    """Whether the process ended within `limit` seconds."""
    deadline = time.monotonic() + limit
    while process.poll() is None:
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


def _processes_of(folder: Path) -> list[psutil.Process]:
    """The PostgreSQL processes at work in a data folder: they all stand in it."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.name() == "postgres" and process.cwd() == str(folder):
                found.append(process)
    return found


async def _gone(folder: Path, limit: float) -> None:
    deadline = time.monotonic() + limit
    while _processes_of(folder) and time.monotonic() < deadline:  # noqa: ASYNC110  (they are no children of ours)
        await asyncio.sleep(0.05)


async def _stop_orphans(folder: Path, sockets: Path) -> None:
    """Stop what a killed Loopwright left at work in `folder`, and remove its stale lock files. We hold the lock.

    Raises:
        StartError: they cannot be stopped.
    """
    for how, limit in ((signal.SIGINT, _STOP_LIMIT), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
        orphans = _processes_of(folder)
        if not orphans:
            break
        _log.warning("stopping PostgreSQL left over in %s (process %d)", folder, orphans[0].pid)
        pids = {process.pid for process in orphans}
        # The signal is for the postmaster; without one (it was killed), for each that is left.
        heads = [process for process in orphans if process.ppid() not in pids]
        for process in heads:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(how)
        await _gone(folder, limit)
    else:
        if left := _processes_of(folder):
            raise StartError(f"PostgreSQL process {left[0].pid} is still at work in {folder}; stop it and start again")
    # The number in them may be another program's by now, and PostgreSQL would take that one for a server.
    (folder / "postmaster.pid").unlink(missing_ok=True)
    for name in (f".s.PGSQL.{PORT}", f".s.PGSQL.{PORT}.lock"):
        (sockets / name).unlink(missing_ok=True)
