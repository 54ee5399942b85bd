"""Files on their way to a server: a form with one file, sent in pieces, from the standard library alone."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

Told = Callable[[str, int, int | None], None]
"""Hears what is being done, how much of it is done, and of how much if that is known."""
_PIECE: Final = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A multipart form whose last field is a file of a known size."""

    size: int
    """Bytes of the file."""
    boundary: str
    head: bytes
    tail: bytes

    @classmethod
    def of(cls, path: Path, fields: Mapping[str, str | None]) -> Form:
        """The form that sends `path` as its field `file`; fields without a value are left out.

        Raises:
            OSError: there is no such file.
        """
        boundary = secrets.token_hex(16)
        name = "".join(char for char in path.name if char.isprintable() and char not in '"\\') or "file"
        part = f'--{boundary}\r\ncontent-disposition: form-data; name="{{}}"{{}}\r\n\r\n'
        head = "".join(part.format(key, "") + value + "\r\n" for key, value in fields.items() if value)
        head += part.format("file", f'; filename="{name}"')
        return cls(
            size=path.stat().st_size,
            boundary=boundary,
            head=head.encode("utf-8", "replace"),
            tail=f"\r\n--{boundary}--\r\n".encode(),
        )

    @property
    def headers(self) -> dict[str, str]:
        """What the server is told of the body."""
        return {
            "content-type": f"multipart/form-data; boundary={self.boundary}",
            "content-length": str(len(self.head) + self.size + len(self.tail)),
        }

    def pieces(self, file: BinaryIO, told: Told | None = None) -> Iterator[bytes]:
        """The body. What was appended meanwhile is not sent: the length was told."""
        yield self.head
        sent = 0
        while sent < self.size and (piece := file.read(min(_PIECE, self.size - sent))):
            yield piece
            sent += len(piece)
            if told is not None:
                told("sending", sent, self.size)
        yield self.tail
