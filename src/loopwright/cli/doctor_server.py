"""What `doctor` examines of the port and of the server that is running, if one is."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from typing import Any

import psutil

from loopwright import __version__
from loopwright.cli.finding import Finding, fail, ok, warn
from loopwright.cli.quantities import bytes_text, seconds_text
from loopwright.cli.reach import reach
from loopwright.core.errors import LoopwrightError, Unauthenticated, Unavailable
from loopwright.kit.settings import Settings


def examine_server(settings: Settings, url: str | None, api_key: str | None) -> tuple[str | None, list[Finding]]:
    """Where a Loopwright answers, None when none does, and what it says of itself."""
    where = None
    try:
        with reach(url, api_key, timeout=10.0, settings=settings) as client:
            where = client.url
            status = client.status()
    except Unavailable as error:
        first = error.message.splitlines()[0]
        if "Connection refused" in first:
            return None, [ok("server", "not running; `loopwright up` starts it")]
        return None, [fail("server", first, "See the log in the data folder, and restart it")]
    except Unauthenticated:
        todo = "Give its key by LOOPWRIGHT_API_KEY or --api-key, or run where its data folder is"
        return where, [warn("server", "it answers, but refuses this key", todo)]
    except LoopwrightError as error:
        return None, [fail("server", error.message.splitlines()[0], "Is this the right address? Set LOOPWRIGHT_URL")]
    return where, _status(status, where)


def examine_port(settings: Settings, *, where: str | None) -> Finding:
    """Whether the port can be listened on, or the Loopwright that answers at `where` already does."""
    host, port = settings.server.host, settings.server.port
    name = f"{host}:{port}"
    if port == 0:
        return ok("port", "a free one is taken at each start")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError:
            return fail("port", f"{name}: this user may not listen there", "Take one from 1024 up: server.port")
        except OSError as error:
            if where is not None and where.endswith(f":{port}"):
                return ok("port", f"{name} is Loopwright's own")
            holder = _holder(port)
            todo = "Stop that program, or choose another: loopwright up --port, server.port"
            return fail("port", f"{name}: {error.strerror}{f' ({holder})' if holder else ''}", todo)
    return ok("port", f"{name} is free")


def _holder(port: int) -> str:
    """Which program listens on a port, as far as this user may know."""
    with contextlib.suppress(psutil.Error, OSError):
        for one in psutil.net_connections("tcp"):
            if one.status == psutil.CONN_LISTEN and one.laddr and one.laddr.port == port and one.pid:
                return f"{psutil.Process(one.pid).name()}, process {one.pid}"
    return ""


def _status(status: Mapping[str, Any], where: str) -> list[Finding]:
    version, uptime = status.get("version"), seconds_text(status.get("uptime_s"))
    text = f"{where} answers: version {version}, up {uptime}, workers: {status.get('workers')}, models: {status.get('models')}"
    found = [
        ok("server", text)
        if version == __version__
        else warn("server", text, f"This command is version {__version__}: restart the server to have them alike")
    ]
    if status.get("database") != "up":
        todo = "Calls wait in the spool until it is back: see the database's log"
        found.append(fail("server", f"its database: {status.get('database')}", todo))
    found += [_engine(engine) for engine in status.get("engines") or ()]
    lag = status.get("drain_lag_s")
    if isinstance(lag, int | float) and lag > 60:
        text = f"the oldest call that waits for the database is {seconds_text(lag)} old ({bytes_text(status.get('spool_bytes') or 0)} wait)"
        found.append(warn("recorder", text, "See recorder.log in the data folder's log, and the database"))
    return found


def _engine(engine: Mapping[str, Any]) -> Finding:
    name, restarts = engine.get("name"), engine.get("restarts") or 0
    again = f", {restarts} restarts, the last after: {engine.get('last_exit') or 'unknown'}" if restarts else ""
    if not engine.get("healthy"):
        return fail("engine", f"{name} does not answer{again}", "See its log in the data folder")
    text = f"{name} is healthy: {engine.get('context'):,} tokens of context, {engine.get('slots')} slots{again}"
    return warn("engine", text, "See its log in the data folder") if restarts else ok("engine", text)
