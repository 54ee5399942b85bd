"""Words that speak for a category of moderation. Written down, not learnt: each can be read, and taken out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Final, Self

_LINE: Final = re.compile(r"(?P<category>[a-z-]+) (?P<weight>0\.[0-9]+): (?P<terms>.+)")
_ENDINGS: Final = ("", "s", "ed", "d", "ing", "er", "ers")
_LONGEST: Final = 3
"""Words of a phrase."""
_CALM: Final = 150
"""Words of a text at which what is found in it counts half: long texts hold every word once."""


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Terms with what they count, by category."""

    terms: Mapping[str, tuple[tuple[str, float], ...]]

    @classmethod
    def load(cls) -> Self:
        """The one that comes along."""
        text = files("loopwright.guardrails").joinpath("lexicon.txt").read_text(encoding="utf-8")
        return cls.read(text)

    @classmethod
    def read(cls, text: str) -> Self:
        """A lexicon in the form that the first lines of `lexicon.txt` explain.

        Raises:
            ValueError: a line is not in this form.
        """
        terms: dict[str, dict[str, float]] = {}
        for number, line in enumerate(text.splitlines(), 1):
            if not line or line.startswith("#"):
                continue
            found = _LINE.fullmatch(line)
            if found is None:
                raise ValueError(f"line {number} of the lexicon is not `category weight: term, term`")
            for term in found["terms"].split(", "):
                for whole in _with_endings(term):
                    known = terms.setdefault(whole, {})
                    known[found["category"]] = max(float(found["weight"]), known.get(found["category"], 0.0))
        return cls({term: tuple(known.items()) for term, known in terms.items()})

    def scores(self, words: list[str]) -> dict[str, float]:
        """How much the words of a text, in lower case, speak for each category: 0 to 1. Linear in their number."""
        seen: set[str] = set()
        missing: dict[str, float] = {}
        terms = self.terms
        for at, word in enumerate(words):
            phrase = word
            for length in range(1, _LONGEST + 1):
                found = terms.get(phrase)
                if found is not None and phrase not in seen:
                    seen.add(phrase)
                    for category, weight in found:
                        missing[category] = missing.get(category, 1.0) * (1.0 - weight)
                if at + length >= len(words):
                    break
                phrase = f"{phrase} {words[at + length]}"
        weakened = 1.0 / (1.0 + max(len(words) - _CALM, 0) / _CALM)
        return {category: 1.0 - left**weakened for category, left in missing.items()}


def _with_endings(term: str) -> list[str]:
    if not term.endswith("*"):
        return [term]
    stem = term[:-1]
    return [stem + ending for ending in _ENDINGS]
