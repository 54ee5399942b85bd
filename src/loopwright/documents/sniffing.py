"""What a file is: its bytes decide, its name is a hint where bytes cannot tell."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

from loopwright.documents.decoding import looks_binary
from loopwright.documents.unreadable import Unreadable

PDF: Final = "application/pdf"
DOCX: Final = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
HTML: Final = "text/html"
MARKDOWN: Final = "text/markdown"
PLAIN: Final = "text/plain"
CSV: Final = "text/csv"
TSV: Final = "text/tab-separated-values"
JSON: Final = "application/json"
JSONL: Final = "application/jsonl"

TAKEN: Final = "PDF, DOCX, HTML, Markdown, plain text, CSV, JSON, JSONL and source code"
"""What can be read, for people."""

_ENDINGS: Final[Mapping[str, str]] = {
    ".pdf": PDF, ".docx": DOCX, ".docm": DOCX, ".dotx": DOCX, ".html": HTML, ".htm": HTML, ".xhtml": HTML,
    ".md": MARKDOWN, ".markdown": MARKDOWN, ".mdx": MARKDOWN, ".mkd": MARKDOWN,
    ".txt": PLAIN, ".text": PLAIN, ".log": PLAIN, ".rst": PLAIN, ".adoc": PLAIN, ".tex": PLAIN, ".srt": PLAIN, ".vtt": PLAIN,
    ".csv": CSV, ".tsv": TSV, ".tab": TSV, ".json": JSON, ".jsonl": JSONL, ".ndjson": JSONL,
}  # fmt: skip

_LANGUAGES: Final[Mapping[str, str]] = {
    "py": "python", "pyi": "python", "js": "javascript", "mjs": "javascript", "cjs": "javascript", "jsx": "javascript",
    "ts": "typescript", "tsx": "typescript", "java": "java", "kt": "kotlin", "scala": "scala", "c": "c", "h": "c",
    "cc": "c++", "cpp": "c++", "cxx": "c++", "hpp": "c++", "cs": "csharp", "go": "go", "rs": "rust", "rb": "ruby",
    "php": "php", "swift": "swift", "m": "objective-c", "lua": "lua", "pl": "perl", "r": "r", "jl": "julia",
    "hs": "haskell", "ex": "elixir", "exs": "elixir", "erl": "erlang", "clj": "clojure", "dart": "dart", "zig": "zig",
    "sh": "shell", "bash": "shell", "zsh": "shell", "ps1": "powershell", "sql": "sql", "css": "css", "scss": "css",
    "vue": "vue", "svelte": "svelte", "proto": "protobuf", "graphql": "graphql", "tf": "terraform", "cmake": "cmake",
    "yaml": "yaml", "yml": "yaml", "toml": "toml", "ini": "ini", "cfg": "ini", "conf": "ini", "xml": "xml",
}  # fmt: skip
"""The language that the ending of a file's name says."""

_NAMES: Final = {"dockerfile": "dockerfile", "makefile": "makefile", "cmakelists.txt": "cmake"}

# What a file begins with, what that is, and what to do with it.
_SIGNS: Final = (
    (b"\x89PNG\r\n", "a picture (PNG)", "run OCR on it first"),
    (b"\xff\xd8\xff", "a picture (JPEG)", "run OCR on it first"),
    (b"GIF8", "a picture (GIF)", "run OCR on it first"),
    (b"II*\x00", "a picture (TIFF)", "run OCR on it first"),
    (b"MM\x00*", "a picture (TIFF)", "run OCR on it first"),
    (b"\x1f\x8b", "packed (gzip)", "unpack it first"),
    (b"BZh", "packed (bzip2)", "unpack it first"),
    (b"\xfd7zXZ\x00", "packed (xz)", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", "packed (zstd)", "unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "an archive (7z)", "unpack it and send what is in it"),
    (b"Rar!\x1a\x07", "an archive (RAR)", "unpack it and send what is in it"),
    (b"{\\rtf", "an RTF document", "save it as DOCX or PDF"),
    (b"%!PS", "PostScript", "turn it into PDF first"),
    (b"\x7fELF", "a program (ELF)", "it says nothing that could be searched"),
    (b"MZ\x90\x00", "a program (Windows)", "it says nothing that could be searched"),
    (b"SQLite format 3\x00", "a database (SQLite)", "export its tables as CSV"),
    (b"PAR1", "a table (Parquet)", "export it as CSV or JSONL"),
    (b"ID3", "sound (MP3)", "write down what is said first"),
    (b"OggS", "sound or film (Ogg)", "write down what is said first"),
    (b"\x1aE\xdf\xa3", "film (Matroska)", "write down what is said first"),
)
_OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_PACKED: Final = (
    ("word/", DOCX),
    ("xl/", "a spreadsheet (XLSX): save its sheets as CSV"),
    ("ppt/", "slides (PPTX): save them as PDF"),
)
_MIMETYPES: Final[Mapping[bytes, str]] = {
    b"application/epub+zip": "a book (EPUB): unpack it and send its HTML files",
    b"application/vnd.oasis.opendocument.text": "an OpenDocument text: save it as DOCX or PDF",
    b"application/vnd.oasis.opendocument.spreadsheet": "an OpenDocument spreadsheet: save its sheets as CSV",
    b"application/vnd.oasis.opendocument.presentation": "OpenDocument slides: save them as PDF",
}
_MARKUP: Final = re.compile(
    rb"^\s*(?:<\?xml[^>]{0,200}\?>\s*)?(?:<!--.{0,2000}?-->\s*)*<(?:!doctype\s+html|(?:html|head|title|meta|body)[\s>])",
    re.IGNORECASE | re.DOTALL,
)
_FRAGMENT: Final = re.compile(rb"<(?:body|div|p|table|h[1-6]|ul|ol|article|section|span|br|a)[\s/>]", re.IGNORECASE)
_HEAD: Final = 4_096
"""Bytes that are looked at."""


