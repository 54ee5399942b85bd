"""What is finished of a running batch: one line appended to a file of its own before it counts.

A write is whole or, when the machine dies in it, a last line without an end, which is cut off. So a line is answered
once, whatever process dies, and going on is reading the file.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import msgspec

from loopwright.batches.batch import Tally
from loopwright.kit.blobs import Blobs
from loopwright.kit.seal import PLAIN, Seal

SUFFIX: Final = ".part"
_PIECE: Final = 1 << 20


class _Head(msgspec.Struct, array_like=True, frozen=True):
    """What is known of a line without reading its texts."""

    number: int
    failed: bool
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost_nano: int | None = 0
    sealed: bool = False

    def tally(self) -> Tally:
        return Tally(
            completed=0 if self.failed else 1,
            failed=1 if self.failed else 0,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cached_tokens=self.cached_tokens,
            reasoning_tokens=self.reasoning_tokens,
            cost_nano=self.cost_nano or 0,
            unpriced=1 if self.cost_nano is None else 0,
        )


_HEAD: Final = msgspec.json.Decoder(_Head)
_encode: Final = msgspec.json.encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A line at its end."""

    number: int
    failed: bool
    """It belongs to the error file."""
    text: bytes
    """Its line there: JSON without a line break."""
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost_nano: int | None = 0
    """Nanodollars; None is unpriced."""


class Journal:
    """The file of one batch. For one process at a time."""

    __slots__ = ("_about", "_descriptor", "_places", "_seal", "_size", "path", "tally")

    def __init__(self, path: Path, descriptor: int, about: bytes, seal: Seal) -> None:
        self.path = path
        self._descriptor = descriptor
        self._about = about
        self._seal = seal
        self._size = 0
        self._places: dict[int, tuple[int, int, bool]] = {}
        self.tally = Tally()

    @classmethod
    def open(cls, folder: Path, batch_id: str, seal: Seal = PLAIN) -> Self:
        """Begin, or go on where a process before this one stopped."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"{batch_id}{SUFFIX}"
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        journal = cls(path, descriptor, batch_id.encode(), seal)
        journal._recall()
        return journal

    @property
    def done(self) -> Mapping[int, object]:
        """The numbers of the lines at their end."""
        return self._places

    def add(self, answered: Answered) -> None:
        """Store a line; from now on it counts. A line that counts already is left as it is."""
        if answered.number in self._places:
            return
        head = _Head(
            answered.number,
            answered.failed,
            answered.input_tokens,
            answered.output_tokens,
            answered.cached_tokens,
            answered.reasoning_tokens,
            answered.cost_nano,
            bool(self._seal),
        )
        text = answered.text
        if self._seal:
            text = base64.b64encode(self._seal.seal(text, self._about))
        line = b"%b\t%b\n" % (_encode(head), text)
        view = memoryview(line)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            raise
        self._take(head, len(line))

    def sync(self) -> None:
        """Have what was added outlive also a power cut."""
        os.fsync(self._descriptor)

    def write(self, blobs: Blobs, *, failed: bool) -> tuple[str, int] | None:
        """One of the two files, in the order of the input: its blob and its bytes; None without lines."""
        numbers = sorted(number for number, place in self._places.items() if place[2] == failed)
        if not numbers:
            return None
        with blobs.writing() as writing:
            pieces: list[bytes] = []
            held = size = 0
            for number in numbers:
                text = self._text(number)
                pieces += (text, b"\n")
                held += len(text) + 1
                size += len(text) + 1
                if held >= _PIECE:
                    writing.write(b"".join(pieces))
                    pieces, held = [], 0
            if pieces:
                writing.write(b"".join(pieces))
            return writing.commit(), size

    def close(self) -> None:
        """Let go of the file; harmless when repeated."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def remove(self) -> None:
        """Close and forget: the batch is at its end, or never began."""
        self.close()
        self.path.unlink(missing_ok=True)

    def _text(self, number: int) -> bytes:
        offset, length, _failed = self._places[number]
        raw = os.pread(self._descriptor, length, offset)
        head, _, text = raw.rstrip(b"\n").partition(b"\t")
        if not _HEAD.decode(head).sealed:
            return text
        return self._seal.open(base64.b64decode(text), self._about)

    def _take(self, head: _Head, length: int) -> None:
        self._places[head.number] = (self._size, length, head.failed)
        self._size += length
        self.tally += head.tally()

    def _recall(self) -> None:
        with self.path.open("rb", buffering=_PIECE) as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                try:
                    head = _HEAD.decode(line.partition(b"\t")[0])
                except msgspec.DecodeError:
                    break
                self._take(head, len(line))
        os.ftruncate(self._descriptor, self._size)
