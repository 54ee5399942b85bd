"""A tree of HTML into Markdown: what is shown, without addresses, tables as grids in which spans are filled."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from bs4 import Tag
from markdownify import MarkdownConverter

_CELL, _ENDED, _ROW = "\ufdd0", "\ufdd1", "\ufdd2"
"""Stand before a cell, behind it, behind a row while a tree is converted. They are no characters of any text."""
_SPAN: Final = 50
"""Cells that one is spread over, at most."""
_CELLS: Final = 500_000
"""Of a table, with what is spread."""


def markdown_of(tree: Tag) -> str:
    """The Markdown of a tree of HTML."""
    converter = _Converter(
        heading_style="ATX",
        bullets="-",
        escape_asterisks=False,
        escape_underscores=False,
        escape_misc=False,
        newline_style="backslash",
    )
    made: str = converter.convert_soup(tree)
    lines = (line.rstrip().removesuffix("\\") for line in made.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


class _Converter(MarkdownConverter):
    """Of a link what is shown, of a picture what it says instead."""

    def convert_a(self, el: Tag, text: str, parent_tags: set[str]) -> str:  # noqa: ARG002 - as the library calls it
        return text

    def convert_img(self, el: Tag, text: str, parent_tags: set[str]) -> str:  # noqa: ARG002 - as the library calls it
        return " ".join(str(el.get("alt") or "").split())

    def convert_td(self, el: Tag, text: str, parent_tags: set[str]) -> str:  # noqa: ARG002 - as the library calls it
        shown = text.replace(_CELL, "").replace(_ENDED, "").replace(_ROW, "")
        if el.find("table") is None:
            shown = " ".join(shown.split())
        return f"{_CELL}{_span(el, 'colspan')},{_span(el, 'rowspan')},{shown}{_ENDED}"

    convert_th = convert_td

    def convert_tr(self, el: Tag, text: str, parent_tags: set[str]) -> str:  # noqa: ARG002 - as the library calls it
        return text + _ROW

    def convert_caption(self, el: Tag, text: str, parent_tags: set[str]) -> str:  # noqa: ARG002 - as the library calls it
        return ""  # stands above the table

    def convert_table(self, el: Tag, text: str, parent_tags: set[str]) -> str:  # noqa: ARG002 - as the library calls it
        caption = el.find("caption")
        title = " ".join(caption.get_text().split()) if isinstance(caption, Tag) else ""
        rows = [row for row in _grid(text) if any(row)]
        wide = max((len(row) for row in rows), default=0)
        if wide < 2 or el.find("table") is not None:  # it lays out a page
            return "\n\n" + "\n\n".join([title, *(cell for row in rows for cell in row if cell)]) + "\n\n"
        lines = [_line(row, wide) for row in rows]
        return f"\n\n{title}\n\n" + "\n".join([lines[0], "|" + " --- |" * wide, *lines[1:]]) + "\n\n"


def _span(cell: Tag, name: str) -> int:
    said = str(cell.get(name) or "1").strip()
    return min(max(int(said), 1), _SPAN) if said.isascii() and said.isdigit() and len(said) < 9 else 1


def _grid(text: str) -> Iterator[list[str]]:
    """The rows of a converted table, with every cell that spans several standing in each of them."""
    above: dict[int, tuple[int, str]] = {}
    """By column, a cell of a row above that spans down to this one: for how many rows, and what it says."""
    room = _CELLS
    for row in text.split(_ROW)[:-1]:
        cells: list[str] = []
        below: dict[int, tuple[int, str]] = {}
        for found in row.split(_CELL)[1:]:
            across, down, said = found.partition(_ENDED)[0].split(",", 2)
            for _ in range(int(across) if room > 0 else 1):
                _go_on(cells, above, below)
                if int(down) > 1:
                    below[len(cells)] = (int(down) - 1, said)
                cells.append(said)
        _go_on(cells, above, below)
        room -= len(cells)
        above = below
        yield cells


def _go_on(cells: list[str], above: dict[int, tuple[int, str]], below: dict[int, tuple[int, str]]) -> None:
    """Fill in what spans down to here."""
    while len(cells) in above:
        rows, said = above[len(cells)]
        if rows > 1:
            below[len(cells)] = (rows - 1, said)
        cells.append(said)


def _line(cells: list[str], wide: int) -> str:
    shown = (cell.replace("|", "\\|") for cell in [*cells, *[""] * (wide - len(cells))])
    return "| " + " | ".join(shown) + " |"
