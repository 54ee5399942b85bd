"""Writes AWS event streams, which Bedrock answers in."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One message of an AWS event stream."""
    block = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack(">II", 16 + len(block) + len(payload), len(block))
    whole = prelude + struct.pack(">I", zlib.crc32(prelude)) + block + payload
    return whole + struct.pack(">I", zlib.crc32(whole))
