"""What engines of ours take, metered once a minute: their share of what the processor says, or their time in watts.

The method is CodeCarbon's (https://mlco2.github.io/codecarbon/methodology.html): the processor's own meter (RAPL) where
there is one, else a power for each busy thread; and a power for memory. A share of the processor's meter is an engine's
by its part of the processor time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psutil

from loopwright.engines import endpoints
from loopwright.kit.db import Database
from loopwright.kit.settings_energy import EnergySettings

POWERCAP: Final = Path("/sys/class/powercap")
_MINUTE: Final = 60.0
_LONGEST: Final = 600.0
"""Seconds: after a longer gap (a machine that slept) a share of the processor's meter says nothing."""
_JOULES_A_MICRO: Final = 1e-6
_PUT: Final = """
    insert into energy_hours (bucket, machine, model, method, cpu_s, joules)
    values (date_trunc('hour', %(now)s::timestamptz), %(machine)s, %(model)s, %(method)s, %(cpu_s)s, %(joules)s)
    on conflict (bucket, machine, model, method) do update
    set cpu_s = energy_hours.cpu_s + excluded.cpu_s, joules = energy_hours.joules + excluded.joules
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was read at one moment."""

    at: float
    """Monotonic seconds."""
    busy: float
    """Processor seconds of the whole machine."""
    micro: Mapping[str, int]
    """Microjoules by meter of a processor, where there are any."""
    engines: Mapping[str, tuple[int, float, float]]
    """By model: which process, its processor seconds, its gigabytes of memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What one engine took between two readings."""

    model: str
    method: str
    cpu_s: float
    joules: float


class EnergyMeter:
    """A round of the recorder of each machine. What was before its first reading is not counted."""

    every = _MINUTE

    def __init__(
        self, db: Database, home: Path, settings: EnergySettings, *, machine: str, powercap: Path = POWERCAP
    ) -> None:
        self.name = f"energy of {machine}"
        self._db = db
        self._home = home
        self._settings = settings
        self._machine = machine
        self._powercap = powercap
        self._last: Seen | None = None

    async def __call__(self) -> None:
        """Read, and add what was taken since the reading before."""
        seen = await asyncio.to_thread(read, self._home, self._powercap, asyncio.get_running_loop().time)
        last, self._last = self._last, seen
        if last is None:
            return
        now = datetime.now(UTC)
        for each in taken(last, seen, self._settings, limits(self._powercap)):
            await self._db.run(
                _PUT,
                {
                    "now": now, "machine": self._machine, "model": each.model, "method": each.method,
                    "cpu_s": each.cpu_s, "joules": each.joules,
                },
            )  # fmt: skip


def read(home: Path, powercap: Path, clock: Callable[[], float]) -> Seen:
    """One reading of this machine."""
    engines: dict[str, tuple[int, float, float]] = {}
    for name, endpoint in endpoints.read(home).items():
        if endpoint.pid is not None:
            with suppress(psutil.Error):
                engines[name] = _process(endpoint.pid)
    times = psutil.cpu_times()
    return Seen(
        at=clock(),
        busy=sum(times) - times.idle - getattr(times, "iowait", 0.0),
        micro=_meters(powercap),
        engines=engines,
    )


def _process(pid: int) -> tuple[int, float, float]:
    process = psutil.Process(pid)
    used, held = process.cpu_times(), process.memory_info().rss
    return pid, used.user + used.system + used.children_user + used.children_system, held / 1e9


def _meters(powercap: Path) -> dict[str, int]:
    """Microjoules of each package; their parts (cores, memory) are within."""
    found = {}
    for folder in sorted(powercap.glob("intel-rapl:*")):
        if folder.name.count(":") == 1:
            with suppress(OSError, ValueError):  # readable by root only, on most machines
                found[folder.name] = int((folder / "energy_uj").read_text())
    return found


def limits(powercap: Path) -> dict[str, int]:
    """Microjoules after which each meter begins anew."""
    found = {}
    for folder in powercap.glob("intel-rapl:*"):
        with suppress(OSError, ValueError):
            found[folder.name] = int((folder / "max_energy_range_uj").read_text())
    return found


def taken(last: Seen, now: Seen, settings: EnergySettings, ranges: Mapping[str, int]) -> list[Taken]:
    """What each engine that was there at both readings took between them, cooling included."""
    passed = now.at - last.at
    if passed <= 0:
        return []
    package = _passed(last.micro, now.micro, ranges) if passed <= _LONGEST else None
    busy = now.busy - last.busy
    found = []
    for model, (pid, cpu, held) in now.engines.items():
        before = last.engines.get(model)
        if before is None or before[0] != pid or cpu < before[1]:
            continue
        used = cpu - before[1]
        if package is not None:
            method, joules = "rapl", package * (min(used / busy, 1.0) if busy > 0 else 0.0)
        else:
            method, joules = "watts", used * settings.watts_per_thread
        joules = (joules + held * settings.watts_per_gb * passed) * settings.pue
        found.append(Taken(model=model, method=method, cpu_s=used, joules=joules))
    return found


def _passed(last: Mapping[str, int], now: Mapping[str, int], ranges: Mapping[str, int]) -> float | None:
    """Joules of all packages between two readings; None when there is no meter at both."""
    if not now or last.keys() != now.keys():
        return None
    total = 0
    for name, value in now.items():
        gone = value - last[name]
        total += gone if gone >= 0 else gone + ranges.get(name, 0)
    return total * _JOULES_A_MICRO


async def metered(db: Database, since: datetime, until: datetime) -> dict[str, dict[str, float]]:
    """Joules by model and method of the hours that a time touches, of all machines."""
    rows: list[dict[str, Any]] = await db.rows(
        """select model, method, sum(joules) as joules from energy_hours
           where bucket >= date_trunc('hour', %s::timestamptz) and bucket < %s group by 1, 2""",
        (since, until),
    )
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        found.setdefault(row["model"], {})[row["method"]] = row["joules"]
    return found
