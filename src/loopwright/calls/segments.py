"""The files of a spool as their reader sees them: which there are, whether their owner lives, what they hold."""

from __future__ import annotations

import fcntl
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from loopwright.calls.frames import Parsed, parse
from loopwright.calls.spool import SUFFIX

_NAME: Final = re.compile(r"([0-9a-f]{32})-(\d{8})" + re.escape(SUFFIX))
_ORPHAN_SECONDS: Final = 60.0
_CHUNK: Final = 4_000_000


@dataclass(frozen=True, slots=True)
class Segment:
    """One spool file, open for reading."""

    path: Path
    worker: str
    sequence: int
    descriptor: int

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the file at `path`, which has a spool file's name.

        Raises:
            OSError: it cannot be read.
        """
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise FileNotFoundError(f"{path} is no spool file")
        return cls(path, match[1], int(match[2]), os.open(path, os.O_RDONLY))

    @property
    def size(self) -> int:
        """Bytes it holds now."""
        return os.fstat(self.descriptor).st_size

    def ended(self) -> bool:
        """Whether nothing will ever be appended: its owner went on to another file, stopped or died."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        return True

    def read(self, position: int, *, most: int = _CHUNK) -> tuple[Parsed, bool]:
        """The frames from `position` on, of about `most` bytes, and whether that is all there will ever be.

        Offsets of frames count from `position`.
        """
        while True:
            # In this order: what is there once the owner is known to be gone is all.
            ended = self.ended()
            size = self.size
            data = self.bytes_at(position, most)
            reached = position + len(data) >= size
            found = parse(data, last=ended and reached)
            if found.used or reached:
                return found, ended and reached and found.used == len(data)
            most *= 4

    def remove(self) -> None:
        """Remove the file and close it."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Close the file."""
        os.close(self.descriptor)

    def bytes_at(self, position: int, most: int) -> bytes:
        """Up to `most` bytes from `position` on."""
        pieces = []
        while most > 0 and (piece := os.pread(self.descriptor, most, position)):
            pieces.append(piece)
            position += len(piece)
            most -= len(piece)
        return b"".join(pieces)


def names_in(folder: Path) -> list[str]:
    """The spool files in `folder`, each worker's in order; sweeps away what a death left half made."""
    found: list[tuple[str, int, str]] = []
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return []
    for entry in entries:
        match = _NAME.fullmatch(entry.name)
        if match is not None:
            found.append((match[1], int(match[2]), entry.name))
        elif entry.name.startswith(".") and _NAME.fullmatch(entry.name[1:]):
            _sweep(Path(entry.path))
    return [name for _, _, name in sorted(found)]


def _sweep(path: Path) -> None:
    """Remove an empty file that never got its name; not one that is just being made."""
    try:
        status = path.stat()
        if not status.st_size and time.time() - status.st_mtime > _ORPHAN_SECONDS:
            path.unlink()
    except FileNotFoundError:
        return
