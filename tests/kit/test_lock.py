"""The lock of a folder: one holder, named to the others, and gone with its process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from loopwright.core.errors import StartError
from loopwright.kit.lock import FolderLock

HOLDER = """
import sys
from pathlib import Path
from loopwright.kit.lock import FolderLock
lock = FolderLock.take(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_there_is_one_holder_and_the_next_comes_after_it(tmp_path: Path) -> None:
    lock = FolderLock.take(tmp_path / "new" / "up.lock")
    with pytest.raises(StartError, match=rf"new is in use by another Loopwright \(process {os.getpid()}\)"):
        FolderLock.take(tmp_path / "new" / "up.lock")
    lock.release()
    lock.release()
    FolderLock.take(tmp_path / "new" / "up.lock").release()


def test_it_goes_with_a_killed_holder(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "up.lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StartError, match=f"process {holder.pid}"):
            FolderLock.take(tmp_path / "up.lock")
        holder.kill()
        holder.wait()
        FolderLock.take(tmp_path / "up.lock").release()


def test_a_child_does_not_inherit_it(tmp_path: Path) -> None:
    lock = FolderLock.take(tmp_path / "up.lock")
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; print('up', flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        close_fds=False,
    ) as child:
        # The kernel drops what is closed on exec a moment after Popen knows of the exec.
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        lock.release()
        FolderLock.take(tmp_path / "up.lock").release()


def test_a_place_that_cannot_be_written_is_a_start_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="choose a folder you may write to"):
        FolderLock.take(tmp_path / "file" / "up.lock")
