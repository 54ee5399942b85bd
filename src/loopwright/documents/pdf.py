"""PDF by PDFium: the text of each page, in the order it stands in the file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from typing import Any, Final

import pypdfium2
from pypdfium2 import raw

from loopwright.documents.decoding import cleaned
from loopwright.documents.document import Page, Parsed
from loopwright.documents.limits import Limits
from loopwright.documents.sniffing import PDF
from loopwright.documents.unreadable import Unreadable

_WHY: Final = {
    raw.FPDF_ERR_PASSWORD: "is locked with a password: save it without one",
    raw.FPDF_ERR_SECURITY: "is locked in a way that is not known here: save it without",
}
_HYPHEN: Final = re.compile("(?:\ufffe|\x02)\r?\n?")
"""PDFium puts this where a word was parted at the end of a line."""
_LIGATURES: Final = str.maketrans(
    {"\ufb00": "ff", "\ufb01": "fi", "\ufb02": "fl", "\ufb03": "ffi", "\ufb04": "ffl", "\ufb05": "st", "\ufb06": "st"}
)
_DATE: Final = re.compile(r"D:(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d))?")


def read(data: bytes, kind: str, limits: Limits) -> Parsed:  # noqa: ARG001 - as every reader
    """The text of it.

    Raises:
        Unreadable: locked, broken, over a limit, or pictures only.
    """
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        # PDFium keeps what was wrong with the file before, and says it of this one.
        code = (error.err_code or 0) if b"/Encrypt" in data else 0
        raise Unreadable(_WHY.get(code, "is a broken PDF: save it anew from what it was made with")) from None
    with closing(document):
        count = len(document)
        if count > limits.pages:
            raise Unreadable(f"has {count:,} pages, the limit is {limits.pages:,}: split it")
        return _read(document, count, limits)


def _read(document: pypdfium2.PdfDocument, count: int, limits: Limits) -> Parsed:
    texts: list[str] = []
    pages: list[Page] = []
    told: dict[str, None] = {}
    position, broken = 0, []
    silent = []
    for number, found in enumerate(_pages(document, count), 1):
        if found is None:
            broken.append(number)
        text, more = cleaned((found or "").translate(_LIGATURES))
        told.update(dict.fromkeys(more))
        text = "\n".join(line.rstrip() for line in text.split("\n")).strip("\n")
        if found is not None and not text.strip():
            silent.append(number)
        pages.append(Page(number=number, start=position))
        texts.append(text + "\n\n")
        position += len(text) + 2
        if position > limits.characters:
            raise Unreadable(f"has more than {limits.characters:,} characters of text, which is the limit: split it")
    if len(broken) == count:
        raise Unreadable(
            f"is a broken PDF: none of its {count:,} pages can be read" if count else "is a PDF without pages"
        )
    if len(silent) + len(broken) == count:
        raise Unreadable(f"has no text in its {count:,} {'pages' if count > 1 else 'page'}: scanned? run OCR first")
    if silent:
        told[f"no text on {_listed(silent)}: scanned? run OCR first"] = None
    if broken:
        told[f"{_listed(broken)} cannot be read"] = None
    metadata = _metadata(document)
    title = metadata.pop("title", "")
    return Parsed(text="".join(texts), media_type=PDF, title=title, pages=pages, metadata=metadata, warnings=list(told))


def _pages(document: pypdfium2.PdfDocument, count: int) -> Iterator[str | None]:
    """The text of each page; None where there is none to be had because it is broken."""
    for index in range(count):
        try:
            with closing(document[index]) as page, closing(page.get_textpage()) as text:
                yield _HYPHEN.sub("", text.get_text_bounded())
        except pypdfium2.PdfiumError:
            yield None


def _listed(numbers: list[int]) -> str:
    """`page 3`, `pages 3, 4 and 12 more`."""
    shown = ", ".join(f"{number:,}" for number in numbers[:8])
    more = f" and {len(numbers) - 8:,} more" if len(numbers) > 8 else ""
    return f"{'pages' if len(numbers) > 1 else 'page'} {shown}{more}"


def _metadata(document: pypdfium2.PdfDocument) -> dict[str, Any]:
    found: dict[str, Any] = {}
    said = document.get_metadata_dict()
    for key, name in (("Title", "title"), ("Author", "author"), ("Subject", "subject"), ("Keywords", "keywords")):
        value = " ".join(cleaned(said.get(key) or "")[0].split())[:500]
        if value:
            found[name] = value
    for key, name in (("CreationDate", "created"), ("ModDate", "modified")):
        parts = _DATE.match(said.get(key) or "")
        if parts:
            numbers = [int(part or 0) for part in parts.groups()]
            try:
                found[name] = datetime(*numbers).isoformat()  # type: ignore[arg-type] # noqa: DTZ001 - its zone is not said
            except ValueError:
                continue
    return found
