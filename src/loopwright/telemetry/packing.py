"""What spans and logs say as bytes: some of one day together in a block, compressed, and sealed where there are keys.

What all blocks share is `names.txt`: attribute names that every trace repeats. That file is part of the format
(`kit/packing.py`): never change it, add another with a number of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from importlib import resources
from typing import Any, Final

import msgspec

from loopwright.kit.packing import Press
from loopwright.kit.seal import PLAIN, Seal

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


class Packer(Press):
    """Packs and unpacks blocks. For one thread at a time."""

    __slots__ = ("_decoder", "_encoder")

    def __init__(self, seal: Seal = PLAIN) -> None:
        shared = resources.files("loopwright.telemetry").joinpath("names.txt").read_bytes()
        super().__init__(shared, seal, whose="spans")
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(list[Said | None])

    def pack(self, encoded: Sequence[bytes], about: bytes = b"") -> bytes:
        """The bytes to store, for the row that `about` names, of what `encode` made."""
        return self.press(_array(len(encoded)) + b"".join(encoded), about)

    def encode(self, said: Said | None) -> bytes:
        """One text; None is one that was deleted."""
        return self._encoder.encode(said)

    def unpack(self, body: bytes, about: bytes = b"") -> list[Said | None]:
        """What was packed.

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
    """What the texts of a row of `span_texts` are sealed for."""
    return f"span_texts.body {day.isoformat()} {block}".encode()


def _array(size: int) -> bytes:
    """The head of a MessagePack array."""
    return b"\xdd" + size.to_bytes(4)
