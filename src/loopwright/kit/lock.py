"""A lock on a folder that dies with its holder, however the holder dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Self

from loopwright.core.errors import StartError


class FolderLock:
    """An advisory `flock` on a file: the kernel lets go of it when the process ends, so it is never stale."""

    __slots__ = ("_descriptor", "path")

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor: int | None = descriptor

    @classmethod
    def take(cls, path: Path) -> Self:
        """Hold the lock file `path` (made when missing) until `release` or the end of this process.

        Raises:
            StartError: another process holds it (the message names its id), or the file cannot be made.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Close-on-exec is Python's default: a child that outlives us must not keep the lock.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StartError(f"cannot write {path}: {error.strerror}; choose a folder you may write to") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise StartError(
                f"{path.parent} is in use by another Loopwright (process {holder}); "
                f"stop that one, or set LOOPWRIGHT_HOME to another folder",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return cls(path, descriptor)

    def release(self) -> None:
        """Let go; harmless when repeated. The file stays: removing it would race with the next holder."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
