"""A file into text, whatever its format. Runs in a process of its own where files come from others: see `sandboxed`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Final

from loopwright.documents import docx, hypertext, markdown, pdf, plain, records, tables
from loopwright.documents.document import Parsed
from loopwright.documents.limits import Limits
from loopwright.documents.sniffing import CSV, DOCX, HTML, JSON, JSONL, MARKDOWN, PDF, TSV, media_type, said_by
from loopwright.documents.unreadable import Unreadable

_READERS: Final[dict[str, Callable[[bytes, str, Limits], Parsed]]] = {
    PDF: pdf.read,
    DOCX: docx.read,
    HTML: hypertext.read,
    MARKDOWN: markdown.read,
    CSV: tables.read,
    TSV: tables.read,
    JSON: records.read,
    JSONL: records.read,
}


def read(data: bytes, name: str, *, limits: Limits) -> Parsed:
    """What the file says. `name` is a hint and is never opened.

    Raises:
        Unreadable: nothing can be had from it, or it is over a limit; says why and what to do.
    """
    if len(data) > limits.size:
        raise Unreadable(f"has {len(data):,} bytes, the limit is {limits.size:,}")
    kind = media_type(data, name)
    try:
        parsed = _READERS.get(kind, plain.read)(data, kind, limits)
    except Unreadable:
        raise
    except RecursionError:
        raise Unreadable("is nested too deeply") from None
    except MemoryError:
        raise Unreadable("needs more memory than it may take") from None
    except Exception as error:  # the parsers raise what they like for files made to break them
        raise Unreadable(f"is broken: its reader gave up ({type(error).__name__})") from error
    return _checked(parsed, name, limits)


def _checked(parsed: Parsed, name: str, limits: Limits) -> Parsed:
    if len(parsed.text) > limits.characters:
        raise Unreadable(f"has {len(parsed.text):,} characters of text, the limit is {limits.characters:,}")
    if not parsed.text.strip():
        raise Unreadable("has no text in it")
    warnings = list(parsed.warnings)
    said = said_by(name)
    if said is not None and said != parsed.media_type:
        warnings.insert(0, f"its name says {said}, its bytes are {parsed.media_type}")
    return Parsed(
        text=parsed.text,
        media_type=parsed.media_type,
        title=parsed.title or PurePosixPath(name).stem,
        pages=parsed.pages,
        metadata=parsed.metadata,
        warnings=warnings,
    )
