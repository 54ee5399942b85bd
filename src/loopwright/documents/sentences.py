"""Where sentences begin, in most languages that end them with a sign. Rules only: no model, no list of a language."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

# An end: a full stop with what closes after it and blanks, or the full stop of a script that puts no blanks.
_END: Final = re.compile(
    r"[.!?\u2026\u061f\u0964]{1,8}[\"'\u201d\u2019\u00bb)\]]{0,4}(?=\s)"  # … ؟ । and closing quotes
    r"|[\u3002\uff01\uff1f]{1,8}[\u300d\u300f\u201d\u2019\uff09]{0,4}"  # the wide . ! ? of Chinese and Japanese
    r"|\n[ \t]{0,64}\n"
    r"|\n(?=[ \t]{0,64}(?:[-*+\u2022]|\d{1,4}[.)])[ \t])"  # lists
)
_SHORT: Final = frozenset(
    [
        "mr",
        "mrs",
        "ms",
        "dr",
        "prof",
        "sr",
        "jr",
        "st",
        "vs",
        "no",
        "nos",
        "fig",
        "figs",
        "eq",
        "eqs",
        "sec",
        "ch",
        "vol",
        "pp",
        "p",
        "ed",
        "eds",
        "al",
        "e.g",
        "i.e",
        "etc",
        "cf",
        "approx",
        "dept",
        "est",
        "inc",
        "ltd",
        "co",
        "corp",
        "gen",
        "col",
        "sgt",
        "rev",
        "hon",
        "u.s",
        "u.k",
        "a.m",
        "p.m",
        "ca",
        "bzw",
        "usw",
        "ggf",
        "vgl",
        "nr",
        "abb",
        "evtl",
        "inkl",
        "zzgl",
        "str",
        "tel",
        "m",
        "mme",
        "mlle",
        "art",
    ]
)
"""What ends with a full stop that ends no sentence."""
_NOT_FIRST: Final = re.compile(r"[a-zà-öø-ÿ,;:)]")


def sentence_starts(text: str) -> Iterator[int]:
    """Where the sentences of the text begin; the first is 0. Blanks stand at the end of a sentence."""
    yield 0
    begins = 0
    for found in _END.finditer(text):
        if found.end() < begins:
            continue  # within blanks that were seen already
        begins = found.end()
        while begins < len(text) and text[begins].isspace():
            begins += 1
        if begins < len(text) and not _goes_on(text, found, begins):
            yield begins


def _goes_on(text: str, end: re.Match[str], begins: int) -> bool:
    """Whether the sentence goes on behind the sign that could have ended it."""
    if not end[0].startswith(".") or text[end.start() - 1 : end.start()].isspace():
        return False  # where words and signs are parted by blanks, letters are often made small too
    if _NOT_FIRST.match(text, begins):
        return True
    word = re.split(r"[\s(\[\"'“]", text[max(end.start() - 12, 0) : end.start()])[-1]
    return word.lower() in _SHORT or (len(word) == 1 and word.isalpha() and word.isupper())
