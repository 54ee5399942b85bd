"""How records lie in a spool file: frames that can be checked, cut short and found again. Knows no files.

A frame is a 12-byte head (magic, kind, format, length, CRC-32 of the body; little-endian) and a MessagePack body.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import Final

import msgspec

from loopwright.calls.record import Opened, Record
from loopwright.kit.seal import PLAIN, Seal

HEAD: Final = struct.Struct("<2sBBII")
HEAD_SIZE: Final = HEAD.size
MAGIC: Final = b"\xf5\x4c"
RECORD: Final = 1
OPENED: Final = 2
_FORMAT: Final = 1
_LONGEST: Final = 1 << 28
"""Bytes of a body; a length beyond it is damage."""

_encoder: Final = msgspec.msgpack.Encoder()
_records: Final = msgspec.msgpack.Decoder(Record)
_opened: Final = msgspec.msgpack.Decoder(Opened)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame; offsets count from the start of what was parsed."""

    kind: int
    start: int
    end: int
    body: bytes

    def record(self, seal: Seal = PLAIN, worker: str = "") -> Record:
        """The record it carries, also that of an `Opened`; sealed ones need the `worker` whose file it is.

        Raises:
            msgspec.MsgspecError: the body is no record of ours.
            Sealed: it cannot be opened.
        """
        body = seal.open(self.body, about(worker))
        if self.kind == OPENED:
            return _opened.decode(body).record
        if self.kind == RECORD:
            return _records.decode(body)
        raise msgspec.ValidationError(f"a frame of unknown kind {self.kind}: written by a newer Loopwright?")


@dataclass(slots=True)
class Parsed:
    """What a piece of a spool file holds."""

    frames: list[Frame] = field(default_factory=list)
    used: int = 0
    """Bytes that need not be looked at again."""
    damaged: list[tuple[int, int]] = field(default_factory=list)
    """Ranges that are no frames although frames follow, or whose checksum is wrong."""
    torn: int = 0
    """Bytes of a last frame whose writing was cut off: nobody was told that it was kept."""


def about(worker: str) -> bytes:
    """What the frames of a worker's files are sealed for."""
    return b"spool " + worker.encode()


def encode_into(record: Record | Opened, buffer: bytearray, seal: Seal | None = None, about: bytes = b"") -> None:
    """Make `buffer` the frame of `record`, its body sealed when there is a `seal`.

    Raises:
        msgspec.MsgspecError, UnicodeEncodeError: a value cannot be encoded (a lone surrogate, say).
    """
    _encoder.encode_into(record, buffer, HEAD_SIZE)
    if seal is not None:
        buffer[HEAD_SIZE:] = seal.seal(bytes(buffer[HEAD_SIZE:]), about)
    kind = OPENED if type(record) is Opened else RECORD
    with memoryview(buffer) as view:
        body = view[HEAD_SIZE:]
        HEAD.pack_into(buffer, 0, MAGIC, kind, _FORMAT, len(body), zlib.crc32(body))
        body.release()


def parse(data: bytes, *, last: bool) -> Parsed:
    """Read the frames in `data`; `last` says that nothing will ever be appended to it."""
    found = Parsed()
    while found.used < len(data):
        frame = _frame_at(data, found.used)
        if isinstance(frame, Frame):
            found.frames.append(frame)
            found.used = frame.end
            continue
        if frame == _SHORT and not last:
            break
        after = _next_frame(data, found.used + 1)
        if after is None and not last:
            break
        end = len(data) if after is None else after
        if frame == _SHORT and after is None:
            found.torn = end - found.used
        else:
            found.damaged.append((found.used, end))
        found.used = end
    return found


_SHORT: Final = "short"
_WRONG: Final = "wrong"


def _frame_at(data: bytes, start: int) -> Frame | str:
    if len(data) - start < HEAD_SIZE:
        return _SHORT if data[start : start + 2] == MAGIC[: len(data) - start] else _WRONG
    magic, kind, version, length, crc = HEAD.unpack_from(data, start)
    if magic != MAGIC or version != _FORMAT or length > _LONGEST:
        return _WRONG
    end = start + HEAD_SIZE + length
    if end > len(data):
        return _SHORT
    body = data[start + HEAD_SIZE : end]
    return Frame(kind, start, end, body) if zlib.crc32(body) == crc else _WRONG


def _next_frame(data: bytes, start: int) -> int | None:
    at = data.find(MAGIC, start)
    while at >= 0:
        if isinstance(_frame_at(data, at), Frame):
            return at
        at = data.find(MAGIC, at + 1)
    return None
