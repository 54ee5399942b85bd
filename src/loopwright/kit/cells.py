"""Counters that outlive the death of their process: whole numbers in a mapped file for each process, summed by whoever asks.

Adding to a number is one store into the page cache, so what was counted survives `kill -9` (not a power cut). A living
owner is told by the lock on its file; files without one are folded into one base, so restarts lose nothing and
leave nothing behind. Knows nothing of what is counted.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import struct
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from loopwright.core.errors import StartError

SUFFIX: Final = ".cells"
BASE: Final = "base.json"
LOCK: Final = "lock"
FILE_BYTES: Final = 16 << 20
"""Of one file; what is not written takes no room."""
_MAGIC: Final = b"LWCELLS1"
_HEAD: Final = struct.Struct("<II")
"""Cells and bytes of the name; the number of cells is written last, so a row without them is none yet."""
_WORD: Final = 8
_log = logging.getLogger(__name__)
Labels = tuple[str, ...]
Rows = dict[Labels, list[int]]
"""By their names: what is counted, then whose."""
Bury = Callable[[Rows], Rows]
"""What the rows of a process that died stand for from then on."""


def unchanged(rows: Rows) -> Rows:
    """They stay what they are."""
    return rows


class Cells:
    """The file of one process. For one thread; must not be carried through a fork."""

    __slots__ = ("_map", "_size", "path", "view")

    def __init__(self, folder: Path, size: int = FILE_BYTES) -> None:
        """Begin a file in `folder`, which is made when missing.

        Raises:
            StartError: no file can be made there.
        """
        self.path = folder / f"{uuid.uuid4().hex}{SUFFIX}"
        hidden = folder / f".{self.path.name}"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            # Locked before it has its name: never a moment in which it looks left behind.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, size)
            self._map = mmap.mmap(descriptor, size)
            # The map keeps the file open, and with it the lock.
            os.close(descriptor)
            self._map[: len(_MAGIC)] = _MAGIC
            hidden.rename(self.path)
        except OSError as error:
            hidden.unlink(missing_ok=True)
            raise StartError(f"cannot write {self.path}: {error.strerror}; see to the disk") from error
        self._size = len(_MAGIC)
        self.view = memoryview(self._map).cast("q")
        """All cells; `row` says where one's own begin."""

    def row(self, labels: Sequence[str], cells: int) -> int | None:
        """Make a row of zeros: the index of its first cell in `view`; None when the file is full or closed."""
        if self._map.closed:
            return None
        name = msgspec.json.encode(list(labels))
        start = self._size + _HEAD.size + -(-len(name) // _WORD) * _WORD
        end = start + cells * _WORD
        if end + _HEAD.size > len(self._map):
            return None
        self._map[self._size + _HEAD.size : self._size + _HEAD.size + len(name)] = name
        _HEAD.pack_into(self._map, self._size, cells, len(name))
        self._size = end
        return start // _WORD

    def close(self) -> None:
        """Let go of the file: whoever comes next folds it into the base. Harmless when repeated."""
        self.view.release()
        self._map.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What all processes counted."""

    rows: Rows
    alive: int
    """Processes that go on counting."""


class _Base(msgspec.Struct):
    rows: list[tuple[list[str], list[int]]] = []
    folded: list[str] = []
    """Names of files that are in it already: one may still lie there after a fold that was broken off."""


def read(folder: Path, bury: Bury = unchanged) -> Sums:
    """Sum up what all processes of a folder counted, the dead included."""
    with _held(folder, fcntl.LOCK_SH):
        base = _base(folder)
        rows: Rows = {tuple(labels): list(values) for labels, values in base.rows}
        alive = 0
        for path in _files(folder, base):
            found, living = _rows(path)
            alive += living
            _add(rows, found if living else bury(found))
    return Sums(rows=rows, alive=alive)


def fold(folder: Path, bury: Bury = unchanged) -> int:
    """Put the files of the dead into the base; how many."""
    if not folder.is_dir():
        return 0
    with _held(folder, fcntl.LOCK_EX):
        base = _base(folder)
        rows: Rows = {tuple(labels): list(values) for labels, values in base.rows}
        dead: list[Path] = []
        for path in _files(folder, base):
            found, living = _rows(path)
            if not living:
                _add(rows, bury(found))
                dead.append(path)
        left = [name for name in base.folded if (folder / name).exists()]
        if dead:
            folded = [*left, *(path.name for path in dead)]
            _write(folder, _Base(rows=[(list(labels), values) for labels, values in rows.items()], folded=folded))
        for name in (*left, *(path.name for path in dead)):
            (folder / name).unlink(missing_ok=True)
    return len(dead)


@contextmanager
def _held(folder: Path, how: int) -> Iterator[None]:
    """Nobody folds while others read."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


def _files(folder: Path, base: _Base) -> list[Path]:
    folded = set(base.folded)
    return sorted(
        path for path in folder.glob(f"*{SUFFIX}") if path.name not in folded and not path.name.startswith(".")
    )


def _base(folder: Path) -> _Base:
    try:
        return msgspec.json.decode((folder / BASE).read_bytes(), type=_Base)
    except FileNotFoundError:
        return _Base()
    except msgspec.MsgspecError as error:
        _log.warning("%s is damaged, its counts begin at zero: %s", folder / BASE, error)
        return _Base()


def _write(folder: Path, base: _Base) -> None:
    draft = folder / f".{BASE}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(base))
        file.flush()
        os.fsync(descriptor)
    draft.replace(folder / BASE)


def _rows(path: Path) -> tuple[Rows, bool]:
    """What a file holds, and whether its owner lives."""
    found: Rows = {}
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return found, False
    try:
        living = False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            living = True
        size = os.fstat(descriptor).st_size
        if size < len(_MAGIC) + _HEAD.size:
            return found, living
        with mmap.mmap(descriptor, size, access=mmap.ACCESS_READ) as data:
            if data[: len(_MAGIC)] == _MAGIC:
                _walk(data, size, found)
    finally:
        os.close(descriptor)
    return found, living


def _walk(data: mmap.mmap, size: int, found: Rows) -> None:
    at = len(_MAGIC)
    while at + _HEAD.size <= size:
        cells, length = _HEAD.unpack_from(data, at)
        start = at + _HEAD.size + -(-length // _WORD) * _WORD
        at_end = start + cells * _WORD
        if not cells or at_end > size:
            return
        with suppress(msgspec.MsgspecError):
            labels = msgspec.json.decode(data[at + _HEAD.size : at + _HEAD.size + length], type=list[str])
            _add(found, {tuple(labels): list(struct.unpack_from(f"<{cells}q", data, start))})
        at = at_end


def _add(rows: Rows, more: Rows) -> None:
    for labels, values in more.items():
        known = rows.get(labels)
        if known is None:
            rows[labels] = list(values)
            continue
        # A newer version may count more than an older one did.
        known.extend([0] * (len(values) - len(known)))
        for index, value in enumerate(values):
            known[index] += value
