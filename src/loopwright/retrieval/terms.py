"""The words of a text as lexical search counts them: folded, without stop words, stemmed. Pure; knows no tables.

A word is a run of letters, digits and underscores; a number keeps its points. Of an identifier (`max_retries`,
`getUser`) its parts are words, too. Scripts without spaces become pairs of characters.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import Stemmer

from loopwright.core.errors import BadRequest
from loopwright.kit.nearest import hint

LANGUAGE: Final = "english"
"""Of collections that say nothing."""
HASH_BITS: Final = 40
_SPACELESS: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # kana, Han
    "\U00020000-\U0003ffff"  # Han, extended
)
# Marks that stand on letters are none of `\w`, and words of Hindi, Hebrew and Arabic are full of them.
_MARKS: Final = "\u0300-\u036f\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0963\u0966-\u0dff"
_LETTERS: Final = rf"(?:[^\W{_SPACELESS}]|[{_MARKS}])"
_WORD: Final = re.compile(rf"[{_SPACELESS}]+|\d+(?:[.,]\d+)+(?!{_LETTERS})|{_LETTERS}+")
_POSSESSIVE: Final = re.compile(r"['\u2019]s\b", re.IGNORECASE)
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SPACELESS_FIRST: Final = re.compile(rf"[{_SPACELESS}]")
_SHORTEST: Final = 3
"""Letters of a part of an identifier."""
_LONGEST: Final = 64
"""Characters of a word that count."""

_STOP: Final[Mapping[str, str]] = {
    "english": "a an and are as at be but by for if in into is it no not of on or such that the their then there these"
    " they this to was will with",
    "german": "aber als am an auch auf aus bei bin bis das dass dem den der des die du durch ein eine einem einen einer"
    " eines er es f\u00fcr hat ich ihr im in ist ja kein mit nach nicht noch nun nur ob oder sich sie sind so \u00fcber um und"
    " von vor war was wenn wie wir wird zu zum zur",
    "french": "a au aux avec ce ces cette dans de des du d elle en est et eux il ils je l la le les leur lui m mais me"
    " n ne nous on ou o\u00f9 par pas pour qu que qui s sa se ses son sont sur t un une vous y",
    "spanish": "a al con de del el ella en entre es esta este ha la las le lo los m\u00e1s no o para pero por que se ser si"
    " sin sobre son su sus un una uno y ya",
    "italian": "a ad al alla anche che chi ci come con d da dal della del dei delle di e ed \u00e8 gli ha i il in l la le lo"
    " ma ne nel nella non o per pi\u00f9 quale se si sono su sul un una uno",
    "portuguese": "a ao aos as com como da das de do dos e \u00e9 ela ele em entre foi h\u00e1 mais mas na nas n\u00e3o no nos o os ou"
    " para pela pelo por que se ser seu sua s\u00e3o um uma",
    "dutch": "aan als bij dat de der des deze die dit door een en er het hij hoe ik in is je maar met na naar niet nog"
    " of om onder ook op over te tot uit van voor was wat we wel wordt zij zijn zo",
    "swedish": "att av de den det detta du ej eller en ett f\u00f6r fr\u00e5n har han hon i inte jag med men n\u00e4r och om p\u00e5 som"
    " sig till under var vi \u00e4r",
}  # fmt: skip
"""Where none are told, none are left out: a word of every text weighs next to nothing."""
_STOPS: Final = {language: frozenset(words.split()) for language, words in _STOP.items()}
LANGUAGES: Final = ("none", *Stemmer.algorithms())
"""Whose endings can be cut off; `none` cuts nothing."""


def check_language(name: object) -> str:
    """The language that an option names.

    Raises:
        BadRequest: it names none that is known.
    """
    if not isinstance(name, str) or name not in LANGUAGES:
        told = f"language: {str(name)[:40]!r} is none of {', '.join(LANGUAGES)}{hint(str(name)[:40], LANGUAGES)}"
        raise BadRequest(told, param="language")
    return name


@dataclass(slots=True)
class Analyzer:
    """Cuts texts of one language into terms. Not for several threads at once."""

    language: str = LANGUAGE
    secret: bytes | None = None
    """Under which terms are hashed, so that nobody without it can tell which they are."""
    _stemmer: Stemmer.Stemmer | None = field(init=False)
    _stops: frozenset[str] = field(init=False)
    _hashes: dict[str, int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._stemmer = None if self.language == "none" else Stemmer.Stemmer(self.language)
        self._stops = _STOPS.get(self.language, frozenset())

    def terms(self, text: str) -> list[str]:
        """In the order of the text, repeated as they are."""
        stops = self._stops
        words = [word for word in words_of(text) if word not in stops]
        return words if self._stemmer is None else self._stemmer.stemWords(words)

    def hashes(self, text: str) -> list[int]:
        """The same as numbers of `HASH_BITS` bits."""
        known = self._hashes
        found = []
        for term in self.terms(text):
            number = known.get(term)
            if number is None:
                number = known[term] = hash_of(term, self.secret)
            found.append(number)
        return found


def words_of(text: str) -> list[str]:
    """Words before any is left out or stemmed."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    found: list[str] = []
    for word in _WORD.findall(_POSSESSIVE.sub("", text)):
        if _SPACELESS_FIRST.match(word):
            found += [word] if len(word) == 1 else [word[at : at + 2] for at in range(len(word) - 1)]
            continue
        found.append(word.casefold()[:_LONGEST])
        parts = [part for run in word.split("_") for part in _HUMP.split(run) if part]
        # `mRNA` and `McDonald` are no identifiers.
        if len(parts) > 1 and min(map(len, parts)) >= _SHORTEST:
            found += [part.casefold()[:_LONGEST] for part in parts]
    return found


def hash_of(term: str, secret: bytes | None = None) -> int:
    """A term as a number of `HASH_BITS` bits."""
    data = term.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=HASH_BITS // 8, key=secret or b"").digest(), "big")
