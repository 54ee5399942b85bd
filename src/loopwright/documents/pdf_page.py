"""A page of a PDF: its lines with how large they are written, without the text that nobody can see."""

from __future__ import annotations

import ctypes
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

import pypdfium2
from pypdfium2 import raw

from loopwright.documents.pdf_lines import Line

_INVISIBLE: Final = 3
"""The way of drawing text that draws nothing; over a picture it is what OCR read."""
_WHITE: Final = 250
"""Of 255: as much of each colour makes it white."""
_TINY: Final = 1.5
"""Points: smaller letters are there for no reader."""


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
            raw.FPDFPageObj_Destroy(found)  # it is ours from then on
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
