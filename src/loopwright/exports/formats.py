"""The formats that calls are taken out in: JSON lines, Parquet, and lines of OpenTelemetry's OTLP. Pieces as they come."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, Literal, Protocol, get_args

import msgspec

from loopwright.core.errors import BadRequest
from loopwright.exports.outgoing import Outgoing

Format = Literal["jsonl", "parquet", "otlp"]
FORMATS: Final[tuple[str, ...]] = get_args(Format)
TYPES: Final[Mapping[str, str]] = {
    "jsonl": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
    "otlp": "application/x-ndjson",
}
ENDINGS: Final[Mapping[str, str]] = {"jsonl": "jsonl", "parquet": "parquet", "otlp": "otlp.jsonl"}
_encode: Final = msgspec.json.Encoder().encode


class Writer(Protocol):
    """Makes bytes of calls, some at a time. In a thread of its own at a time."""

    def add(self, some: Sequence[Outgoing]) -> bytes:
        """What can be sent on after these."""
        ...

    def end(self) -> bytes:
        """What makes the file whole."""
        ...


class Lines:
    """A JSON object a call."""

    def add(self, some: Sequence[Outgoing]) -> bytes:
        """A line each."""
        return b"".join(_encode(each.shown()) + b"\n" for each in some)

    def end(self) -> bytes:
        """Nothing more."""
        return b""


def writer(form: Format, *, texts: bool) -> Writer:
    """What writes a format.

    Raises:
        BadRequest: pyarrow is not installed.
    """
    if form == "jsonl":
        return Lines()
    if form == "otlp":
        # What reads and writes OTLP is imported by who uses it, as pyarrow is.
        lines: Writer = importlib.import_module("loopwright.exports.otlp_lines").OtlpLines()
        return lines
    made: Writer = _parquet().Table(texts=texts)
    return made


async def pieces(calls: AsyncIterator[Sequence[Outgoing]], written: Writer) -> AsyncIterator[bytes]:
    """A file, piece by piece. It is whole when this ends by itself; what breaks it is raised."""
    async for some in calls:
        piece = await asyncio.to_thread(written.add, some)
        if piece:
            yield piece
    last = await asyncio.to_thread(written.end)
    if last:
        yield last


def _parquet() -> Any:
    """The module that writes Parquet; the library behind it is no small one, and not everybody's."""
    try:
        return importlib.import_module("loopwright.exports.parquet")
    except ImportError as error:
        raise BadRequest(
            f"Parquet needs pyarrow, which is not installed where Loopwright runs ({error.name}):"
            " pip install 'loopwright[parquet]'",
            param="format",
        ) from None
