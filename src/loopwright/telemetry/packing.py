"""What spans and logs say as bytes: some of one day together in a block, compressed, and sealed where there are keys.

The first byte says how: 0 as they are, 1 zstd with `names.txt`, which holds attribute names that every trace repeats.
That file is part of the format: never change it, add another with a number of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from importlib import resources
from typing import Any, Final

import msgspec
import zstandard

from loopwright.kit.seal import PLAIN, Seal

_PLAIN: Final = b"\x00"
_ZSTD: Final = b"\x01"
_LEVEL: Final = 3
_LARGEST: Final = 1 << 30
BLOCK_TEXTS: Final = 128
BLOCK_BYTES: Final = 65_536
"""A block ends with the text that passes one of these: reading one means unpacking its whole block."""


class Said(msgspec.Struct, array_like=True, frozen=True, gc=False, omit_defaults=True):
    """What a span says beside its row. Append fields only, each with a default."""

    attributes: dict[str, Any] = {}
    """By the names they came with."""
    input: Any = None
    output: Any = None
    error: str | None = None
    """Where texts are sealed: it may quote them. Otherwise it is in the row."""
    scope: str = ""
    dialect: str = ""
    provider: str | None = None
    events: list[tuple[int, str, dict[str, Any]]] = []
    """(Unix nanoseconds, name, attributes)."""
    links: list[tuple[str, str, dict[str, Any]]] = []
    """(trace, span, attributes)."""
    clipped: list[str] = []
    body: Any = None
    """Of a log."""


class Packer:
    """Packs and unpacks blocks. For one thread at a time."""

    __slots__ = ("_compressor", "_decoder", "_decompressor", "_encoder", "seal")

    def __init__(self, seal: Seal = PLAIN) -> None:
        self.seal = seal
        names = zstandard.ZstdCompressionDict(
            resources.files("loopwright.telemetry").joinpath("names.txt").read_bytes(),
            dict_type=zstandard.DICT_TYPE_RAWCONTENT,
        )
        names.precompute_compress(level=_LEVEL)
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL, dict_data=names, write_checksum=False)
        self._decompressor = zstandard.ZstdDecompressor(dict_data=names)
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(list[Said | None])

    def pack(self, encoded: Sequence[bytes], about: bytes = b"") -> bytes:
        """The bytes to store, for the row that `about` names, of what `encode` made."""
        plain = _array(len(encoded)) + b"".join(encoded)
        packed = self._compressor.compress(plain)
        return self.seal.seal(_ZSTD + packed if len(packed) < len(plain) else _PLAIN + plain, about)

    def encode(self, said: Said | None) -> bytes:
        """One text; None is one that was deleted."""
        return self._encoder.encode(said)

    def unpack(self, body: bytes, about: bytes = b"") -> list[Said | None]:
        """What was packed.

        Raises:
            ValueError: the bytes are damaged or of a newer Loopwright.
            Sealed: they cannot be opened.
        """
        body = self.seal.open(body, about)
        kind, rest = body[:1], body[1:]
        try:
            if kind == _ZSTD:
                return self._decoder.decode(self._decompressor.decompress(rest, max_output_size=_LARGEST))
            if kind == _PLAIN:
                return self._decoder.decode(rest)
        except (zstandard.ZstdError, msgspec.MsgspecError) as error:
            raise ValueError(f"the stored texts of some spans are damaged: {error}") from error
        raise ValueError(f"texts are stored in way {kind.hex()!r}, which this Loopwright does not know")


def about(day: date, block: int) -> bytes:
    """What the texts of a row of `span_texts` are sealed for."""
    return f"span_texts.body {day.isoformat()} {block}".encode()


def _array(size: int) -> bytes:
    """The head of a MessagePack array."""
    return b"\xdd" + size.to_bytes(4)
