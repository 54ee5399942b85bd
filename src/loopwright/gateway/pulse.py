"""Tells every two seconds, in a file, how one process is: its routes, what it takes of the machine, what it has counted.

So `/metrics` answers for all workers whichever of them is asked, also while the database is away.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from loopwright.gateway.counted import Meters
from loopwright.gateway.route import Route

EVERY: Final = 2.0
FRESH: Final = 10.0
"""Seconds after which a process that tells nothing is taken to be gone."""
SUFFIX: Final = ".told"
_OLD: Final = 60.0
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_log = logging.getLogger(__name__)
Tell = Callable[[], Mapping[str, float]]
"""Numbers of a process, by name."""


class Told(msgspec.Struct, kw_only=True):
    """What one process said last."""

    role: str
    process: int
    at: float
    """Unix seconds."""
    cpu: float
    """Seconds it has used."""
    memory: int
    """Bytes of it that are resident."""
    lag: float
    """Seconds that its event loop was late."""
    routes: list[dict[str, Any]] = []
    numbers: dict[str, float] = {}


@dataclass(slots=True, kw_only=True)
class Pulse:
    """Of one process."""

    folder: Path
    role: str
    meters: Meters
    routes: Sequence[Route] = ()
    tell: Tell = dict
    counts: Tell = dict
    """Numbers that only rise while the process lives: added to what was counted by those before it."""
    lag: float = 0.0
    _seen: dict[tuple[str, ...], float] = field(default_factory=dict)

    async def run(self) -> None:
        """Tell until cancelled."""
        clock = asyncio.get_running_loop().time
        try:
            while True:
                try:
                    self.beat()
                except Exception:  # noqa: BLE001 - a full disk, or whatever it is, must not end a worker
                    _log.exception("what this process is like could not be told")
                began = clock()
                await asyncio.sleep(EVERY)
                self.lag = max(clock() - began - EVERY, 0.0)
        finally:
            self._path.unlink(missing_ok=True)

    def beat(self) -> Told:
        """Tell once; what was told."""
        told = self.now()
        self._count(told)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = self._path.with_suffix(f".{os.getpid()}.draft")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(told))
        draft.replace(self._path)
        return told

    def now(self) -> Told:
        """How it is."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        return Told(
            role=self.role,
            process=os.getpid(),
            at=time.time(),
            cpu=used.ru_utime + used.ru_stime,
            memory=_resident(),
            lag=round(self.lag, 6),
            routes=[route.shown() for route in self.routes if route.standings],
            numbers=dict(self.tell()),
        )

    @property
    def _path(self) -> Path:
        return self.folder / f"{os.getpid()}{SUFFIX}"

    def _count(self, told: Told) -> None:
        rising: dict[tuple[str, ...], float] = {("cpu_us", self.role): told.cpu * 1e6}
        for name, value in self.counts().items():
            rising[name,] = value
        for route in told.routes:
            for target in route["targets"]:
                where = (route["name"], target["provider"], target["model"])
                for name in ("attempts", "failures"):
                    # Two targets of a route may have one name.
                    key = (f"target_{name}", *where)
                    rising[key] = rising.get(key, 0) + target.get(name, 0)
            rising["retries", route["name"]] = route["retries"]["made"]
            for name in ("asked", "won"):
                rising["hedges", route["name"], name] = route.get("hedge", {}).get(name, 0)
            for name in ("kept", "escalated"):
                rising["cascades", route["name"], name] = route.get("cascade", {}).get(name, 0)
        for labels, value in rising.items():
            more = int(value) - int(self._seen.get(labels, 0))
            if more > 0:
                self.meters.event(*labels, amount=more)
                self._seen[labels] = value


def told(folder: Path, now: float | None = None) -> list[Told]:
    """What the living processes said last; files of those long gone are removed."""
    now = time.time() if now is None else now
    found: list[Told] = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            one = msgspec.json.decode(path.read_bytes(), type=Told)
        except (FileNotFoundError, msgspec.MsgspecError):
            continue
        if now - one.at <= FRESH:
            found.append(one)
        elif now - one.at > _OLD:
            path.unlink(missing_ok=True)
    return found


def _resident() -> int:
    try:
        return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0
