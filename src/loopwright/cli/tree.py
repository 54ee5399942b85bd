"""The process tree of a house: database, engines, recorder, workers. Starts them in order, stops them in reverse."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

from loopwright.access.keys import Keys
from loopwright.catalog.models import Catalog
from loopwright.cli.starting import LISTEN_FD
from loopwright.core.errors import Conflict, StartError
from loopwright.encryption import Encryption
from loopwright.engines import endpoints
from loopwright.engines.endpoints import Endpoint
from loopwright.engines.kinds import engine_of
from loopwright.engines.machine import look
from loopwright.engines.protocol import Plan
from loopwright.kit.db import Database
from loopwright.kit.http import HttpClient
from loopwright.kit.jobs import Jobs
from loopwright.kit.lock import FolderLock
from loopwright.kit.migrations import migrate
from loopwright.kit.postgres import EmbeddedPostgres
from loopwright.kit.processes import Process, Program, Supervisor
from loopwright.kit.seal import Seal
from loopwright.kit.settings import Settings, Timeouts
from loopwright.rooms import ROOMS

ADMIN_KEY: Final = "admin.key"
_ENGINES, _RECORDER, _WORKERS = 1, 2, 3
"""Stages: the highest stops first, so workers finish their answers while engines and recorder still run."""


@dataclass(slots=True, kw_only=True)
class Tree:
    """A running house."""

    settings: Settings
    lock: FolderLock
    listening: socket.socket
    postgres: EmbeddedPostgres | None
    database_url: str
    supervisor: Supervisor
    endpoints: dict[str, Endpoint]
    plans: dict[str, Plan]
    engines: dict[str, Process]
    """The process of each local model."""
    watching: list[asyncio.Task[None]]

    @classmethod
    async def start(cls, settings: Settings, *, engines: bool = True) -> Self:
        """Start everything; returns once all processes run (`ready` waits until they answer).

        Raises:
            StartError: something that must be there is not; whatever was started is stopped again.
        """
        home = settings.home
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = FolderLock.take(home / "up.lock")
        listening = _listen(settings.server.host, settings.server.port)
        postgres = None if settings.database.url else await EmbeddedPostgres.start(home / "pg")
        url = settings.database.url or (postgres.url if postgres else "")
        tree = cls(
            settings=settings,
            lock=lock,
            listening=listening,
            postgres=postgres,
            database_url=url,
            supervisor=Supervisor(),
            endpoints={},
            plans={},
            engines={},
            watching=[],
        )
        try:
            await tree._prepare_database()
            if engines:
                tree._plan_engines()
            endpoints.write(home, tree.endpoints)
            await tree._start_processes()
        except BaseException:
            await tree.stop()
            raise
        return tree

    async def ready(self) -> None:
        """Wait until every process answers.

        Raises:
            StartError: one of them ended, with its last lines.
        """
        await asyncio.gather(*(process.ready() for process in self.supervisor.processes.values()))
        self._note_engines()

    async def stop(self) -> None:
        """Stop everything in reverse: workers finish their answers, the recorder drains, engines and database go."""
        for task in self.watching:
            task.cancel()
        await asyncio.gather(*self.watching, return_exceptions=True)
        self.listening.close()
        await self.supervisor.stop_all()
        if self.postgres is not None:
            await self.postgres.stop()
        with suppress(FileNotFoundError):
            (self.settings.home / endpoints.FILE).unlink()
        self.lock.release()

    async def _prepare_database(self) -> None:
        db = await Database.open(self.database_url, size=2)
        try:
            await migrate(db, ROOMS)
            await Jobs(db).prepare()
            await Encryption(db, self.settings, Seal.of(self.settings.encryption)).check()
            await _administrator(Keys(db), self.settings.home / ADMIN_KEY)
        finally:
            await db.close()

    def _plan_engines(self) -> None:
        catalog = Catalog(self.settings)
        machine = look()
        for name, model in catalog.configured().items():
            if model.engine is None:
                continue
            plan = engine_of(model.engine.kind).plan(name, catalog.at_hand(model.engine), machine)
            if len(plan.adapters) != len(model.engine.adapters):
                raise StartError(f"model {name!r}: engines of kind {plan.kind} take no adapters. Take them out")
            machine = machine.less(plan.fit.total_bytes)
            self.plans[name] = plan
            self.endpoints[name] = Endpoint(
                name=name,
                kind=plan.kind,
                url=f"http://127.0.0.1:{_free_port()}/v1",
                secret=secrets.token_urlsafe(24),
                operations=plan.operations,
                context=plan.context,
                slots=plan.slots,
                supports_tools=plan.supports_tools,
                adapters=dict(plan.adapters),
                notes=plan.notes,
                fit=plan.fit.explanation,
            )

    async def _start_processes(self) -> None:
        logs = self.settings.home / "logs"
        logs.mkdir(exist_ok=True)
        for name, plan in self.plans.items():
            endpoint = self.endpoints[name]
            port = int(endpoint.url.rsplit(":", 1)[1].split("/")[0])
            log = logs / f"engine-{_file_name(name)}.log"
            program = engine_of(plan.kind).program(plan, port=port, secret=endpoint.secret, log=log)
            self.engines[name] = await self.supervisor.start(replace(program, stage=_ENGINES))
        await self.supervisor.start(self._program("recorder", "_recorder", stage=_RECORDER, grace=30.0))
        grace = self.settings.server.drain_timeout + 10.0
        for number in range(1, self.settings.server.workers + 1):
            worker = self._program(f"worker-{number}", "_gateway", stage=_WORKERS, grace=grace)
            await self.supervisor.start(replace(worker, pass_fds=(self.listening.fileno(),), ready=self._answers))
        if self.postgres is not None:
            self.watching.append(asyncio.create_task(self.postgres.watch()))
        self.watching.append(asyncio.create_task(self._watch_engines()))

    def _program(self, name: str, command: str, *, stage: int, grace: float) -> Program:
        return Program(
            name=name,
            command=[sys.executable, "-m", "loopwright.cli.child", command],
            env=self._environment(),
            log=self.settings.home / "logs" / f"{name}.log",
            grace=grace,
            stage=stage,
        )

    def _environment(self) -> Mapping[str, str]:
        """What the children must know beyond the file: they load the same settings."""
        told = {
            "LOOPWRIGHT_HOME": str(self.settings.home.resolve()),
            "LOOPWRIGHT_DATABASE_URL": self.database_url,
            LISTEN_FD: str(self.listening.fileno()),
        }
        if self.settings.file is not None:
            told["LOOPWRIGHT_CONFIG"] = str(self.settings.file.resolve())
        return told

    async def _answers(self) -> bool:
        host, port = self.listening.getsockname()[:2]
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
        address = f"[{host}]" if ":" in host else host
        client = HttpClient(base_url=f"http://{address}:{port}", headers={}, timeouts=Timeouts(first_token=5.0))
        try:
            return (await client.request("GET", "/healthz")).status == 200
        finally:
            await client.close()

    async def _watch_engines(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self._note_engines()

    def _note_engines(self) -> None:
        """Write down how the engines are, when that changed."""
        noted = {name: self._noted(name, endpoint) for name, endpoint in self.endpoints.items()}
        if noted != self.endpoints:
            self.endpoints = noted
            endpoints.write(self.settings.home, noted)

    def _noted(self, name: str, endpoint: Endpoint) -> Endpoint:
        process = self.engines.get(name)
        if process is None:
            return endpoint
        status = process.status
        return Endpoint(
            **{
                **{field: getattr(endpoint, field) for field in Endpoint.__struct_fields__},
                "pid": status.pid,
                "restarts": status.restarts,
                "healthy": status.healthy,
                "last_exit": status.last_exit,
            }
        )


def _listen(host: str, port: int) -> socket.socket:
    """The socket all workers share, so that a worker's restart loses no connection that waits.

    Raises:
        StartError: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(4096)
    except OSError as error:
        listening.close()
        raise StartError(
            f"cannot listen on {host}:{port}: {error.strerror}; stop what is there, or use `--port` or server.port"
        ) from None
    listening.setblocking(False)
    return listening


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _file_name(model: str) -> str:
    return "".join(char if char.isalnum() or char in "-_." else "_" for char in model)


def _kept(path: Path) -> str | None:
    """The secret in a key file; None when there is none."""
    try:
        return path.read_text().strip() or None
    except FileNotFoundError:
        return None


def _keep(path: Path, secret: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret + "\n")


async def _administrator(keys: Keys, path: Path) -> None:
    """The first key: kept in a file of the data folder, adopted by a database that does not know it yet."""
    await keys.load()
    secret = _kept(path)
    if secret is None:
        _key, secret = await _first(keys)
        _keep(path, secret)
    elif keys.find(secret) is None:
        await _adopt(keys, secret, path)


async def _first(keys: Keys) -> tuple[object, str]:
    number = 1
    while True:
        name = "admin" if number == 1 else f"admin-{number}"
        try:
            return await keys.create("default", name, admin=True)
        except Conflict:
            number += 1


async def _adopt(keys: Keys, secret: str, path: Path) -> None:
    try:
        await keys.create("default", f"admin {path.parent.name}", admin=True, secret=secret)
    except Conflict:
        raise StartError(
            f"the key in {path} was revoked in this database: remove the file to have a new one made"
        ) from None
