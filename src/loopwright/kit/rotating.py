"""A log file that cannot outgrow its bound: the running file and one before it."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self

_LONGEST_LINE = 2_000


class RotatingLog:
    """Appends bytes to `path`; past `limit` bytes the file becomes `path.1` and a new one begins.

    Keeps the last `keep` lines in memory, for error messages. A full disk loses log lines, never the program.
    """

    def __init__(self, path: Path, *, limit: int = 10_000_000, keep: int = 40) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._older = path.with_name(path.name + ".1")
        self._limit = limit
        self._lines: deque[str] = deque(maxlen=keep)
        self._rest = b""
        self._open()

    def _open(self) -> None:
        # 0600: programs may log prompts
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._file).st_size

    def write(self, data: bytes) -> None:
        """Append `data`, and remember its lines."""
        self._remember(data)
        try:
            if self._size and self._size + len(data) > self._limit:
                self._rotate()
            self._size += os.write(self._file, data)
        except OSError:
            return  # disk full or gone: the last lines are still in memory

    def _rotate(self) -> None:
        self._path.replace(self._older)
        os.close(self._file)
        self._open()

    def _remember(self, data: bytes) -> None:
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            text = line[:_LONGEST_LINE].decode("utf-8", "replace").rstrip()
            if text:
                self._lines.append(text)
        self._rest = rest[:_LONGEST_LINE]

    def last(self, count: int = 20) -> list[str]:
        """The last `count` lines, the unfinished one included."""
        rest = self._rest.decode("utf-8", "replace").strip()
        return [*self._lines, *([rest] if rest else [])][-count:]

    def close(self) -> None:
        """Close the file; writing again is a mistake."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
