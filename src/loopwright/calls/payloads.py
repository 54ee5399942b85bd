"""The texts of calls as bytes: some calls together in a block, compressed against boilerplate that every call shares.

The first byte says how: 0 as they are, 1 zstd with `boilerplate.txt`. That file is part of the format: never change
it, add another with a number of its own. It holds nobody's text, so a deleted call leaves no trace in it.
With keys, all of that is sealed for the row it lies in.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from importlib import resources
from typing import Final

import msgspec
import zstandard

from loopwright.kit.seal import PLAIN, Seal

_PLAIN: Final = b"\x00"
_ZSTD: Final = b"\x01"
_LEVEL: Final = 3
_LARGEST: Final = 1 << 30
BLOCK_CALLS: Final = 32
BLOCK_BYTES: Final = 131_072
"""A block ends with the call that passes one of these: reading one call means unpacking its whole block."""


class Payload(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What was asked and answered."""

    request: bytes
    """The body as the client sent it."""
    response: bytes
    """JSON in OpenAI's non-streamed form; as it came when it was none."""
    error: str | None = None
    """Why the call failed, where texts are sealed: such a message may quote them. Otherwise it is in the row."""


class Packer:
    """Packs and unpacks blocks. For one thread at a time."""

    __slots__ = ("_compressor", "_decoder", "_decompressor", "_encoder", "seal")

    def __init__(self, seal: Seal = PLAIN) -> None:
        self.seal = seal
        boilerplate = zstandard.ZstdCompressionDict(
            resources.files("loopwright.calls").joinpath("boilerplate.txt").read_bytes(),
            dict_type=zstandard.DICT_TYPE_RAWCONTENT,
        )
        boilerplate.precompute_compress(level=_LEVEL)
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL, dict_data=boilerplate, write_checksum=False)
        self._decompressor = zstandard.ZstdDecompressor(dict_data=boilerplate)
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(list[Payload | None])

    def pack(self, payloads: Sequence[Payload | None], about: bytes = b"") -> bytes:
        """The bytes to store, for the row that `about` names; None is a call that was deleted."""
        plain = self._encoder.encode(payloads)
        packed = self._compressor.compress(plain)
        return self.seal.seal(_ZSTD + packed if len(packed) < len(plain) else _PLAIN + plain, about)

    def unpack(self, body: bytes, about: bytes = b"") -> list[Payload | None]:
        """What `pack` was given.

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
            raise ValueError(f"the stored texts of some calls are damaged: {error}") from error
        raise ValueError(f"texts are stored in way {kind.hex()!r}, which this Loopwright does not know")


def about(day: date, block: int) -> bytes:
    """What the texts of a row of `call_payloads` are sealed for."""
    return f"call_payloads.body {day.isoformat()} {block}".encode()


def blocks_of(payloads: Sequence[Payload]) -> list[int]:
    """How many of `payloads`, in order, go into each block."""
    sizes: list[int] = []
    calls = size = 0
    for payload in payloads:
        calls += 1
        size += len(payload.request) + len(payload.response)
        if calls >= BLOCK_CALLS or size >= BLOCK_BYTES:
            sizes.append(calls)
            calls = size = 0
    if calls:
        sizes.append(calls)
    return sizes
