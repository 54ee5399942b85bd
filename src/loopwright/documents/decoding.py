"""Bytes into text: byte order marks, UTF-8, UTF-16 without a mark, and Windows' Latin at last."""

from __future__ import annotations

import codecs
import re
import unicodedata
from typing import Final

from loopwright.kit.byte_order import mark_of

_SAMPLE: Final = 65_536
_CONTROLS: Final = bytes(set(range(32)) - set(b"\t\n\r\x0b\x0c\x1b\x1a\x00\x08"))
_TAGS: Final = re.compile("[\U000e0000-\U000e007f]+")
_UNWANTED: Final = re.compile(
    "[\x01-\x08\x0e-\x1f\x7f\x80-\x84\x86-\x9f\ufeff\u00ad\ufdd0-\ufdef\ufffe\uffff\ud800-\udfff]+"
)
_BREAKS: Final = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")


def looks_binary(data: bytes) -> bool:
    """Whether it is no text in any encoding that is known here."""
    if mark_of(data) is not None:
        return False
    sample = data[:_SAMPLE]
    if _without_mark(sample) is not None:
        return False
    kept = sample.translate(None, _CONTROLS)
    nul = sample.count(0)
    return len(sample) - len(kept) > max(len(sample) // 50, 4) or nul > max(len(sample) // 20, 4)


def decoded(data: bytes, *, hint: str | None = None) -> tuple[str, list[str]]:
    """The text, and what there is to say about how it was read. `hint` is an encoding that the file itself names."""
    marked = mark_of(data)
    if marked is not None:
        mark, encoding = marked
        return _lenient(data[len(mark) :], encoding)
    try:
        return data.decode("utf-8"), []
    except UnicodeDecodeError:
        pass
    wide = _without_mark(data[:_SAMPLE])
    if wide is not None:
        return _lenient(data, wide)
    if hint:
        try:
            return data.decode(hint), []
        except (LookupError, ValueError):
            pass
    text = codecs.charmap_decode(data, "strict", _LATIN)[0]
    return text, ["is not UTF-8; read as Windows-1252 (Latin-1): save it as UTF-8 if letters are wrong"]


# The five bytes that Windows-1252 does not use are taken as Latin-1 has them.
_LATIN: Final = "".join(bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in range(256))


def cleaned(text: str) -> tuple[str, list[str]]:
    r"""The text without what no index can keep and nobody can see, lines ended by `\\n`, letters composed (NFC)."""
    told = []
    if nul := text.count("\x00"):
        text = text.replace("\x00", "")
        told.append(f"{nul:,} NUL characters were removed")
    if tags := sum(len(found[0]) for found in _TAGS.finditer(text)):
        text = _TAGS.sub("", text)
        told.append(f"{tags:,} invisible characters that can carry hidden text (Unicode tags) were removed")
    text = _UNWANTED.sub("", _BREAKS.sub("\n", text))
    return unicodedata.normalize("NFC", text), told


def _lenient(data: bytes, encoding: str) -> tuple[str, list[str]]:
    try:
        return data.decode(encoding), []
    except UnicodeDecodeError:
        text = data.decode(encoding, "replace")
        return text, [f"{text.count(chr(0xFFFD)):,} places are no valid {encoding.upper()} and were replaced"]


def _without_mark(sample: bytes) -> str | None:
    """UTF-16 that has no mark: every other byte of most texts is zero then."""
    if len(sample) < 4 or (len(sample) % 2 and len(sample) < _SAMPLE):
        return None
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    half = len(sample) // 2
    if odd > half * 0.4 and even < half * 0.05:
        return "utf-16-le"
    if even > half * 0.4 and odd < half * 0.05:
        return "utf-16-be"
    return None
