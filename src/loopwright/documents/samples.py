"""The smallest file of each format: read once before a process shuts itself in, so that nothing is left to be loaded."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import Final

_PDF: Final = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>endobj\n"
    b"4 0 obj<</Length 32>>stream\nBT /F 12 Tf 9 9 Td (one) Tj ET  \nendstream endobj\n"
    b"5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
)
_WORD: Final = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006"
_OFFICE: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
_TEXTS: Final = (
    ("a.md", b"---\na: 1\n---\n# One\n\ntwo\n"),
    ("a.html", b"<!doctype html><title>One</title><h1>Two</h1><table><tr><td>3</table><p style='color:red'>4"),
    ("a.csv", b"one,two\n1,2\n"),
    ("a.jsonl", b'{"text": "one"}\n'),
    ("a.json", b'{"one": {"two": 3}}'),
    ("a.txt", b"caf\xe9\n"),
    ("a.py", b"def one():\n    pass\n"),
)


def samples() -> Iterator[tuple[str, bytes]]:
    """Names and bytes."""
    yield "a.pdf", _PDF
    yield "a.docx", _docx()
    yield from _TEXTS


def _docx() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", f'<Types xmlns="{_PACKAGE}/content-types"/>')
        to = f'<Relationship Id="a" Type="{_OFFICE}" Target="word/document.xml"/>'
        archive.writestr("_rels/.rels", f'<Relationships xmlns="{_PACKAGE}/relationships">{to}</Relationships>')
        body = '<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>one</w:t></w:r></w:p>'
        archive.writestr("word/document.xml", f'<w:document xmlns:w="{_WORD}"><w:body>{body}</w:body></w:document>')
    return made.getvalue()
