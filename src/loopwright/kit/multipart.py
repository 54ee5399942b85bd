"""A form with one file, read as it arrives: the file goes to its blob piece by piece, fields are kept short."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from loopwright.core.errors import BadRequest, TooLarge
from loopwright.kit.blobs import Blobs, Writing

_PIECE: Final = 1 << 20
_FIELDS: Final = 32
_FIELD: Final = 64_000
"""Bytes of all fields together."""
_AROUND: Final = 100_000
"""Bytes a body may have beside its file: fields, headers of parts, boundaries."""


@dataclass(slots=True)
class Form:
    """What was sent."""

    fields: dict[str, str] = field(default_factory=dict)
    filename: str | None = None
    """As the client calls the file, without a path; None without a file."""
    blob: str = ""
    size: int = 0


async def receive(request: Request, blobs: Blobs, *, limit: int, patience: float) -> Form:
    """Read the form of a request. Its part `file` is stored; of everything else only texts are taken.

    Args:
        request: not read yet.
        blobs: where the file goes.
        limit: bytes the file may have.
        patience: seconds between two pieces of the body.

    Raises:
        BadRequest: no form, a malformed one, too many fields, or it did not arrive.
        TooLarge: the file is over the limit.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary or len(boundary) > 256:
        raise BadRequest("send the file as multipart/form-data, with a part named `file`")
    reading = _Reading(boundary, limit)
    with blobs.writing() as writing:
        try:
            async for piece in _arriving(request, patience):
                reading.parser.write(piece)
                reading.check()
                if len(reading.waiting) >= _PIECE:
                    await _flush(reading, writing)
            reading.parser.finalize()
        except MultipartParseError as error:
            raise BadRequest(f"the form cannot be read: {error}") from None
        if not reading.ended:
            raise BadRequest("the form breaks off before its end")
        form = reading.form
        if form.filename is not None:
            await _flush(reading, writing)
            form.size = writing.size
            form.blob = await asyncio.to_thread(writing.commit)
    return form


async def _arriving(request: Request, patience: float) -> AsyncIterator[bytes]:
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(patience):
                piece = await anext(stream, None)
        except TimeoutError:
            raise BadRequest(f"nothing more of the request body arrived within {patience:g} s") from None
        if piece is None:
            return
        if piece:
            yield piece


async def _flush(reading: _Reading, writing: Writing) -> None:
    if reading.waiting:
        piece, reading.waiting = bytes(reading.waiting), bytearray()
        await asyncio.to_thread(writing.write, piece)


class _Reading:
    """What the parser's callbacks gather."""

    def __init__(self, boundary: bytes, limit: int) -> None:
        self.form = Form()
        self.ended = False
        self.waiting = bytearray()
        """Bytes of the file that are not written yet."""
        self._limit = limit
        self._size = 0
        self._held = 0
        self._parts = 0
        self._name = ""
        self._is_file = False
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = b""
        self._text = bytearray()
        self.parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._on_header,
                "on_header_value": self._on_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_end,
                "on_part_data": self._data,
                "on_part_end": self._part_end,
                "on_end": self._end,
            },
            max_size=limit + _AROUND,
        )

    def check(self) -> None:
        """Refuse what is too much.

        Raises:
            BadRequest, TooLarge: it is.
        """
        if self._size > self._limit:
            raise TooLarge(
                f"the file is over the limit of {self._limit:,} bytes (of files.limit, of what the project has left, of datasets.upload_limit or collections.upload_limit)"
            )
        if self._parts > _FIELDS or self._held > _FIELD:
            raise BadRequest(f"the form has more than {_FIELDS} fields or {_FIELD:,} bytes of them")

    def _begin(self) -> None:
        self._parts += 1
        self._disposition = b""
        self._text.clear()

    def _on_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._is_file = self._name == "file" and self.form.filename is None
        if self._is_file:
            self.form.filename = _named(options.get(b"filename", b"").decode("utf-8", "replace"))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._size += end - start
            if self._size <= self._limit:
                self.waiting += data[start:end]
        else:
            self._held += end - start
            if self._held <= _FIELD:
                self._text += data[start:end]

    def _part_end(self) -> None:
        if not self._is_file:
            self.form.fields[self._name] = self._text.decode("utf-8", "replace")

    def _end(self) -> None:
        self.ended = True


def _named(given: str) -> str:
    """A file's own name: no folders, nothing that is not printed, never empty."""
    name = given.replace("\\", "/").rpartition("/")[2]
    name = "".join(char for char in name if char.isprintable())[:255].strip()
    return name if name.strip(".") else "file"
