"""The spool: calls appended to a file of this worker before their answers end. Knows no database.

A record is one `write` into the page cache, so it survives the death of every process (not a power cut). The recorder
tells a living owner by the lock on its newest file; a file without a lock will never grow again.
"""

from __future__ import annotations

import fcntl
import os
import time
import uuid
from pathlib import Path
from typing import Final

from loopwright.calls.frames import about, encode_into
from loopwright.calls.record import Opened, Record
from loopwright.core.errors import Unavailable
from loopwright.kit.seal import PLAIN, Seal

SUFFIX: Final = ".spool"
SEGMENT_BYTES: Final = 64_000_000
"""A file longer than this is followed by a new one."""
SEGMENT_SECONDS: Final = 60.0
"""So is one older than this: drained text leaves the disk when its file goes."""
_MEASURE_BYTES: Final = 4_000_000
_MEASURE_SECONDS: Final = 1.0
_RETRY_AFTER: Final = 5.0


class Spool:
    """The files of one worker in `folder`. For one thread; must not be carried through a fork."""

    __slots__ = (
        "_about", "_buffer", "_descriptor", "_folder", "_limit", "_measured_at", "_next_measure", "_opened_at", "_seal",
        "_segment", "_segment_bytes", "_sequence", "_size", "_used", "_worker",
    )  # fmt: skip

    def __init__(self, folder: Path, limit: int, seal: Seal = PLAIN) -> None:
        """Begin a first file in `folder` (made when missing); `limit` bounds the bytes of all files in it.

        With keys in `seal` no record touches the disk unsealed.

        Raises:
            Unavailable: no file can be made there.
        """
        self._folder = folder
        self._limit = limit
        self._segment_bytes = min(SEGMENT_BYTES, max(limit // 8, 4096))
        self._worker = uuid.uuid4().hex
        self._seal = seal or None
        self._about = about(self._worker)
        self._sequence = 0
        self._buffer = bytearray()
        self._descriptor = -1
        self._segment = folder
        self._size = 0
        self._opened_at = 0.0
        self._used = 0
        self._measured_at = 0.0
        self._next_measure = 0
        self._rotate()
        self._measure()

    @property
    def worker(self) -> str:
        """Whose files these are: 32 hexadecimal digits, made anew for each process."""
        return self._worker

    @property
    def used(self) -> int:
        """Bytes in the folder, all workers together, as of about a second or 4 MB ago."""
        return self._used

    @property
    def full(self) -> bool:
        """Whether a call that began now would probably find no room: refuse it before doing its work."""
        if self._used >= self._limit and time.monotonic() - self._measured_at > _MEASURE_SECONDS:
            self._measure()
        return self._used >= self._limit

    def write(self, record: Record | Opened) -> None:
        """Append `record`; once this returns, the death of the process no longer loses it.

        Raises:
            Unavailable: the spool is at its limit, the disk is full or fails. Nothing of the record is kept then.
        """
        if self._descriptor < 0:
            raise Unavailable("the spool is closed: this worker is stopping", retry_after=_RETRY_AFTER)
        buffer = self._buffer
        encode_into(record, buffer, self._seal, self._about)
        size = len(buffer)
        now = time.monotonic()
        if self._used + size > self._next_measure or now - self._measured_at > _MEASURE_SECONDS:
            self._measure()
            if self._used + size > self._limit:
                raise self._over()
        if self._size and (self._size + size > self._segment_bytes or now - self._opened_at > SEGMENT_SECONDS):
            self._rotate()
        self._append(buffer, size)

    def tick(self) -> None:
        """Begin a new file when the present one holds something and is older than a minute; call it every few seconds.

        Without it the drained calls of a worker that fell idle would stay in its last file.
        """
        if self._descriptor >= 0 and self._size and time.monotonic() - self._opened_at > SEGMENT_SECONDS:
            self._rotate()

    def close(self) -> None:
        """Let go of the file: the recorder drains and removes it. Harmless when repeated."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _append(self, buffer: bytearray, size: int) -> None:
        try:
            written = os.write(self._descriptor, buffer)
        except OSError as error:
            self._cut_back()
            raise _unwritable(self._segment, error) from error
        if written != size:
            self._cut_back()
            raise Unavailable(f"the disk of {self._folder} is full: free some space", retry_after=_RETRY_AFTER)
        self._size += size
        self._used += size

    def _cut_back(self) -> None:
        """Half a frame must not stand before the next one; where even this fails, the reader finds the next one."""
        try:
            os.ftruncate(self._descriptor, self._size)
        except OSError:
            self._size = os.fstat(self._descriptor).st_size

    def _measure(self) -> None:
        self._used = used_bytes(self._folder)
        self._measured_at = time.monotonic()
        self._next_measure = min(self._used + _MEASURE_BYTES, self._limit)

    def _over(self) -> Unavailable:
        return Unavailable(
            f"{self._used:,} bytes of calls wait in {self._folder} for the database, the limit is "
            f"{self._limit:,} (calls.spool_limit): see whether the database and the recorder are up",
            retry_after=_RETRY_AFTER,
        )

    def _rotate(self) -> None:
        """The new file is locked before it has its name, and before the old one is let go: never a moment unowned."""
        name = f"{self._worker}-{self._sequence:08d}{SUFFIX}"
        path, hidden = self._folder / name, self._folder / f".{name}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(hidden, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                hidden.rename(path)
            except OSError:
                os.close(descriptor)
                hidden.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise _unwritable(path, error) from error
        self.close()
        self._descriptor, self._segment = descriptor, path
        self._sequence += 1
        self._size = 0
        self._opened_at = time.monotonic()


def used_bytes(folder: Path) -> int:
    """Bytes of all spool files in `folder`; 0 when there is none."""
    total = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(SUFFIX):
                    try:
                        total += entry.stat().st_size
                    except FileNotFoundError:
                        continue
    except FileNotFoundError:
        return 0
    return total


def _unwritable(path: Path, error: OSError) -> Unavailable:
    return Unavailable(f"cannot write {path}: {error.strerror}; see to the disk", retry_after=_RETRY_AFTER)
