"""Files named by the SHA-256 of what is in them, so that a name can never come to mean something else.

With keys they are sealed on the disk; the name is still that of the plain text, which opening verifies.
"""

from __future__ import annotations

import asyncio
import io
import os
import re
import tempfile
import time
from collections.abc import AsyncIterable, Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from loopwright.core.errors import LoopwrightError, NotFound, Sealed
from loopwright.kit.seal import PLAIN, Seal
from loopwright.kit.seal_files import SealedFile, Sealing, key_of_file

Progress = Callable[[int], None]
"""Is told the bytes written so far."""

_PIECE = 1 << 20
"""Bytes moved at a time."""
_NAME = re.compile(r"[0-9a-f]{64}")


class DamagedBlob(LoopwrightError):
    """A stored file is not what its name says; the disk or a person has changed it."""

    code = "damaged_blob"


class Writing:
    """One blob on its way in. It has no name, and nobody sees it, until `commit`."""

    __slots__ = ("_blobs", "_file", "_hash", "_path", "_progress", "_sealing", "size")

    def __init__(self, blobs: Blobs, progress: Progress | None) -> None:
        descriptor, name = tempfile.mkstemp(prefix="in-", dir=blobs.incoming)
        self._blobs = blobs
        self._path = Path(name)
        self._file = os.fdopen(descriptor, "wb", buffering=0)
        self._hash = sha256()
        self._sealing = Sealing(blobs.seal, self._put) if blobs.seal else None
        self._progress = progress
        self.size = 0
        """Bytes written so far."""

    def write(self, piece: bytes) -> None:
        """Add a piece."""
        if self._sealing is None:
            self._put(piece)
        else:
            self._sealing.write(piece)
        self._hash.update(piece)
        self.size += len(piece)
        if self._progress is not None:
            self._progress(self.size)

    def commit(self) -> str:
        """Make it durable, then visible; its name."""
        return self._settle(self._hash.hexdigest())

    def replace(self, name: str) -> None:
        """As `commit`, in place of the blob `name`, whose text was written here again; not when it went meanwhile.

        Raises:
            DamagedBlob: something else was written.
        """
        if self._hash.hexdigest() != name:
            raise DamagedBlob(f"{self._blobs.place(name)} is damaged: its content does not match its name")
        if name in self._blobs:
            self._settle(name)

    def _settle(self, name: str) -> str:
        if self._sealing is not None:
            self._sealing.close()
        os.fsync(self._file.fileno())
        self._file.close()
        target = self._blobs.place(name)
        if not target.parent.exists():
            target.parent.mkdir(exist_ok=True)
            _sync_folder(target.parent.parent)
        # Also over a file that is there: that one may be damaged, this one is not.
        self._path.replace(target)
        _sync_folder(target.parent)
        return name

    def _put(self, piece: bytes) -> None:
        view = memoryview(piece)
        while view:
            view = view[self._file.write(view) :]

    def discard(self) -> None:
        """Forget it, unless it was committed."""
        self._file.close()
        self._path.unlink(missing_ok=True)


