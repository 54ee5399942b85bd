"""The lines of a PDF's pages: which are headings, and which only run along the pages. Knows no PDFium."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_NUMBER: Final = re.compile(
    r"[-\u2013 ]{0,3}(?:(?:page|seite|p\.|s\.|pagina|p\u00e1gina) ?:? ?)?(\d{1,5})(?: ?(?:/|of|von|de|sur|di|van) ?\d{1,5})?[-\u2013 ]{0,3}"
)
"""What may be the number of a page, alone on its line."""
_COUNTED: Final = "\x00"
"""Before a number that counts from its page; no line of a text begins with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of a page."""

    text: str
    size: float = 0.0
    """Points from the lowest to the highest letter of its font; 0 where it cannot be told."""


def unrepeated(pages: list[list[Line]]) -> tuple[list[list[Line]], int]:
    """The pages without the heads, feet and numbers that run along most of them, but for the first time; how many lines went."""
    edges = [_edges(page) for page in pages]
    often: dict[str, int] = {}
    for number, edge in enumerate(edges):
        for said in {_form(line.text, number) for line in edge.values()}:
            often[said] = often.get(said, 0) + 1
    running = {said for said, times in often.items() if times >= 4 and times * 5 >= len(pages) * 2}
    seen: set[str] = set()
    kept: list[list[Line]] = []
    gone = 0
    for number, (page, edge) in enumerate(zip(pages, edges, strict=True)):
        away: set[int] = set()
        for at, line in edge.items():
            said = _form(line.text, number)
            if said in running and (said in seen or said.startswith(_COUNTED)):
                away.add(at)
            seen.add(said)
        gone += len(away)
        kept.append([line for at, line in enumerate(page) if at not in away])
    return kept, gone


def _edges(page: list[Line]) -> dict[int, Line]:
    """The first two and the last two lines that say something, where they stand."""
    said = [at for at, line in enumerate(page) if line.text.strip()]
    return {at: page[at] for at in (*said[:2], *said[-2:])} if len(said) > 4 else {}


def _form(text: str, page: int) -> str:
    """A line as it is compared. A number counts from the page it is on: that of a page is the same on each, an amount is not."""
    said = " ".join(text[:300].split()).casefold()
    number = _NUMBER.fullmatch(said)
    return f"{_COUNTED}{int(number[1]) - page}" if number else said


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
