"""What the command line prints: tables that fit the terminal, facts, JSON, complaints. Knows no noun.

Texts from outside lose their control characters first, so that a recorded answer cannot drive the terminal.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from loopwright.core.errors import LoopwrightError, Unauthenticated

# C0 and C1 controls but tab and newline, and the marks that turn the direction of writing.
_CONTROLS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_UNBOUNDED: Final = 100_000
_GAP: Final = 3
"""Blanks between two columns of a table."""
_TODO: Final[Mapping[type[LoopwrightError], str]] = {
    Unauthenticated: "Give a key with LOOPWRIGHT_API_KEY or --api-key; `loopwright up` leaves one in .loopwright/admin.key",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table."""

    title: str
    right: bool = False
    weight: int = 0
    """0 always stays; where the terminal is too narrow the highest go, as far as they have no room."""
    style: str = ""
    least: int | None = None
    """Characters below which the column's texts may not be cut; None means they are never cut."""


def console(*, stderr: bool = False) -> Console:
    """A console that keeps whole lines and no colour where nobody watches (pipe, file, NO_COLOR)."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(
        file=stream,
        width=None if stream.isatty() else _UNBOUNDED,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=not stream.isatty(),
    )


def clean(text: object) -> str:
    """`text` without characters that would drive a terminal."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", str(text).replace("\r\n", "\n"))


def clip(text: object, width: int = 60) -> str:
    """One clean line of at most `width` characters."""
    line = " ".join(clean(text).split())
    return line if len(line) <= width else line[: width - 1] + "…"


def show_json(value: Any) -> None:
    """Print a value as JSON for programs."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def show_table(columns: Sequence[Column], rows: Iterable[Sequence[object]], *, empty: str, title: str = "") -> None:
    """Print rows; where the terminal is too narrow the least important columns go, and a line says so."""
    out = console()
    cells = [[clean("" if cell is None else cell) for cell in row] for row in rows]
    if not cells:
        console(stderr=True).print(empty, style="dim")
        return
    needs = [_need(column, [row[at] for row in cells]) for at, column in enumerate(columns)]
    kept = _fitting(columns, needs, out.width)
    table = Table(box=SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False, show_edge=False)
    for at in kept:
        column = columns[at]
        table.add_column(
            column.title,
            justify="right" if column.right else "left",
            style=column.style or None,
            no_wrap=True,
            overflow="ellipsis",
            min_width=needs[at],
        )
    for row in cells:
        table.add_row(*(Text(row[at]) for at in kept))
    _put(out, table)
    if len(kept) < len(columns):
        gone = ", ".join(column.title for at, column in enumerate(columns) if at not in kept)
        out.print(f"(the terminal is too narrow for: {gone}; --json shows all)", style="dim")


def show_rows(
    told: Any,
    columns: Sequence[Column],
    rows: Iterable[Sequence[object]],
    *,
    as_json: bool,
    empty: str,
    title: str = "",
) -> None:
    """A list that was asked for: as the server told it for programs, else as a table. Rows are made only when shown."""
    if as_json:
        show_json(told)
    else:
        show_table(columns, rows, empty=empty, title=title)


def show_facts(facts: Iterable[tuple[str, object]], *, title: str = "") -> None:
    """Print names and values, one a line."""
    out = console()
    table = Table(box=None, show_header=False, title=title or None, title_justify="left", pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        if value is not None and value != "":
            table.add_row(name, Text(clean(value)))
    _put(out, table)


def say(message: str, *, style: Literal["", "dim", "green", "yellow"] = "") -> None:
    """A line for the person on stderr, so that stdout holds only what was asked for."""
    console(stderr=True).print(clean(message), style=style or None)


def show_done(told: Any, words: str, *, as_json: bool, style: Literal["", "green"] = "green") -> None:
    """What was done: as the server told it for programs, else in words."""
    if as_json:
        show_json(told)
    else:
        say(words, style=style)


def complain(error: LoopwrightError) -> None:
    """What went wrong in one line, and under it what to do."""
    what, *todo = clean(error.message).splitlines() or [type(error).__name__]
    if not todo:
        todo = [_TODO[type(error)]] if type(error) in _TODO else []
    out = console(stderr=True)
    out.print(Text.assemble(("error: ", "bold red"), what))
    for line in todo:
        out.print(Text.assemble(("  → " if len(todo) == 1 else "  ", "bold"), line))


def _put(out: Console, table: Table) -> None:
    """Print a table; into a pipe or a file without the blanks that fill its last column."""
    if out.is_terminal:
        out.print(table)
        return
    with out.capture() as captured:
        out.print(table)
    out.file.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def _need(column: Column, texts: Sequence[str]) -> int:
    """Characters a column must have."""
    widest = max(cell_len(text) for text in (column.title, *texts))
    return widest if column.least is None else min(widest, max(column.least, cell_len(column.title)))


def _fitting(columns: Sequence[Column], needs: Sequence[int], width: int) -> list[int]:
    """Which columns a terminal of `width` characters can show: the important first, each where there is room for it."""
    kept: list[int] = []
    left = width + _GAP
    for at in sorted(range(len(columns)), key=lambda at: (columns[at].weight, at)):
        if columns[at].weight == 0 or needs[at] + _GAP <= left:
            kept.append(at)
            left -= needs[at] + _GAP
    return sorted(kept)
