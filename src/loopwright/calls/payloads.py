"""The texts of calls as bytes: some calls together in a block, compressed against boilerplate that every call shares.

`boilerplate.txt` is part of the format (`kit/packing.py`): never change it, add another with a number of its own. It
holds nobody's text, so a deleted call leaves no trace in it. With keys, a block is sealed for the row it lies in.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from importlib import resources
from typing import Final

import msgspec

from loopwright.kit.packing import Press
from loopwright.kit.seal import PLAIN, Seal

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


class Packer(Press):
    """Packs and unpacks blocks. For one thread at a time."""

    __slots__ = ("_decoder", "_encoder")

    def __init__(self, seal: Seal = PLAIN) -> None:
        shared = resources.files("loopwright.calls").joinpath("boilerplate.txt").read_bytes()
        super().__init__(shared, seal, whose="calls")
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(list[Payload | None])

    def pack(self, payloads: Sequence[Payload | None], about: bytes = b"") -> bytes:
        """The bytes to store, for the row that `about` names; None is a call that was deleted."""
        return self.press(self._encoder.encode(payloads), about)

    def unpack(self, body: bytes, about: bytes = b"") -> list[Payload | None]:
        """What `pack` was given.

        Raises:
            ValueError: the bytes are damaged or of a newer Loopwright.
            Sealed: they cannot be opened.
        """
        plain = self.open(body, about)
        try:
            return self._decoder.decode(plain)
        except msgspec.MsgspecError as error:
            raise self.damaged(error) from error


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
