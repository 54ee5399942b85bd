"""A page of a PDF: its lines with how large they are written, without the text that nobody can see."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

import pypdfium2
from pypdfium2 import raw

_INVISIBLE: Final = 3
"""The way of drawing text that draws nothing; over a picture it is what OCR read."""
_WHITE: Final = 250
"""Of 255: as much of each colour makes it white."""
_TINY: Final = 1.5
"""Points: smaller letters are there for no reader."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of a page."""

    text: str
    size: float = 0.0
    """Points from the lowest to the highest letter of its font; 0 where it cannot be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What can be seen on a page."""

    lines: list[Line]
    hidden: int
    """Characters that cannot be seen, and were left out."""


def page_seen(page: pypdfium2.PdfPage) -> Seen:
    """What can be seen on the page. Takes what cannot out of it."""
    hidden = 0
    unseen = _unseen(page.raw)
    if unseen:
        with closing(page.get_textpage()) as text:
            hidden = len("".join(text.get_text_bounded().split()))
        for found in unseen:
            raw.FPDFPage_RemoveObject(page.raw, found)
    with closing(page.get_textpage()) as text:
        said = text.get_text_bounded()
        lines = _lines(text, said)
    return Seen(lines=lines, hidden=hidden - len("".join(said.split())) if unseen else 0)


def _lines(text: pypdfium2.PdfTextPage, said: str) -> list[Line]:
    lines = said.split("\r\n")
    # Only where text and characters run side by side, which is nearly everywhere, can it be told which is how large.
    if len(said) != text.count_chars() or said != text.get_text_range():
        return [Line(text=line) for line in lines]
    box, at, found = raw.FS_RECTF(), 0, []
    for line in lines:
        first = at + len(line) - len(line.lstrip())
        measured = raw.FPDFText_GetLooseCharBox(text.raw, first, ctypes.byref(box)) if line.strip() else False
        found.append(Line(text=line, size=abs(box.top - box.bottom) if measured else 0.0))
        at += len(line) + 2
    return found


def _unseen(page: Any) -> list[Any]:
    """The objects of the page that are text and cannot be seen."""
    faint: list[tuple[Any, bool]] = []
    grounds: list[Any] = []
    pictured = False
    for number in range(raw.FPDFPage_CountObjects(page)):
        found = raw.FPDFPage_GetObject(page, number)
        kind = raw.FPDFPageObj_GetType(found)
        if kind != raw.FPDF_PAGEOBJ_TEXT:
            pictured = pictured or kind == raw.FPDF_PAGEOBJ_IMAGE
            grounds.append(found)
        elif raw.FPDFTextObj_GetTextRenderMode(found) == _INVISIBLE:
            faint.append((found, True))
        elif _white(found) or _tiny(found):
            faint.append((found, False))
    dark = [bounds for ground in grounds if (bounds := _dark(ground)) is not None] if faint else []
    return [found for found, invisible in faint if _hidden(found, dark, invisible=invisible, pictured=pictured)]


def _hidden(found: Any, dark: list[tuple[float, ...]], *, invisible: bool, pictured: bool) -> bool:
    if invisible:
        return not pictured
    if _tiny(found):
        return True
    bounds = _bounds(found)
    if bounds is None:
        return False
    x, y = (bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2
    return not any(left <= x <= right and bottom <= y <= top for left, bottom, right, top in dark)


def _white(found: Any) -> bool:
    colour = [ctypes.c_uint() for _ in range(4)]
    if not raw.FPDFPageObj_GetFillColor(found, *(ctypes.byref(part) for part in colour)):
        return False
    return colour[3].value == 0 or all(part.value >= _WHITE for part in colour[:3])


def _tiny(found: Any) -> bool:
    size = ctypes.c_float()
    if not raw.FPDFTextObj_GetFontSize(found, ctypes.byref(size)) or size.value >= _TINY:
        return False
    matrix = raw.FS_MATRIX()  # many programs write with a size of 1 and a matrix that enlarges it
    raw.FPDFPageObj_GetMatrix(found, ctypes.byref(matrix))
    return bool(abs(size.value) * max(abs(matrix.c), abs(matrix.d)) < _TINY)


def _dark(ground: Any) -> tuple[float, ...] | None:
    """Where something lies that white text can be seen on."""
    if raw.FPDFPageObj_GetType(ground) == raw.FPDF_PAGEOBJ_PATH:
        way, stroke = ctypes.c_int(), ctypes.c_int()
        raw.FPDFPath_GetDrawMode(ground, ctypes.byref(way), ctypes.byref(stroke))
        if way.value == raw.FPDF_FILLMODE_NONE or _white(ground):
            return None
    return _bounds(ground)


def _bounds(found: Any) -> tuple[float, ...] | None:
    """Left, bottom, right, top."""
    edges = [ctypes.c_float() for _ in range(4)]
    if not raw.FPDFPageObj_GetBounds(found, *(ctypes.byref(edge) for edge in edges)):
        return None
    return tuple(edge.value for edge in edges)


def marked(pages: list[list[Line]]) -> Iterator[str]:
    """The text of each page, with lines that are written larger than most as headings."""
    weights: dict[float, int] = {}
    for line in (line for page in pages for line in page if line.size):
        weights[round(line.size, 1)] = weights.get(round(line.size, 1), 0) + len(line.text)
    body = max(weights, key=lambda size: weights[size], default=0.0)
    large = [line for page in pages for line in page if _stands_out(line, body)]
    total = sum(bool(line.text.strip()) for page in pages for line in page)
    sizes = sorted({round(line.size) for line in large}, reverse=True)
    if not body or len(pages) < 2 or len(large) * 5 > total:
        sizes = []  # a letter, an invoice, slides: large is no heading there
    for page in pages:
        yield "\n".join(_marked(page, body, sizes))


def _stands_out(line: Line, body: float) -> bool:
    text = line.text.strip(" #")
    return (
        line.size >= body * 1.15
        and 3 <= len(text) <= 120
        and sum(sign.isalpha() for sign in text) * 2 >= len(text)
        and text[-1] not in ".,;"
    )


def _marked(page: list[Line], body: float, sizes: list[int]) -> list[str]:
    made: list[str] = []
    before = 0
    for line in page:
        size = round(line.size)
        if size not in sizes or not _stands_out(line, body):
            said = f"\\{line.text.lstrip()}" if line.text.lstrip().startswith("#") else line.text  # it is no heading
            made += [*([""] if before else []), said]
            before = 0
        elif size == before and len(made[-1]) < 120:  # a heading that goes on
            made[-1] += f" {line.text.strip()}"
        else:
            made += ["", f"{'#' * min(sizes.index(size) + 1, 4)} {line.text.lstrip(' #').strip()}"]
            before = size
    return made
