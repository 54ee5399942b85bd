"""Which words of a passage a question has too, whatever their endings: for people who look why it was found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from loopwright.retrieval.terms import LANGUAGE, Analyzer

_RUN: Final = re.compile(r"[^\W_]+(?:_[^\W_]+)*")
_MOST: Final = 500
"""Marks of a passage."""

Span = tuple[int, int]


def marks_of(text: str, queries: Iterable[str], language: str = LANGUAGE) -> list[Span]:
    """Where, in characters, words of the queries stand in `text`, in order."""
    analyzer = Analyzer(language)
    wanted = {term for query in queries for term in analyzer.terms(query)}
    found: list[Span] = []
    for run in _RUN.finditer(text):
        if wanted and not wanted.isdisjoint(analyzer.terms(run[0])):
            found.append(run.span())
            if len(found) == _MOST:
                break
    return found


def window(text: str, marks: Sequence[Span], width: int) -> Span:
    """The `width` characters of `text` with most marks, at word boundaries where there are any near."""
    if len(text) <= width:
        return 0, len(text)
    starts = [0, *(start for start, _ in marks)]
    best = max(starts, key=lambda at: (sum(at <= start < at + width for start, _ in marks), -at))
    begin = min(max(best - width // 6, 0), len(text) - width)
    if begin:
        blank = text.find(" ", begin, begin + 20)
        begin = blank + 1 if blank >= 0 else begin
    end = min(begin + width, len(text))
    blank = text.rfind(" ", max(begin, end - 20), end)
    return begin, blank if blank > 0 and end < len(text) else end
