"""Where sentences end in English and languages alike: a few rules, no model, linear in time.

The rules are those of Punkt (Kiss and Strunk 2006) with a list of abbreviations in place of a trained one: a sentence
ends at `.`, `?` or `!` (with closing quotes and brackets) before white space, unless the full stop is an abbreviation's,
an initial's or an ellipsis' and what follows does not begin a sentence. They count as public metrics count;
`documents/sentences.py` cuts documents, in more languages, and need not.
"""

from __future__ import annotations

import re
from typing import Final

_END: Final = re.compile(r"(?<![.?!])(?P<stop>[.?!]++)(?P<closed>[\"'\u2019\u201d)\]}*_]{0,8}+)(?=\s)")
_WORD_BEFORE: Final = re.compile(r"[^\s\"'\u2018\u201c(\[{*_]*\Z")
_ABBREVIATIONS: Final = frozenset(
    [
        "mr",
        "mrs",
        "ms",
        "dr",
        "prof",
        "st",
        "jr",
        "sr",
        "vs",
        "etc",
        "inc",
        "ltd",
        "co",
        "corp",
        "gen",
        "col",
        "sgt",
        "capt",
        "lt",
        "gov",
        "sen",
        "rep",
        "rev",
        "hon",
        "adm",
        "maj",
        "mt",
        "ft",
        "no",
        "nos",
        "vol",
        "al",
        "ed",
        "eds",
        "fig",
        "figs",
        "pp",
        "approx",
        "dept",
        "est",
        "jan",
        "feb",
        "mar",
        "apr",
        "jun",
        "jul",
        "aug",
        "sep",
        "sept",
        "oct",
        "nov",
        "dec",
        "mon",
        "tue",
        "tues",
        "wed",
        "thu",
        "thur",
        "thurs",
        "fri",
        "sat",
        "sun",
        "i.e",
        "e.g",
        "a.m",
        "p.m",
        "u.s",
        "u.k",
        "u.n",
        "u.s.a",
        "d.c",
        "ph.d",
        "b.a",
        "m.a",
        "b.s",
        "m.s",
        "b.c",
        "a.d",
        "n.y",
        "l.a",
        "j.r",
        "cf",
        "ca",
        "bros",
        "messrs",
        "mme",
        "mlle",
        "cmdr",
        "ave",
        "blvd",
        "rd",
    ]
)
_OPENING: Final = "\"'\u2018\u201c([{*_<#-"
_INITIAL: Final = re.compile(r"[A-Za-z]\Z")
_NUMERAL: Final = re.compile(r"[0-9]{1,3}\Z")
_APART: Final = re.compile(r"--|\.{3}|[,:](?!\d)|[\s\[\](){}<>;@#$%&?!\"\u201c\u201d\u00ab\u00bb]")
_CONTRACTED: Final = re.compile(r"(?:n't|'(?:s|m|d|ll|re|ve))\Z", re.IGNORECASE)


def sentences(text: str) -> list[str]:
    """The sentences of a text, without white space around; text without an end at its end is one too."""
    found = []
    begun = 0
    for end in _END.finditer(text):
        if end.end() > begun and _ends(text, begun, end):
            found.append(text[begun : end.end()].strip())
            begun = end.end()
    found.append(text[begun:].strip())
    return [each for each in found if each]


def _ends(text: str, begun: int, end: re.Match[str]) -> bool:
    stop = end["stop"]
    if stop[-1] in "?!":
        return True
    following = text[end.end() : end.end() + 200].lstrip().lstrip(_OPENING)
    opens = following[:1]
    if len(stop) > 1:  # an ellipsis ends a sentence where another begins
        return opens.isupper() or not following
    before = _WORD_BEFORE.search(text, max(begun, end.start() - 60), end.start())
    word = before[0] if before is not None else ""
    if word.casefold() in _ABBREVIATIONS:
        return False
    if _INITIAL.fullmatch(word) and word not in ("I", "a"):  # J. Smith
        return not (opens.isupper() and word.isupper()) and not opens.islower()
    if _NUMERAL.fullmatch(word):  # "1. First" is the item's number, "in 7. Then" is an end
        line = text[max(text.rfind("\n", begun, end.start()) + 1, end.start() - 60) : end.start()].strip(" \t*_#-")
        return line != word and not opens.islower()
    return not opens.islower() or "." not in word


def words_apart(text: str) -> list[str]:
    """Words as the Penn Treebank parts them: punctuation away, hyphens kept, `DON'T` as `DO` and `N'T`."""
    found = []
    for word in _APART.split(text):
        if not word:
            continue
        end = _CONTRACTED.search(word) if "'" in word else None
        if end is not None and end.start():
            found += [word[: end.start()], end[0]]
        else:
            found.append(word)
    return found
