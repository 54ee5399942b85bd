"""How much a file may be, and what reading it may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Over any of these a file is refused whole: half a document would be searched as if it were all of it."""

    size: int = 50_000_000
    """Bytes of the file."""
    pages: int = 5_000
    characters: int = 20_000_000
    """Of the text that comes of it."""
    expanded: int = 250_000_000
    """Bytes of a packed file (DOCX) once it is unpacked, as its directory says, which unpacking holds it to."""
    entries: int = 5_000
    """Files in a packed one."""
    seconds: float = 120.0
    """Of CPU, and twice that on the clock; in a process of its own only."""
    memory: int = 1_500_000_000
    """Bytes above what the reading process takes when idle; in a process of its own only."""
