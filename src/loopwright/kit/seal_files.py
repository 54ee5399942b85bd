"""Seals whole files piece by piece, so that none is ever in memory whole, nor on the disk in plain. Knows no folders.

A sealed file is a head (magic, the key's id, a salt) and pieces of 1 MiB, each by AES-GCM under a subkey of the file's
own. A piece's nonce is its number and whether it is the last, so none can be left out, moved, or cut off unseen.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import BinaryIO, Final

from loopwright.core.errors import Changed
from loopwright.kit.seal import SALT_BYTES, TAG_BYTES, Seal, head_of

MAGIC: Final = b"\xf5LWF"
PIECE: Final = 1 << 20
_HEAD: Final = len(MAGIC) + 1 + 64 + SALT_BYTES


class Sealing:
    """Takes a text in pieces of any size and gives it sealed to `out`; `close` writes its end."""

    __slots__ = ("_cipher", "_head", "_number", "_out", "_waiting")

    def __init__(self, seal: Seal, out: Callable[[bytes], object]) -> None:
        self._head, self._cipher = seal.fresh(MAGIC)
        self._number = 0
        self._waiting = bytearray()
        self._out = out
        out(self._head)

    def write(self, piece: bytes) -> None:
        """Add a piece."""
        self._waiting += piece
        while len(self._waiting) > PIECE:
            self._give(bytes(self._waiting[:PIECE]), last=False)
            del self._waiting[:PIECE]

    def close(self) -> None:
        """What is left is the last piece, empty only in an empty file."""
        self._give(bytes(self._waiting), last=True)
        self._waiting.clear()

    def _give(self, piece: bytes, *, last: bool) -> None:
        self._out(self._cipher.encrypt(_nonce(self._number, last=last), piece, self._head))
        self._number += 1


class SealedFile(io.RawIOBase):
    """A sealed file as if it were not: readable and seekable, holding one piece. Closing it closes the file below."""

    def __init__(self, file: BinaryIO, seal: Seal) -> None:
        """Read the head and the last piece, so that a file that was cut short is known at once.

        Raises:
            Sealed: its key is not here.
            Changed: it is no whole sealed file.
        """
        super().__init__()
        self._file = file
        self.key_id, self._head = _head(file)
        self._cipher = seal.subkey(self.key_id, self._head)
        size = file.seek(0, io.SEEK_END) - len(self._head)
        self._pieces = max(-(-size // (PIECE + TAG_BYTES)), 1)
        self._size = size - self._pieces * TAG_BYTES
        self._at = 0
        self._held: tuple[int, bytes] = (-1, b"")
        self._piece(self._pieces - 1)

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place in the plain text."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def tell(self) -> int:
        """The place in the plain text."""
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read up to the end of a piece."""
        if self._at >= self._size:
            return 0
        number, offset = divmod(self._at, PIECE)
        found = self._piece(number)[offset : offset + len(buffer)]
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)

    def close(self) -> None:
        """Close the file below, too."""
        if not self.closed:
            self._file.close()
        super().close()

    def _piece(self, number: int) -> bytes:
        if self._held[0] != number:
            self._file.seek(len(self._head) + number * (PIECE + TAG_BYTES))
            sealed = self._file.read(PIECE + TAG_BYTES)
            text = self._cipher.decrypt(_nonce(number, last=number == self._pieces - 1), sealed, self._head)
            if text is None:
                raise Changed(self.key_id)
            self._held = (number, text)
        return self._held[1]


def key_of_file(file: BinaryIO) -> str | None:
    """Id of the key a file is sealed with; None when it is not. Leaves it at its beginning."""
    try:
        return _head(file)[0]
    except Changed:
        return None
    finally:
        file.seek(0)


def _head(file: BinaryIO) -> tuple[str, bytes]:
    file.seek(0)
    start = file.read(_HEAD)
    if not start.startswith(MAGIC):
        raise Changed
    return head_of(start, magic=len(MAGIC))


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\x01" if last else b"\x00")
