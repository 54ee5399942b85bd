"""Files of every kind, made byte by byte: what tests read."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
_PADDING = bytes.fromhex("28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a")


def pdf(pages: Sequence[str], *, info: Mapping[str, str] | None = None, password: str | None = None) -> bytes:
    """A PDF with these pages, a line of text each; `password` locks it, an empty one locks it with the key in the lock.

    A page that begins with `BT` is taken for the operators themselves.
    """
    objects: dict[int, bytes] = {
        1: b"<</Type/Catalog/Pages 2 0 R>>",
        3: b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    }
    kids = [10 + 2 * number for number in range(len(pages))]
    shown = " ".join(f"{kid} 0 R" for kid in kids)
    objects[2] = f"<</Type/Pages/Kids[{shown}]/Count {len(pages)}>>".encode()
    lock = None if password is None else _Lock(password)
    for kid, page in zip(kids, pages, strict=True):
        drawn = (page if page.startswith("BT") else _lines(page)).encode("latin-1")
        stream = lock.locked(drawn, kid + 1) if lock else drawn
        head = b"/Parent 2 0 R/MediaBox[0 0 600 800]/Resources<</Font<</F 3 0 R>>>>"
        objects[kid] = b"<</Type/Page" + head + b"/Contents %d 0 R>>" % (kid + 1)
        objects[kid + 1] = b"<</Length %d>>stream\n%b\nendstream" % (len(stream), stream)
    trailer = b"/Root 1 0 R"
    if info:
        objects[4] = (
            b"<<"
            + b"".join(b"/%b(%b)" % (key.encode(), value.encode("latin-1")) for key, value in info.items())
            + b">>"
        )
        trailer += b"/Info 4 0 R"
    if lock:
        objects[5] = lock.described()
        trailer += b"/Encrypt 5 0 R/ID[<00><00>]"
    return _written(objects, trailer)


def filled(label: str, value: str) -> bytes:
    """A PDF of a page with this label, and a form's field filled with this value."""
    drawn = _lines(label).encode()
    fonts = b"<</Font<</F 3 0 R>>>>"
    objects = {
        1: b"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[6 0 R]/DR" + fonts + b"/DA(/F 12 Tf 0 g)>>>>",
        2: b"<</Type/Pages/Kids[10 0 R]/Count 1>>",
        3: b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        6: b"<</Type/Annot/Subtype/Widget/FT/Tx/T(f)/V(%b)/Rect[40 600 300 620]/P 10 0 R/F 4/DA(/F 12 Tf 0 g)>>"
        % value.encode(),
        10: b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Annots[6 0 R]/Contents 11 0 R/Resources" + fonts + b">>",
        11: b"<</Length %d>>stream\n%b\nendstream" % (len(drawn), drawn),
    }
    return _written(objects, b"/Root 1 0 R")


def _lines(page: str) -> str:
    lines = " ".join(f"({line}) Tj T*" for line in page.replace("(", "[").replace(")", "]").split("\n"))
    return f"BT /F 12 Tf 14 TL 40 700 Td {lines} ET"


def _written(objects: Mapping[int, bytes], trailer: bytes) -> bytes:
    made, places = bytearray(b"%PDF-1.4\n"), {}
    for number, body in sorted(objects.items()):
        places[number] = len(made)
        made += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    start, last = len(made), max(objects) + 1
    made += b"xref\n0 %d\n0000000000 65535 f \n" % last
    made += b"".join(b"%010d 00000 %c \n" % (places.get(n, 0), b"n" if n in places else b"f") for n in range(1, last))
    return bytes(made + b"trailer\n<</Size %d%b>>\nstartxref\n%d\n%%%%EOF\n" % (last, trailer, start))


class _Lock:
    """PDF's oldest encryption: RC4 with 40 bits."""

    def __init__(self, password: str) -> None:
        padded = (password.encode() + _PADDING)[:32]
        self._owner = _rc4(hashlib.md5((b"owner" + _PADDING)[:32]).digest()[:5], padded)
        self._key = hashlib.md5(padded + self._owner + b"\xfc\xff\xff\xff" + b"\x00").digest()[:5]

    def described(self) -> bytes:
        user = _rc4(self._key, _PADDING)
        return b"<</Filter/Standard/V 1/R 2/P -4/O<%b>/U<%b>>>" % (self._owner.hex().encode(), user.hex().encode())

    def locked(self, stream: bytes, number: int) -> bytes:
        return _rc4(hashlib.md5(self._key + number.to_bytes(3, "little") + b"\x00\x00").digest()[:10], stream)


def _rc4(key: bytes, data: bytes) -> bytes:
    box, j = list(range(256)), 0
    for i in range(256):
        j = (j + box[i] + key[i % len(key)]) % 256
        box[i], box[j] = box[j], box[i]
    made, i, j = bytearray(), 0, 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + box[i]) % 256
        box[i], box[j] = box[j], box[i]
        made.append(byte ^ box[(box[i] + box[j]) % 256])
    return bytes(made)


def zipped(files: Mapping[str, str | bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


def docx(body: str, *, core: str = "", more: Mapping[str, str | bytes] | None = None) -> bytes:
    """A DOCX with this body of WordprocessingML."""
    to = f'<Relationship Id="a" Type="{_OFFICE}" Target="word/document.xml"/>'
    names = "".join(
        f'<w:style w:type="paragraph" w:styleId="H{n}"><w:name w:val="heading {n}"/></w:style>' for n in range(1, 7)
    )
    files: dict[str, str | bytes] = {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types"/>',
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">{to}</Relationships>',
        "word/document.xml": f'<w:document xmlns:w="{WORD}"><w:body>{body}</w:body></w:document>',
        "word/styles.xml": f'<w:styles xmlns:w="{WORD}">{names}</w:styles>',
    }
    if core:
        files["docProps/core.xml"] = (
            f'<p:coreProperties xmlns:p="{_PACKAGE}/metadata/core-properties" xmlns:dc="http://purl.org/dc/elements/1.1/">'
            f"{core}</p:coreProperties>"
        )
    return zipped({**files, **(more or {})})


def paragraph(text: str, *, style: str = "", look: str = "") -> str:
    """A paragraph of WordprocessingML; `style` H1 to H6 is a heading, `look` stands in the run's properties."""
    named = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    looks = f"<w:rPr>{look}</w:rPr>" if look else ""
    return f'<w:p>{named}<w:r>{looks}<w:t xml:space="preserve">{text}</w:t></w:r></w:p>'


def table(*rows: Sequence[str]) -> str:
    """A table of WordprocessingML."""
    made = ("".join(f"<w:tc>{paragraph(cell)}</w:tc>" for cell in row) for row in rows)
    return "<w:tbl>" + "".join(f"<w:tr>{cells}</w:tr>" for cells in made) + "</w:tbl>"
