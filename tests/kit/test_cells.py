"""Counters that outlive their process: exact however it ends, summed over all, bounded in number."""

import subprocess
import sys
from pathlib import Path

from loopwright.kit.cells import BASE, SUFFIX, Cells, Rows, fold, read

_COUNTS = """
import os, signal, sys
from pathlib import Path
from loopwright.kit.cells import Cells
cells = Cells(Path(sys.argv[1]))
at = cells.row(["calls", "fast"], 2)
for _ in range(int(sys.argv[2])):
    cells.view[at] += 1
    cells.view[at + 1] += 3
os.kill(os.getpid(), signal.SIGKILL)
"""


def count_and_die(folder: Path, times: int) -> None:
    ended = subprocess.run([sys.executable, "-c", _COUNTS, str(folder), str(times)], check=False)
    assert ended.returncode == -9


def test_what_was_counted_outlives_the_process_to_the_last_one(tmp_path: Path) -> None:
    count_and_die(tmp_path, 1234)
    assert read(tmp_path).rows == {("calls", "fast"): [1234, 3702]}
    assert read(tmp_path).alive == 0


def test_all_processes_count_together_and_the_dead_are_folded(tmp_path: Path) -> None:
    count_and_die(tmp_path, 5)
    living = Cells(tmp_path)
    at = living.row(["calls", "fast"], 2)
    assert at is not None
    living.view[at] += 7
    count_and_die(tmp_path, 11)
    before = read(tmp_path)
    assert (before.rows, before.alive) == ({("calls", "fast"): [23, 48]}, 1)
    assert fold(tmp_path) == 2
    assert fold(tmp_path) == 0
    living.view[at + 1] += 1
    assert read(tmp_path).rows == {("calls", "fast"): [23, 49]}
    assert len(list(tmp_path.glob(f"*{SUFFIX}"))) == 1
    living.close()
    living.close()
    assert living.row(["more"], 1) is None
    assert read(tmp_path).rows == {("calls", "fast"): [23, 49]}


def test_a_fold_that_was_broken_off_counts_nothing_twice(tmp_path: Path) -> None:
    count_and_die(tmp_path, 5)
    [left] = tmp_path.glob(f"*{SUFFIX}")
    kept = left.read_bytes()
    fold(tmp_path)
    # The base had been written, the file not yet removed.
    left.write_bytes(kept)
    assert read(tmp_path).rows == {("calls", "fast"): [5, 15]}
    assert fold(tmp_path) == 0
    assert read(tmp_path).rows == {("calls", "fast"): [5, 15]}
    assert not left.exists()


def test_what_the_dead_left_is_told_what_it_stands_for(tmp_path: Path) -> None:
    def bury(rows: Rows) -> Rows:
        return {(*labels, "gone"): values for labels, values in rows.items()}

    count_and_die(tmp_path, 2)
    assert read(tmp_path, bury).rows == {("calls", "fast", "gone"): [2, 6]}
    fold(tmp_path, bury)
    assert read(tmp_path, bury).rows == {("calls", "fast", "gone"): [2, 6]}


def test_a_newer_version_may_count_more(tmp_path: Path) -> None:
    count_and_die(tmp_path, 2)
    newer = Cells(tmp_path)
    at = newer.row(["calls", "fast"], 3)
    assert at is not None
    newer.view[at + 2] += 9
    assert read(tmp_path).rows == {("calls", "fast"): [2, 6, 9]}
    newer.close()


def test_a_full_file_takes_no_more_rows_and_damage_takes_no_others_along(tmp_path: Path) -> None:
    small = Cells(tmp_path, 4096)
    made = 0
    while (at := small.row(["calls", str(made)], 8)) is not None:
        small.view[at] = made
        made += 1
    assert made > 20
    assert len(read(tmp_path).rows) == made
    small.close()
    (tmp_path / f"broken{SUFFIX}").write_bytes(b"no cells at all")
    (tmp_path / f"cut{SUFFIX}").write_bytes(b"")
    (tmp_path / BASE).write_text("{")
    assert len(read(tmp_path).rows) == made
    fold(tmp_path)
    assert len(read(tmp_path).rows) == made


def test_there_is_nothing_to_read_where_nobody_counts(tmp_path: Path) -> None:
    assert fold(tmp_path / "none") == 0
    assert read(tmp_path / "none").rows == {}
