from pathlib import Path

import psutil
import pytest

from loopwright.engines.machine import Machine, look

GIB = 1 << 30


def cgroup(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_without_limits_it_is_the_machine(tmp_path: Path) -> None:
    seen = look(cgroup(tmp_path, memory_dot_max="max\n", cpu_dot_max="max 100000\n"))
    assert seen.memory_bytes == psutil.virtual_memory().total
    assert 0 < seen.available_bytes <= seen.memory_bytes
    assert seen.cores >= 1
    assert look(tmp_path / "nothing").memory_bytes == seen.memory_bytes


def test_a_container_has_what_its_limit_leaves(tmp_path: Path) -> None:
    files = cgroup(
        tmp_path,
        memory_dot_max=str(100 << 20),
        memory_dot_current=str(60 << 20),
        memory_dot_stat=f"anon 5\ninactive_file {20 << 20}\n",
        cpu_dot_max="50000 100000",
    )
    seen = look(files)
    assert seen.memory_bytes == 100 << 20
    assert seen.available_bytes == 60 << 20
    assert seen.cores == 1


def test_the_older_cgroups_count_too(tmp_path: Path) -> None:
    folder = tmp_path
    (folder / "memory").mkdir()
    (folder / "cpu").mkdir()
    (folder / "memory" / "memory.limit_in_bytes").write_text(str(200 << 20))
    (folder / "memory" / "memory.usage_in_bytes").write_text(str(50 << 20))
    (folder / "cpu" / "cpu.cfs_quota_us").write_text("100000")
    (folder / "cpu" / "cpu.cfs_period_us").write_text("100000")
    seen = look(folder)
    assert (seen.memory_bytes, seen.available_bytes, seen.cores) == (200 << 20, 150 << 20, 1)
    (folder / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712")  # unlimited, as version 1 says it
    assert look(folder).memory_bytes == psutil.virtual_memory().total


@pytest.mark.parametrize(("memory", "reserve"), [(GIB, GIB // 4), (16 * GIB, 16 * GIB // 10), (512 * GIB, 4 * GIB)])
def test_a_reserve_stays_untouched(memory: int, reserve: int) -> None:
    machine = Machine(cores=1, memory_bytes=memory, available_bytes=memory)
    assert machine.reserve_bytes == reserve
    assert machine.budget_bytes == memory - reserve
