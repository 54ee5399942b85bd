"""PDF by PDFium: the text of each page, in the order it stands in the file."""

from __future__ import annotations

import re
from contextlib import closing
from datetime import datetime
from typing import Any, Final

import pypdfium2
from pypdfium2 import raw

from loopwright.documents.decoding import cleaned
from loopwright.documents.document import Page, Parsed
from loopwright.documents.limits import Limits
from loopwright.documents.pdf_lines import marked, unrepeated
from loopwright.documents.pdf_page import Seen, page_seen
from loopwright.documents.sniffing import PDF
from loopwright.documents.structure import headings
from loopwright.documents.unreadable import Unreadable

_WHY: Final = {
    raw.FPDF_ERR_PASSWORD: "is locked with a password: save it without one",
    raw.FPDF_ERR_SECURITY: "is locked in a way that is not known here: save it without",
}
_HYPHEN: Final = re.compile("[\ufffe\x02]\n?")
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
    seen, broken, told = _seen(document, count, limits)
    texts: list[str] = []
    pages: list[Page] = []
    position = 0
    lines, gone = unrepeated([page.lines for page in seen])
    if gone:
        told.append(
            f"{gone:,} lines that run along the pages (heads, feet, numbers) were left out but for the first time"
        )
    for number, shown in enumerate(marked(lines), 1):
        text, more = cleaned(_HYPHEN.sub("", shown).translate(_LIGATURES))
        told += [each for each in more if each not in told]
        text = "\n".join(line.rstrip() for line in text.split("\n")).strip("\n")
        pages.append(Page(number=number, start=position))
        texts.append(text + "\n\n")
        position += len(text) + 2
    silent = [
        page.number for page, text in zip(pages, texts, strict=True) if not text.strip() and page.number not in broken
    ]
    if len(broken) == count:
        raise Unreadable(
            f"is a broken PDF: none of its {count:,} pages can be read" if count else "is a PDF without pages"
        )
    if len(silent) + len(broken) == count:
        raise Unreadable(f"has no text in its {count:,} {'pages' if count > 1 else 'page'}: scanned? run OCR first")
    if silent:
        told.append(f"no text on {_listed(silent)}: scanned? run OCR first")
    if broken:
        told.append(f"{_listed(broken)} cannot be read")
    metadata = _metadata(document)
    said = "".join(texts)
    title = metadata.pop("title", "") or next((heading.text for heading in headings(said)), "")
    return Parsed(text=said, media_type=PDF, title=title, pages=pages, metadata=metadata, warnings=told)


def _seen(document: pypdfium2.PdfDocument, count: int, limits: Limits) -> tuple[list[Seen], list[int], list[str]]:
    """What can be seen on each page, which pages are broken, and what there is to say about it."""
    seen: list[Seen] = []
    broken: list[int] = []
    form = document.get_formtype() != raw.FORMTYPE_NONE
    if form:
        document.init_forms()
    total = 0
    for number in range(1, count + 1):
        try:
            if form:  # what was filled in becomes text of the page
                with closing(document[number - 1]) as page:
                    page.flatten()
            with closing(document[number - 1]) as page:
                seen.append(page_seen(page))
        except pypdfium2.PdfiumError:
            broken.append(number)
            seen.append(Seen(lines=[], hidden=0))
        total += sum(len(line.text) + 1 for line in seen[-1].lines)
        if total > limits.characters:
            raise Unreadable(f"has more than {limits.characters:,} characters of text, which is the limit: split it")
    hiding = [number for number, page in enumerate(seen, 1) if page.hidden]
    hidden = sum(page.hidden for page in seen)
    told = [f"{hidden:,} characters that cannot be seen were left out on {_listed(hiding)}"] if hiding else []
    attached = document.count_attachments()
    if attached:
        told.append(f"{attached:,} attached {'files were' if attached > 1 else 'file was'} left out")
    return seen, broken, told


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
