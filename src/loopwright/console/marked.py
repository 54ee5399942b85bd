"""Texts with the words that were searched for, in pieces that a page can write."""

from __future__ import annotations

from collections.abc import Sequence

from loopwright.retrieval.marks import Span


def parts_of(text: str, marks: Sequence[Span]) -> list[tuple[str, bool]]:
    """A text in pieces, each with whether it is a word that was searched for."""
    parts, at = [], 0
    for start, end in marks:
        if start > at:
            parts.append((text[at:start], False))
        parts.append((text[start:end], True))
        at = end
    if at < len(text):
        parts.append((text[at:], False))
    return parts
