"""Files of rows, read a row at a time: JSON lines, CSV, Parquet. Memory holds one batch, whatever a file's size."""

from __future__ import annotations

import csv
import importlib
import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePath
from typing import Any, BinaryIO, Final, Literal, get_args

import msgspec

from loopwright.core.errors import BadRequest
from loopwright.datasets.draft import Problem
from loopwright.kit.byte_order import mark_of

Format = Literal["jsonl", "csv", "parquet"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)
LONGEST: Final = 20_000_000
"""Bytes of a line, characters of a cell."""
_ENDINGS: Final[Mapping[str, Format]] = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet",
}  # fmt: skip

Row = tuple[int, dict[str, Any]]
"""Where it stands, from 1: the line it begins at in a text, the number of the row in a table. And what it says."""

csv.field_size_limit(LONGEST)  # of this process; the default is too small for a document in a cell


def format_of(name: str, given: str | None = None) -> Format:
    """The format that is named, or that the ending of a file's name says.

    Raises:
        BadRequest: neither says one that is known.
    """
    found = given or _ENDINGS.get(PurePath(name).suffix.lower())
    known = next((each for each in FORMATS if each == found), None)
    if known is None:
        shown = f"format {given[:40]!r}" if given else f"the ending of {name[:80]!r}"
        raise BadRequest(f"{shown} says none of {', '.join(FORMATS)}: name the format", param="format")
    return known


def rows(file: BinaryIO, form: Format) -> Iterator[Row | Problem]:
    """The rows of a file, and what is wrong with those that cannot be read.

    Raises:
        BadRequest: it is no such file at all, or `parquet` is not installed.
    """
    if form == "parquet":
        return _parquet()(file)
    return _jsonl(file) if form == "jsonl" else _csv(file)


def _parquet() -> Callable[[BinaryIO], Iterator[Row | Problem]]:
    read: Callable[[BinaryIO], Iterator[Row | Problem]] = parquet().rows
    return read


def parquet() -> Any:
    """The module that reads and writes Parquet; the library behind it is no small one, and not everybody's.

    Raises:
        BadRequest: it is not installed.
    """
    try:
        return importlib.import_module("loopwright.datasets.parquet")
    except ImportError as error:
        raise BadRequest(
            f"Parquet needs pyarrow, which is not installed here ({error.name}): pip install 'loopwright[parquet]'",
            param="format",
        ) from None


def _jsonl(file: BinaryIO) -> Iterator[Row | Problem]:
    for number, line in enumerate(_lines(file), 1):
        if isinstance(line, Problem):
            yield line
            return
        if not line.strip():
            continue
        try:
            row = msgspec.json.decode(line)
        except msgspec.DecodeError as error:
            yield Problem(number, f"no JSON: {error}")
        except RecursionError:
            yield Problem(number, "nested too deeply")
        else:
            if isinstance(row, dict):
                yield number, row
                continue
            yield Problem(number, f"each line is a JSON object, this one is {_KINDS.get(type(row), 'something else')}")


_KINDS: Final = {list: "an array", str: "a text", int: "a number", float: "a number", type(None): "null"}


def _csv(file: BinaryIO) -> Iterator[Row | Problem]:
    broken: list[Problem] = []

    def texts() -> Iterator[str]:
        for line in _lines(file):
            if isinstance(line, Problem):
                broken.append(line)
                return
            yield line.decode()

    source = texts()
    first = next(source, "")
    reader = csv.reader(_chained(first, source), delimiter=_delimiter(first), strict=True)
    try:
        names = next(reader, [])
        _check_names(names)
        begins = reader.line_num + 1
        for cells in reader:
            if len(cells) == len(names):
                yield begins, dict(zip(names, cells, strict=True))
            elif cells:
                yield Problem(begins, f"cells: {len(cells)}, where the first line names {len(names)} columns")
            begins = reader.line_num + 1
    except csv.Error as error:
        if not broken:
            yield Problem(reader.line_num, f"no CSV from here on: {error}")
    yield from broken


def _chained(first: str, rest: Iterator[str]) -> Iterator[str]:
    if first:
        yield first
    yield from rest


def _delimiter(line: str) -> str:
    """What separates the names: a comma, unless there is none and another is."""
    return max(",\t;", key=lambda sign: (line.count(sign) > 0, sign == ",", line.count(sign)))


def _check_names(names: list[str]) -> None:
    if not any(names):
        raise BadRequest("the file has no first line with the names of its columns", param="file")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadRequest(f"two columns are named {twice[0][:60]!r} in the first line", param="file")


def _lines(file: BinaryIO) -> Iterator[bytes | Problem]:
    """Lines in UTF-8 with their ends, without a mark at the beginning; a Problem is the last."""
    head = file.read(4)
    mark, coding = mark_of(head) or (b"", "utf-8")
    file.seek(len(mark))
    if coding == "utf-8":
        yield from _bytes(file)
        return
    text = io.TextIOWrapper(file, encoding=coding, newline="\n")
    number = 0
    try:
        while line := text.readline(LONGEST + 1):
            number += 1
            if len(line) > LONGEST:
                yield Problem(number, f"over {LONGEST:,} characters")
                return
            yield line.encode()
    except UnicodeError as error:
        yield Problem(number + 1, f"no {coding.upper()}: {error}")
    finally:
        text.detach()  # the file is the caller's


def _bytes(file: BinaryIO) -> Iterator[bytes | Problem]:
    number = 0
    while line := file.readline(LONGEST + 1):
        number += 1
        if len(line) > LONGEST:
            yield Problem(number, f"over {LONGEST:,} bytes")
            return
        if not line.isascii():
            try:
                line.decode()
            except UnicodeDecodeError as error:
                yield Problem(number, f"no UTF-8 at byte {error.start}: save the file as UTF-8")
                return
        yield line
