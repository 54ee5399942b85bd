"""Processes of a benchmark: started on a CPU of their own, waited for, weighed, ended."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psutil

TICK: Final = os.sysconf("SC_CLK_TCK")


@contextmanager
def started(
    command: list[str],
    port: int | None,
    env: dict[str, str] | None = None,
    *,
    within: float = 60,
    cpu_number: int | None = 0,
) -> Iterator[int]:
    """Run a target until the block ends; ready once something listens on `port`."""
    whole = command if cpu_number is None else pinned(cpu_number, *command)
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            whole, env={**os.environ, **(env or {})}, stdout=log, stderr=log, start_new_session=True
        )
        try:
            if port is not None:
                wait_for(lambda: answers(port) or process.poll() is not None, within)
            if process.poll() is not None:
                log.seek(0)
                sys.exit(
                    f"{command[0]} ended with {process.returncode}:\n{log.read().decode(errors='replace')[-3000:]}"
                )
            yield process.pid
        finally:
            children = tree(process.pid)
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                for child in children:
                    with suppress(ProcessLookupError):
                        os.kill(child, signal.SIGKILL)
                process.wait()


def pinned(number: int, *command: str | Path) -> list[str]:
    """A command on one CPU, where that can be chosen."""
    words = [str(word) for word in command]
    return ["taskset", "-c", str(number), *words] if shutil.which("taskset") else words


def answers(port: int) -> bool:
    """Whether something speaks HTTP there."""
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2).close()
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False
    return True


def wait_for(condition: Callable[[], object], seconds: float) -> None:
    """Until `condition` holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"not ready within {seconds:g} s")
        time.sleep(0.2)


def free_port() -> int:
    """A port nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tree(pid: int) -> list[int]:
    """A process and its descendants."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                stat = (entry / "stat").read_text()
                parents.setdefault(int(stat[stat.rindex(")") + 2 :].split()[1]), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found.extend(parents.get(one, []))
    return found


def command_of(pid: int) -> str:
    """A process's command line."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def cpu(pids: list[int]) -> float:
    """CPU seconds so far."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            stat = Path(f"/proc/{pid}/stat").read_text()
            fields = stat[stat.rindex(")") + 2 :].split()
            total += int(fields[11]) + int(fields[12])
    return total / TICK


def memory(pid: int) -> float:
    """Resident megabytes."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def postgres_cpu() -> float:
    """CPU seconds of all server processes below this one, those that ended included."""
    total = 0.0
    for child in psutil.Process().children(recursive=True):
        try:
            used = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += used.user + used.system + used.children_user + used.children_system
    return total