def media_type(data: bytes, name: str) -> str:
    """What the file is: one of the types above, or `text/x-LANGUAGE` for source code.

    Raises:
        Unreadable: it is something that no text can be had from; says what.
    """
    if not data.strip(b"\x00 \t\r\n"):
        raise Unreadable("is empty" if not data else "is empty: there is nothing in it but blanks")
    head = data[:_HEAD]
    if b"%PDF-" in head[:1024]:
        return PDF
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _packed(data)
    _refuse_known(data)
    if looks_binary(data):
        raise Unreadable(f"is no text, and no format that is known here; {TAKEN} are read")
    return _text_type(head, name)


def said_by(name: str) -> str | None:
    """The type that the ending of the name says; None where it says none."""
    path = PurePosixPath(name.lower())
    known = _ENDINGS.get(path.suffix)
    language = _NAMES.get(path.name) or _LANGUAGES.get(path.suffix.removeprefix("."))
    return known or (f"text/x-{language}" if language else None)


def is_code(kind: str) -> bool:
    """Whether it is source code, whose lines and indentation say how it hangs together."""
    return kind.startswith("text/x-")


def _text_type(head: bytes, name: str) -> str:
    said = said_by(name)
    flat = head.replace(b"\x00", b"").removeprefix(b"\xef\xbb\xbf").removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff")
    if _MARKUP.match(flat):
        return HTML
    if said == HTML:  # a fragment has no root, but has tags
        return HTML if _FRAGMENT.search(flat) else PLAIN
    return said if said not in (None, PDF, DOCX) else PLAIN


def _refuse_known(data: bytes) -> None:
    for sign, what, advice in _SIGNS:
        if data.startswith(sign):
            raise Unreadable(f"is {what}: {advice}")
    if data[:4] == b"RIFF" and data[8:12] in (b"WEBP", b"WAVE", b"AVI "):
        kind = {b"WEBP": "a picture (WebP)", b"WAVE": "sound (WAV)", b"AVI ": "film (AVI)"}[data[8:12]]
        raise Unreadable(f"is {kind}: {'run OCR on it' if data[8:12] == b'WEBP' else 'write down what is said'} first")
    if data[4:8] == b"ftyp":
        raise Unreadable("is film, sound or a picture (MP4, HEIC): write down what it says first")
    if data[257:262] == b"ustar":
        raise Unreadable("is an archive (tar): unpack it and send what is in it")
    if data.startswith(_OLE):
        if "EncryptedPackage".encode("utf-16-le") in data:
            raise Unreadable("is an Office document locked with a password: save it without one")
        raise Unreadable("is an Office document of before 2007 (DOC, XLS, PPT): save it as DOCX or PDF")


def _packed(data: bytes) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            declared = archive.read("mimetype")[:100] if _small(archive, "mimetype") else b""
    except Exception:  # noqa: BLE001 - the library raises what it likes for bytes made to break it
        raise Unreadable("is a broken archive (ZIP), or a broken DOCX") from None
    if declared.strip() in _MIMETYPES:
        raise Unreadable(f"is {_MIMETYPES[declared.strip()]}")
    for prefix, kind in _PACKED:
        if any(name.startswith(prefix) for name in names):
            if kind == DOCX:
                return DOCX
            raise Unreadable(f"is {kind}")
    raise Unreadable("is an archive (ZIP): unpack it and send what is in it")


def _small(archive: zipfile.ZipFile, name: str) -> bool:
    return name in archive.NameToInfo and archive.NameToInfo[name].file_size < 200
