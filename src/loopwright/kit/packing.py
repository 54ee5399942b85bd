"""Blocks of texts as bytes to store: compressed against what all of them share, and sealed. Knows nothing of the texts.

The first byte says how: 0 as they are, 1 zstd with the shared text. That is part of the format: never change one, add
another with a number of its own.
"""

from __future__ import annotations

from typing import Final

import zstandard

from loopwright.kit.seal import Seal

_PLAIN: Final = b"\x00"
_ZSTD: Final = b"\x01"
_LEVEL: Final = 3
_LARGEST: Final = 1 << 30


class Press:
    """Presses blocks and opens them. For one thread at a time."""

    __slots__ = ("_compressor", "_decompressor", "_whose", "seal")

    def __init__(self, shared: bytes, seal: Seal, *, whose: str) -> None:
        """Begin with what all blocks share. `whose` texts they are is told where some are damaged."""
        self.seal = seal
        self._whose = whose
        known = zstandard.ZstdCompressionDict(shared, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        known.precompute_compress(level=_LEVEL)
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL, dict_data=known, write_checksum=False)
        self._decompressor = zstandard.ZstdDecompressor(dict_data=known)

    def press(self, plain: bytes, about: bytes) -> bytes:
        """The bytes to store, for the row that `about` names."""
        packed = self._compressor.compress(plain)
        return self.seal.seal(_ZSTD + packed if len(packed) < len(plain) else _PLAIN + plain, about)

    def open(self, body: bytes, about: bytes) -> bytes:
        """What was pressed.

        Raises:
            ValueError: the bytes are damaged or of a newer Loopwright.
            Sealed: they cannot be opened.
        """
        body = self.seal.open(body, about)
        kind, rest = body[:1], body[1:]
        if kind == _PLAIN:
            return rest
        if kind != _ZSTD:
            raise ValueError(f"texts are stored in way {kind.hex()!r}, which this Loopwright does not know")
        try:
            return self._decompressor.decompress(rest, max_output_size=_LARGEST)
        except zstandard.ZstdError as error:
            raise self.damaged(error) from error

    def damaged(self, error: Exception) -> ValueError:
        """What people are told of texts that cannot be read."""
        return ValueError(f"the stored texts of some {self._whose} are damaged: {error}")
