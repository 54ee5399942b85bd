"""What `doctor` examines of this machine: cores, memory, open files, the data folder, its disk and its clock."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from loopwright.calls.spool import used_bytes
from loopwright.cli.finding import Finding, fail, ok, warn
from loopwright.cli.quantities import bytes_text
from loopwright.engines import machine
from loopwright.kit.settings import Settings

_OPEN_FILES: Final = 16_384
"""Each connection is a file: 10,000 idle clients and as many calls upstream need about so many."""
_SKEW: Final = 2.0
"""Seconds a clock may be off before the order of calls suffers."""


def cores() -> Finding:
    """Processor cores this process may use."""
    found = machine.look().cores
    if found == 1:
        todo = "Give it two or more: an engine takes all but one"
        return warn("cores", "1 core: an engine and the gateway will wait for each other", todo)
    return ok("cores", f"{found} cores")


def memory() -> Finding:
    """Memory that is free now."""
    found = machine.look()
    text = f"{bytes_text(found.available_bytes)} free of {bytes_text(found.memory_bytes)}"
    if found.available_bytes < 500_000_000:
        return fail("memory", text, "Free some: the gateway, the database and a small engine need about 1 GB")
    if found.available_bytes < 1_500_000_000:
        return warn("memory", text, "Enough for a small model only; `loopwright doctor` shows below what fits")
    return ok("memory", text)


def open_files() -> Finding:
    """How many files and connections a process may hold; the gateway raises its own limit to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = "unlimited" if hard == resource.RLIM_INFINITY else f"{hard:,}"
    text = f"{soft:,} now, at most {most}, which the gateway takes"
    if hard != resource.RLIM_INFINITY and hard < _OPEN_FILES:
        todo = f"Raise it for many connections: ulimit -Hn {_OPEN_FILES}, or LimitNOFILE= of the service"
        return warn("open files", text, todo)
    return ok("open files", text)


def folder(settings: Settings) -> Iterator[Finding]:
    """The data folder: there, writable, room on its disk, a clock like ours, the key closed to others."""
    home = settings.home.absolute()
    standing = _standing(home)
    if not os.access(standing, os.W_OK | os.X_OK):
        todo = f"Make it writable for this user, or set LOOPWRIGHT_HOME to another folder (now {home})"
        yield fail("data folder", f"{standing} may not be written to", todo)
    elif standing != home:
        yield ok("data folder", f"{home} is not there yet; `loopwright up` makes it")
    else:
        yield ok("data folder", f"{home} is writable")
        yield _file_clock(home)
    yield _disk(standing)
    yield from _admin_key(home / "admin.key")


def spool(settings: Settings) -> Iterator[Finding]:
    """Calls that wait for the database."""
    used, limit = used_bytes(settings.home / "spool"), settings.calls.spool_limit
    text = f"{bytes_text(used)} of calls wait for the database, of at most {bytes_text(limit)}"
    if used > 0.9 * limit:
        todo = "New calls are about to be refused: see to the database and the recorder (below), or raise calls.spool_limit"
        yield fail("spool", text, todo)
    elif used > 0.5 * limit:
        yield warn("spool", text, "The recorder does not keep up: see to the database (below) and to recorder.log")
    else:
        yield ok("spool", text)


def _standing(home: Path) -> Path:
    """The nearest folder above `home` that is there."""
    return next(path for path in (home, *home.parents) if path.exists())


def _disk(standing: Path) -> Finding:
    usage = shutil.disk_usage(standing)
    text = f"{bytes_text(usage.free)} free of {bytes_text(usage.total)}"
    if usage.free < 1_000_000_000:
        return fail("disk", text, "Free some: without room calls are refused and the database stops")
    if usage.free < 5_000_000_000:
        return warn("disk", text, "A million calls take about 2 GB; lower calls.retention_days or make room")
    return ok("disk", text)


def _file_clock(home: Path) -> Finding:
    """Network file systems stamp files by a clock of their own."""
    with tempfile.NamedTemporaryFile(dir=home, prefix=".doctor-") as probe:
        before = time.time()
        os.utime(probe.fileno())
        stamped = os.fstat(probe.fileno()).st_mtime
        after = time.time()
    skew = max(before - stamped, stamped - after, 0.0)
    if skew > _SKEW:
        todo = "Set both by NTP: spool files are rotated by these times"
        return warn("file clock", f"the data folder's file system is {skew:.1f} s off this machine's clock", todo)
    return ok("file clock", "the data folder's file system and this machine agree")


def _admin_key(path: Path) -> Iterator[Finding]:
    try:
        mode = path.stat().st_mode & 0o777
    except FileNotFoundError:
        return
    except OSError as error:
        yield fail("admin.key", f"{path}: {error.strerror}", "Run as the user who runs `loopwright up`")
        return
    if mode & 0o077:
        text = f"{path} can be read by others (mode {mode:o})"
        yield fail(
            "admin.key", text, f"chmod 600 {path}, and if others use this machine make a new key and revoke this one"
        )
    elif not os.access(path, os.R_OK):
        yield warn("admin.key", f"{path} may not be read by this user", "Use LOOPWRIGHT_API_KEY, or run as its owner")
    else:
        yield ok("admin.key", f"{path} is for its owner only")
