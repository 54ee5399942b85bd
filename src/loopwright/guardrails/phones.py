"""Telephone numbers: as they are written internationally, in North America, with a trunk zero, or after a word for them.

A row of digits alone is none: it may be an order, an amount or a date.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from loopwright.guardrails.span import Span

_MORE: Final = r"(?:[ ]?(?:x|ext\.?|extension)[ ]?[0-9]{1,6})?"
_WORLD: Final = re.compile(
    r"(?<![A-Za-z0-9_+])(?:\+|(?<![0-9][ .-])00)(?:"
    r"1[ .-]?(?:\([0-9]{3}\)|[0-9]{3})[ .-]?[0-9]{3}[ .-]?[0-9]{4}(?![0-9])"
    r"|[2-9](?:[ ./()-]{0,2}[0-9]){7,14}(?![0-9])" + r")" + _MORE
)
_AMERICA: Final = re.compile(
    r"(?<![A-Za-z0-9_+.-])(?:1[ .-])?(?:\([2-9][0-9]{2}\)[ ]?|[1-9][0-9]{2}[.-]|[2-9][0-9]{2}[ ])"
    r"[0-9]{3}[ .-][0-9]{4}(?![0-9]|[.-][0-9])" + _MORE
)
_TRUNK: Final = re.compile(
    r"(?<![A-Za-z0-9_+.,-])(?<![0-9][ /])\(?0[1-9][0-9]{0,4}\)?(?:[ ./-]{1,2}[0-9]{2,8}){1,5}(?![A-Za-z0-9_]|[.,:-][0-9])"
)
_DATE: Final = re.compile(r"[0-3]?[0-9]([./-])[01]?[0-9]\1(?:19|20)[0-9]{2}(?![0-9])")
_AFTER_A_WORD: Final = re.compile(
    r"(?<![A-Za-z])(?:phone|telephone|tel|mobile|mob|cell|cellphone|fax|call(?:ed|ing)?|dial|whatsapp|sms|text(?:ed)?"
    r"|hotline|handy|telefon|téléphone|teléfono|telefono|telefoon)(?![A-Za-z])"
    r"(?:[^\n0-9(+]|\((?![0-9])|(?<=:)\n){0,30}+(\(?[0-9][0-9 ().-]{5,20})" + _MORE,
    re.IGNORECASE,
)


def phones(text: str) -> Iterator[Span]:
    """Every telephone number in `text`; two forms may claim the same one."""
    for pattern in (_WORLD, _AMERICA):
        for found in pattern.finditer(text):
            yield Span(found.start(), found.end(), "phone")
    for found in _TRUNK.finditer(text):
        if 9 <= _digits(found[0]) <= 12 and not _DATE.match(found[0]):
            yield Span(found.start(), found.end(), "phone")
    for found in _AFTER_A_WORD.finditer(text):
        end = found.end()
        if found.end(1) == end:
            end = found.start(1) + len(found[1].rstrip(" ().-"))
        if 7 <= _digits(found[1]) <= 14 and not text[end : end + 1].isalnum() and not _DATE.match(found[1]):
            yield Span(found.start(1), end, "phone")


def _digits(text: str) -> int:
    return sum(char.isdigit() for char in text)
