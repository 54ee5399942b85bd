"""Texts as they are meant: without what hides words from a filter. Pure; linear in the length.

Hidden are words by letters of other scripts that look alike, by accents, by characters that have no width, by tag
characters, by digits for letters, by blanks between letters, by base64, by rot13 and in comments of HTML.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import html
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

_ALIKE: Final = str.maketrans(
    "абвеёкмнорстухіјѕԁԛԝһցαβεικνορτυχ",
    "abbeekmhopctyxijsdqwhgabeikvoptux",
)
"""Letters of Cyrillic and Greek that look like Latin ones; taken for those only in words that mix scripts."""
_DIGITS: Final = str.maketrans("013457@$!|", "oieastasil")
_MIXED: Final = re.compile(
    r"(?<![^\W_])(?=[a-z]{0,24}[013457@$!|]{1,3}[a-z])(?=[a-z013457@$!|]{0,24}[a-z]{2})[a-z013457@$!|]{4,24}"
)
_SPACED: Final = re.compile(r"(?<![^\W_])(?:[^\W_][ ._*-]{1,2}){4,40}[^\W_](?![^\W_])")
_SPACE_OR_SIGN: Final = re.compile(r"[ ._*-]")
_TAGS: Final = re.compile("[\U000e0020-\U000e007e]{3,}")
_WIDTHLESS: Final = re.compile(
    "[\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\U000e0000-\U000e007f]"
)
_ENCODED: Final = re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{24,4096}={0,2}")
_UNSEEN: Final = re.compile(
    r"<[a-z][a-z0-9]{0,9}\s[^>]{0,300}?(?:display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0|opacity\s*:\s*0[^.0-9]"
    r"|\shidden[\s>=])[^>]{0,300}>?([^<]{3,4000})",
    re.IGNORECASE,
)
_ROT13: Final = re.compile(r"\b(?:vtaber|vafgehpgvba|vafgehpgvbaf|cerivbhf|qvfertneq|flfgrz cebzcg)\b", re.IGNORECASE)
_MOST_CODES: Final = 8
"""Runs of base64 that are looked into."""
_FEW: Final = 4
"""Characters without width that any text may have."""


@dataclass(frozen=True, slots=True)
class Unmasked:
    """A text, and what was done to hide what it says."""

    text: str
    """Lower case, without accents, each word in one script."""
    hidden: tuple[tuple[str, str], ...]
    """What was not to be seen, with how it was hidden; as `text` is."""
    tricks: frozenset[str]
    """`widthless`, `letters`, `digits`, `spaced`."""


def unmasked(text: str) -> Unmasked:
    """What a text says."""
    hidden = [(how, _folded(said)[0]) for how, said in _hidden(text)]
    tricks: set[str] = set()
    if not text.isascii():
        text, widthless = _WIDTHLESS.subn("", text)
        if widthless > _FEW:
            tricks.add("widthless")
    if "&" in text:
        text = html.unescape(text)
    folded, more = _folded(text)
    return Unmasked(folded, tuple(hidden), frozenset(tricks | more))


def _folded(text: str) -> tuple[str, set[str]]:
    tricks: set[str] = set()
    if not text.isascii():
        parts = unicodedata.normalize("NFKD", text)
        text = "".join(char for char in parts if not unicodedata.combining(char)).lower()
        if not text.isascii():
            alike = _one_script(text)
            if alike != text:
                tricks.add("letters")
            text = unicodedata.normalize("NFC", alike)  # Hangul in whole syllables again
    else:
        text = text.lower()
    plain = _MIXED.sub(lambda found: found[0].translate(_DIGITS), text)
    if plain != text:
        tricks.add("digits")
    joined = _SPACED.sub(lambda found: _SPACE_OR_SIGN.sub("", found[0]), plain)
    if joined != plain:
        tricks.add("spaced")
    return joined, tricks


def _one_script(text: str) -> str:
    """Words that mix Latin with letters that look like it, in Latin."""
    words = re.split(r"(\W+)", text)
    for at, word in enumerate(words):
        if not word.isascii() and any("a" <= char <= "z" for char in word):
            words[at] = word.translate(_ALIKE)
    return "".join(words)


def _hidden(text: str) -> Iterator[tuple[str, str]]:
    if not text.isascii():
        for found in _TAGS.finditer(text):
            yield "tags", "".join(chr(ord(char) - 0xE0000) for char in found[0])
    if "<" in text:
        for comment in text.split("<!--")[1:]:
            yield "comment", comment.partition("-->")[0]
        for found in _UNSEEN.finditer(text):
            yield "unseen", found[1]
    for found in islice(_ENCODED.finditer(text), _MOST_CODES):
        said = _decoded(found[0])
        if said is not None:
            yield "base64", said
    if _ROT13.search(text):
        yield "rot13", codecs.decode(text[:4_000], "rot13")


def _decoded(code: str) -> str | None:
    """The text that base64 stands for; None when it is none."""
    bare = code.rstrip("=")
    try:
        said = base64.b64decode(bare[: len(bare) // 4 * 4], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    return said if said.isprintable() or said.replace("\n", " ").isprintable() else None
