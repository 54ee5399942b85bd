"""CSV and TSV: a Markdown table, or a mapping for each row."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Final

from loopwright.documents.decoding import cleaned, decoded
from loopwright.documents.document import Parsed
from loopwright.documents.limits import Limits
from loopwright.documents.sniffing import CSV
from loopwright.documents.unreadable import Unreadable

_COLUMNS: Final = 2_000


def read(data: bytes, kind: str, limits: Limits) -> Parsed:
    """The rows as a Markdown table.

    Raises:
        Unreadable: it is no table, or over a limit.
    """
    text, told = decoded(data)
    text, more = cleaned(text)
    told += more
    rows = _rows(text, limits)
    names = next(rows, [])
    lines, uneven, total = [_line(names), _line(["---"] * len(names))], 0, 0
    for cells in rows:
        uneven += len(cells) != len(names)
        line = _line([*cells, *[""] * (len(names) - len(cells))])
        total += len(line)
        if total > limits.characters:
            raise Unreadable(f"has more than {limits.characters:,} characters of text, which is the limit: split it")
        lines.append(line)
    if uneven:
        told.append(f"{uneven:,} rows have more or fewer cells than the first one names columns")
    metadata = {"rows": len(lines) - 2, "columns": [name[:100] for name in names[:100]]}
    return Parsed(text="\n".join(lines) + "\n", media_type=kind, metadata=metadata, warnings=told)


def rows_of(text: str, *, limits: Limits) -> Iterator[dict[str, str]]:
    """The rows, by the names of their columns. Cells that no name stands above are left out.

    Raises:
        Unreadable: it is no table.
    """
    rows = _rows(text, limits)
    names = next(rows, [])
    for cells in rows:
        yield dict(zip(names, cells, strict=False))


def _rows(text: str, limits: Limits) -> Iterator[list[str]]:
    """The rows that are not empty; the first one names the columns."""
    csv.field_size_limit(max(limits.characters, 1))
    lines = text.split("\n", 1)
    reader = csv.reader(io.StringIO(text), delimiter=_delimiter(lines[0]))
    try:
        for cells in reader:
            if len(cells) > _COLUMNS:
                raise Unreadable(f"has {len(cells):,} columns, the limit is {_COLUMNS:,}")
            if any(cell.strip() for cell in cells):
                yield cells
    except csv.Error as error:
        raise Unreadable(f"is no {CSV}: line {reader.line_num}: {error}") from None


def _delimiter(line: str) -> str:
    """What separates the names: a tab if there is one, else the more frequent of comma, semicolon and bar."""
    return "\t" if "\t" in line else max(",;|", key=lambda sign: (line.count(sign), sign == ","))


def _line(cells: list[str]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"
