"""AWS event streams (`application/vnd.amazon.eventstream`): frames out of bytes cut anywhere. Checksums are checked."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from loopwright.core.errors import UpstreamBroke

_PRELUDE: Final = struct.Struct(">III")  # length of the frame, of its headers, checksum of both
_CHECKSUM: Final = struct.Struct(">I")
_LEAST: Final = _PRELUDE.size + _CHECKSUM.size
_LARGEST: Final = 16 * 1024 * 1024
_FIXED: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of a header's value, by its type; 6 (bytes) and 7 (text) say their own length."""
_TEXT: Final = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One message."""

    headers: Mapping[str, str]
    """Those whose value is a text: `:message-type`, `:event-type`, `:exception-type`, …"""
    payload: bytes


class Frames:
    """Holds back what is not yet a whole frame."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = bytearray()

    @property
    def rest(self) -> int:
        """Bytes of a frame that has begun and not ended."""
        return len(self._rest)

    def feed(self, piece: bytes) -> Iterator[Frame]:
        """The frames that are whole now.

        Raises:
            UpstreamBroke: a length or a checksum is wrong.
        """
        rest = self._rest
        rest += piece
        while len(rest) >= _PRELUDE.size:
            length, head, checksum = _PRELUDE.unpack_from(rest)
            if zlib.crc32(rest[:8]) != checksum or not _LEAST + head <= length <= _LARGEST:
                raise UpstreamBroke("a frame of its event stream is damaged")
            if len(rest) < length:
                return
            frame = bytes(rest[:length])
            del rest[:length]
            if zlib.crc32(frame[:-4]) != _CHECKSUM.unpack_from(frame, length - 4)[0]:
                raise UpstreamBroke("the checksum of a frame of its event stream is wrong")
            start = _PRELUDE.size
            yield Frame(headers=_headers(frame[start : start + head]), payload=frame[start + head : -4])


def _headers(block: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    at = 0
    try:
        while at < len(block):
            end = at + 1 + block[at]
            name, kind, at = block[at + 1 : end].decode(), block[end], end + 1
            if kind in _FIXED:
                at += _FIXED[kind]
                continue
            (length,) = struct.unpack_from(">H", block, at)
            if kind == _TEXT:
                headers[name] = block[at + 2 : at + 2 + length].decode()
            at += 2 + length
    except (IndexError, struct.error, UnicodeDecodeError):
        raise UpstreamBroke("a header of its event stream is damaged") from None
    return headers