class Blobs:
    """A folder of blobs: `ab/cdef…` and, on their way in, `incoming/`. Any number of processes may share it."""

    __slots__ = ("folder", "incoming", "seal")

    def __init__(self, folder: Path, seal: Seal = PLAIN) -> None:
        self.folder = folder
        self.seal = seal
        self.incoming = folder / "incoming"
        self.incoming.mkdir(parents=True, exist_ok=True)

    def put(self, source: bytes | BinaryIO | Iterable[bytes], *, progress: Progress | None = None) -> str:
        """Store bytes, a file or pieces; the SHA-256, its name. Returns once it is on the disk.

        Holds one piece in memory at a time. What is stored already is stored again, which mends it.
        """
        with self.writing(progress=progress) as writing:
            for piece in _pieces(source):
                writing.write(piece)
            return writing.commit()

    async def receive(self, source: AsyncIterable[bytes], *, progress: Progress | None = None) -> str:
        """As `put`, for pieces that arrive; the disk does not hold up the event loop."""
        with self.writing(progress=progress) as writing:
            async for piece in source:
                await asyncio.to_thread(writing.write, piece)
            return await asyncio.to_thread(writing.commit)

    @contextmanager
    def writing(self, *, progress: Progress | None = None) -> Iterator[Writing]:
        """A blob to be written piece by piece; gone at the end of the block unless committed."""
        writing = Writing(self, progress)
        try:
            yield writing
        finally:
            writing.discard()

    def read(self, name: str) -> bytes:
        """All of a blob, verified.

        Raises:
            NotFound: there is none of this name.
            DamagedBlob: what is there is something else.
            Sealed: it cannot be opened.
        """
        with self._file(name) as file:
            found = file.read()
        if sha256(found).hexdigest() != name:
            raise self._damaged(name)
        return found

    def open(self, name: str) -> BinaryIO:
        """A blob as a file, at its beginning; all of it was read and verified before.

        Raises:
            NotFound: there is none of this name.
            DamagedBlob: what is there is something else.
            Sealed: it cannot be opened.
        """
        file = self._file(name)
        try:
            whole = _hash_of(file) == name
            file.seek(0)
        except BaseException:
            file.close()
            raise
        if not whole:
            file.close()
            raise self._damaged(name)
        return file

    def place(self, name: str) -> Path:
        """Where a blob is or would be, for programs that want a path; it may be sealed. Never write there.

        Raises:
            NotFound: `name` is no SHA-256 in hexadecimal, so it names no blob.
        """
        if _NAME.fullmatch(name) is None:
            raise NotFound(f"{name[:80]!r} names no blob: a name is a SHA-256, 64 hexadecimal digits")
        return self.folder / name[:2] / name[2:]

    def __contains__(self, name: str) -> bool:
        return _NAME.fullmatch(name) is not None and self.place(name).is_file()

    def __iter__(self) -> Iterator[str]:
        for file in self.folder.glob("[0-9a-f][0-9a-f]/*"):
            if _NAME.fullmatch(name := file.parent.name + file.name):
                yield name

    def delete(self, name: str) -> bool:
        """Remove a blob; whether there was one. Who has it open reads on undisturbed."""
        try:
            self.place(name).unlink()
        except FileNotFoundError:
            return False
        return True

    def key_of(self, name: str) -> str | None:
        """Id of the key that a blob is sealed with; None when it is not.

        Raises:
            NotFound: there is none of this name.
        """
        try:
            with self.place(name).open("rb") as file:
                return key_of_file(file)
        except FileNotFoundError:
            raise NotFound(f"there is no blob {name}") from None

    def reseal(self, name: str) -> None:
        """Seal a blob with the first key; whoever has it open reads on undisturbed.

        Raises:
            NotFound: there is none of this name.
            DamagedBlob: what is there is something else; it stays.
            Sealed: it cannot be opened; it stays.
        """
        with self._file(name) as file, self.writing() as writing:
            while piece := file.read(_PIECE):
                writing.write(piece)
            writing.replace(name)

    def collect(self, kept: Container[str], *, older_than: float = 86_400.0) -> list[str]:
        """Remove the blobs not in `kept` and what broke off on its way in; the names of the blobs removed.

        Nothing younger than `older_than` seconds goes: who stores a blob needs time to write down its name.
        """
        before = time.time() - older_than
        for file in self.incoming.iterdir():
            if _modified(file) < before:
                file.unlink(missing_ok=True)
        unwanted = [name for name in self if name not in kept and _modified(self.place(name)) < before]
        return [name for name in unwanted if self.delete(name)]

    def _file(self, name: str) -> BinaryIO:
        try:
            file = self.place(name).open("rb")
        except FileNotFoundError:
            raise NotFound(f"there is no blob {name}") from None
        if key_of_file(file) is None:
            return file
        try:
            return io.BufferedReader(SealedFile(file, self.seal), _PIECE)
        except Sealed:
            # Somebody may have stored what another house had sealed: then the name is that of the bytes as they are.
            file = self.place(name).open("rb")
            if _hash_of(file) == name:
                file.seek(0)
                return file
            file.close()
            raise

    def _damaged(self, name: str) -> DamagedBlob:
        return DamagedBlob(f"{self.place(name)} is damaged: its content does not match its name; store it again")


def _pieces(source: bytes | BinaryIO | Iterable[bytes]) -> Iterator[bytes]:
    if isinstance(source, bytes):
        for start in range(0, len(source), _PIECE):
            yield source[start : start + _PIECE]
    elif hasattr(source, "read"):
        while piece := source.read(_PIECE):
            yield piece
    else:
        yield from source


def _hash_of(file: BinaryIO) -> str:
    found = sha256()
    while piece := file.read(_PIECE):
        found.update(piece)
    return found.hexdigest()


def _modified(path: Path) -> float:
    """Seconds since 1970; of a file that has just gone, now."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()


def _sync_folder(folder: Path) -> None:
    # A rename is durable once the folder is.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
