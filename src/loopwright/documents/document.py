"""A document once it has been read, and the pieces it is cut into. Frozen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of a document."""

    number: int
    """From 1."""
    start: int
    """Character of the text at which it begins; it ends where the next one begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """What a file says."""

    text: str
    """All of it; headings as Markdown headings, tables as Markdown tables, without NUL and half characters."""
    media_type: str
    """What it turned out to be, whatever its name says."""
    title: str = ""
    pages: Sequence[Page] = ()
    """Empty where the format has none."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What the file says of itself: author, created, language, …."""
    warnings: Sequence[str] = ()
    """What was left out, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A passage that a document is cut into."""

    text: str
    """`Parsed.text[start:end]`, to the letter."""
    start: int
    end: int
    heading: str = ""
    """The headings above it, joined by ` > `."""
    page: int | None = None
    """Where it begins."""
