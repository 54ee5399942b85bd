"""DOCX by mammoth: headings, lists, tables and footnotes as Markdown. The package is checked before anything is unpacked."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import Any, Final

import mammoth
from bs4 import BeautifulSoup
from lxml import etree

from loopwright.documents.decoding import cleaned
from loopwright.documents.document import Parsed
from loopwright.documents.limits import Limits
from loopwright.documents.marking import markdown_of
from loopwright.documents.sniffing import DOCX
from loopwright.documents.unreadable import Unreadable

_WORD: Final = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_STYLES: Final = "p[style-name='Title'] => h1:fresh"
_CORE: Final = {"title": "title", "creator": "author", "subject": "subject", "keywords": "keywords", "language": "language",
                "created": "created", "modified": "modified"}  # fmt: skip
_BESIDE: Final = ("word/header", "word/footer", "docProps/", "[Content_Types]")
"""What such parts say is not read; the main part may have any name."""
_TINY: Final = 4
"""Half points: text of two points or less is there for no reader."""


def read(data: bytes, kind: str, limits: Limits) -> Parsed:  # noqa: ARG001 - as every reader
    """The text of it.

    Raises:
        Unreadable: locked, broken, or it would unpack to more than it may.
    """
    try:
        parts, pictures = _parts(data, limits)
    except zipfile.BadZipFile:
        raise Unreadable("is a broken DOCX: its package cannot be unpacked") from None
    told: list[str] = []
    for name in [name for name in parts if name.endswith(".xml") and not name.startswith(_BESIDE)]:
        parts[name] = _seen(parts[name], told)
    html = mammoth.convert_to_html(
        io.BytesIO(_packed(parts)),
        convert_image=mammoth.images.img_element(lambda _: {}),  # what a picture says instead, not the picture
        include_embedded_style_map=False,
        style_map=_STYLES,
    ).value
    text, more = cleaned(markdown_of(BeautifulSoup(html, "lxml")))
    if any(name.startswith(("word/header", "word/footer")) and b"<w:t" in part for name, part in parts.items()):
        told.append("headers and footers were left out")
    if pictures:
        told.append(f"{pictures:,} {'pictures were' if pictures > 1 else 'picture was'} left out")
    metadata = _metadata(parts.get("docProps/core.xml", b""))
    return Parsed(
        text=text, media_type=DOCX, title=metadata.pop("title", ""), metadata=metadata, warnings=[*told, *more]
    )


def _parts(data: bytes, limits: Limits) -> tuple[dict[str, bytes], int]:
    """The XML of the package, and how many pictures it carries; nothing is unpacked that could be too much."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        if len(entries) > limits.entries:
            raise Unreadable(f"packs {len(entries):,} files, the limit is {limits.entries:,}")
        total = sum(entry.file_size for entry in entries)
        if total > limits.expanded:
            raise Unreadable(f"would unpack to {total:,} bytes, the limit is {limits.expanded:,}")
        if any(entry.flag_bits & 1 for entry in entries):
            raise Unreadable("is locked with a password: save it without one")
        pictures = sum(entry.filename.startswith("word/media/") for entry in entries)
        wanted = [entry for entry in entries if entry.filename.endswith((".xml", ".rels"))]
        # Reading stops at the size that the directory says, which is bounded above, whatever is packed.
        parts = {entry.filename: archive.read(entry) for entry in wanted}
    for name, part in parts.items():
        # Office writes no document types; with one come entities, of files and of a billion laughs.
        if b"<!DOCTYPE" in part.replace(b"\x00", b"") or b"<!ENTITY" in part.replace(b"\x00", b""):
            raise Unreadable(f"declares entities in {name[:80]!r}, as no Office does: save it anew")
    return parts, pictures


def _packed(parts: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        for name, part in parts.items():
            archive.writestr(zipfile.ZipInfo(name), part)
    return made.getvalue()


def _tree(part: bytes) -> etree._Element:
    return etree.fromstring(part, etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False))


def _seen(part: bytes, told: list[str]) -> bytes:
    """The part without runs that are marked as hidden."""
    try:
        root = _tree(part)
    except etree.XMLSyntaxError:
        raise Unreadable("is a broken DOCX: its XML is not well-formed") from None
    hidden = faint = 0
    for run in list(root.iter(f"{_WORD}r")):
        look = run.find(f"{_WORD}rPr")
        if look is None:
            continue
        length = sum(len(text.text or "") for text in run.iter(f"{_WORD}t"))
        if _on(look.find(f"{_WORD}vanish")) or _on(look.find(f"{_WORD}webHidden")):
            hidden += length
            run.getparent().remove(run)
        elif _faint(look):
            faint += length
    if hidden:
        told.append(f"{hidden:,} characters that are marked as hidden were left out")
    if faint:
        told.append(f"{faint:,} characters are white or tiny: see that nobody hid them there for a model to read")
    return etree.tostring(root, encoding="utf-8", xml_declaration=True) if hidden else part


def _value(mark: etree._Element | None) -> str:
    return "" if mark is None else str(mark.get(f"{_WORD}val") or "")


def _on(mark: etree._Element | None) -> bool:
    return mark is not None and _value(mark).lower() not in ("0", "false", "off", "none")


def _faint(look: etree._Element) -> bool:
    size = _value(look.find(f"{_WORD}sz"))
    white = _value(look.find(f"{_WORD}color")).upper() == "FFFFFF"
    shaded = look.find(f"{_WORD}shd") is not None or look.find(f"{_WORD}highlight") is not None
    return (white and not shaded) or (size.isdigit() and int(size) <= _TINY)


def _metadata(part: bytes) -> dict[str, Any]:
    """What the document says of itself."""
    return dict(_said(part)) if part else {}


def _said(part: bytes) -> Iterator[tuple[str, str]]:
    try:
        root = _tree(part)
    except etree.XMLSyntaxError:
        return
    for child in root:
        name = etree.QName(child).localname if isinstance(child.tag, str) else ""
        value = " ".join(cleaned(child.text or "")[0].split())[:500]
        if name in _CORE and value:
            yield _CORE[name], value
