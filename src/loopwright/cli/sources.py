"""Files that a command line means: alone, or all of a folder that are neither hidden nor elsewhere."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path

from loopwright.core.errors import BadRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file, and what it is called."""

    path: Path
    name: str
    size: int

    def sha(self) -> str:
        """SHA-256 of its bytes, in hex.

        Raises:
            OSError: it cannot be read.
        """
        found = sha256()
        with self.path.open("rb") as file:
            while piece := file.read(1 << 20):
                found.update(piece)
        return found.hexdigest()


@dataclass(slots=True, kw_only=True)
class Found:
    """What was found, and what could not be looked at."""

    sources: list[Source] = field(default_factory=list)
    bad: list[tuple[str, str]] = field(default_factory=list)
    """Name, and why."""


def gathered(
    paths: Sequence[Path], *, globs: Sequence[str] = (), excluded: Sequence[str] = (), prefix: str = ""
) -> Found:
    """The files that `paths` are and those in folders among them, by name.

    In a folder, what is hidden is passed over, and links that lead out of it; a file is called by its path within the
    folder, with `/`. Patterns are held against that path and against the last part of it.

    Raises:
        BadRequest: there is no such path, or two files are called the same.
    """
    found = Found()
    for path in paths:
        if path.is_dir():
            _walk(path, found, globs, excluded, prefix)
        elif path.is_file():
            found.sources.append(Source(path=path, name=prefix + path.name, size=path.stat().st_size))
        else:
            raise BadRequest(f"{path} is neither a file, a folder nor a URL", param="SOURCES")
    found.sources.sort(key=lambda each: each.name)
    for one, other in zip(found.sources, found.sources[1:], strict=False):
        if one.name == other.name:
            raise BadRequest(
                f"{one.path} and {other.path} would both be called {one.name!r}\nTake them in one by one, with --prefix"
            )
    return found


def _walk(root: Path, found: Found, globs: Sequence[str], excluded: Sequence[str], prefix: str) -> None:
    inside = root.resolve()

    def wrong(error: OSError) -> None:
        name = Path(str(error.filename)).relative_to(root).as_posix() if error.filename else str(root)
        found.bad.append((prefix + name, f"cannot be looked at: {error.strerror}"))

    for folder, folders, files in os.walk(root, onerror=wrong):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (Path(folder) / name for name in sorted(files) if not name.startswith(".")):
            name = path.relative_to(root).as_posix()
            if (globs and not any(_fits(name, each) for each in globs)) or any(_fits(name, each) for each in excluded):
                continue
            try:
                if path.is_symlink() and not path.resolve().is_relative_to(inside):
                    continue
                status = path.stat()
            except OSError as error:
                found.bad.append((prefix + name, f"cannot be looked at: {error.strerror}"))
                continue
            if stat.S_ISREG(status.st_mode):
                found.sources.append(Source(path=path, name=prefix + _told(name), size=status.st_size))


def _fits(name: str, pattern: str) -> bool:
    return any(fnmatchcase(each, pattern) for each in (name, *_endings(name)))


def _endings(name: str) -> Iterator[str]:
    """The last part of a path, and each folder above with what is in it."""
    parts = name.split("/")
    yield parts[-1]
    yield from ("/".join(parts[: at + 1]) for at in range(len(parts) - 1))


def _told(name: str) -> str:
    """A name as it can be sent: bytes that are no UTF-8 are replaced."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
