"""What this machine gives a process: cores and memory, after cgroup limits and CPU affinity."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

CGROUP = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60  # cgroup v1 writes a huge number where v2 writes "max"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Cores and bytes that an engine may plan with."""

    cores: int
    """Whole cores this process may use; at least 1."""
    memory_bytes: int
    """All memory: the machine's, or the container's limit when that is lower."""
    available_bytes: int
    """What is free now, page cache that can be dropped included."""

    @property
    def reserve_bytes(self) -> int:
        """What engines leave to everything else: a tenth of all memory, between 256 MiB and 4 GiB."""
        return min(max(self.memory_bytes // 10, 256 << 20), 4 << 30)

    @property
    def budget_bytes(self) -> int:
        """What engines may plan with."""
        return max(self.available_bytes - self.reserve_bytes, 0)

    def less(self, taken_bytes: int) -> Machine:
        """The same machine once another engine has taken its share: plan several models one after the other."""
        return replace(self, available_bytes=max(self.available_bytes - taken_bytes, 0))


def look(cgroup: Path = CGROUP) -> Machine:
    """Measure the machine this process runs on."""
    memory = psutil.virtual_memory()
    total, available = memory.total, memory.available
    limit = _memory_limit(cgroup)
    if limit is not None and limit < total:
        total = limit
        available = min(available, max(limit - _memory_held(cgroup), 0))
    cores = len(os.sched_getaffinity(0))
    quota = _cpu_quota(cgroup)
    if quota is not None:
        cores = min(cores, max(int(quota), 1))
    return Machine(cores=max(cores, 1), memory_bytes=total, available_bytes=available)


def _memory_limit(cgroup: Path) -> int | None:
    limits = [
        limit
        for name in ("memory.max", "memory.high", "memory/memory.limit_in_bytes")
        if (limit := _number(cgroup / name)) is not None and limit < _UNLIMITED
    ]
    return min(limits, default=None)


def _memory_held(cgroup: Path) -> int:
    """Bytes in use that cannot be dropped: the page cache of inactive files can."""
    held = _number(cgroup / "memory.current")
    stat = cgroup / "memory.stat"
    if held is None:
        held = _number(cgroup / "memory/memory.usage_in_bytes")
        stat = cgroup / "memory/memory.stat"
    if held is None:
        return 0
    for line in _text(stat).splitlines():
        name, _, value = line.partition(" ")
        if name in {"inactive_file", "total_inactive_file"} and value.isdigit():
            return max(held - int(value), 0)
    return held


def _cpu_quota(cgroup: Path) -> float | None:
    """Cores by CPU quota, None when there is none."""
    quota, _, period = _text(cgroup / "cpu.max").strip().partition(" ")
    if quota.isdigit() and period.isdigit() and int(period) > 0:
        return int(quota) / int(period)
    old_quota = _number(cgroup / "cpu/cpu.cfs_quota_us")
    old_period = _number(cgroup / "cpu/cpu.cfs_period_us")
    if old_quota is not None and old_quota > 0 and old_period:
        return old_quota / old_period
    return None


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.lstrip("-").isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
