"""How offensive a text is, by a linear model of single words. Its weights are a plain table: no pickle, no framework."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Final, Self

_WORD: Final = re.compile(r"\w\w+")
_SURE: Final = 50.0
"""A margin beyond which nothing changes."""
_BIAS: Final = "# bias "


@dataclass(frozen=True, slots=True)
class Offence:
    """Words with their inverse document frequency and their weight times that."""

    words: Mapping[str, tuple[float, float]]
    bias: float

    @classmethod
    def load(cls) -> Self:
        """The one that comes along: 15,442 words, about 3 MB in memory."""
        return cls.read(files("loopwright.guardrails").joinpath("offence.tsv").read_text(encoding="utf-8"))

    @classmethod
    def read(cls, text: str) -> Self:
        """A table as the first lines of `offence.tsv` explain.

        Raises:
            ValueError: a line is not in this form.
        """
        words: dict[str, tuple[float, float]] = {}
        bias = 0.0
        for line in text.splitlines():
            if line.startswith("#"):
                bias = float(line.removeprefix(_BIAS)) if line.startswith(_BIAS) else bias
                continue
            word, frequency, weight = line.split("\t")
            words[word] = (float(frequency), float(weight))
        return cls(words, bias)

    def score(self, lowered: str) -> float:
        """0 to 1 for a text in lower case; the more, the surer. Linear in its length."""
        total = squares = 0.0
        for word, times in Counter(_WORD.findall(lowered)).items():
            known = self.words.get(word)
            if known is not None:
                squares += (times * known[0]) ** 2
                total += times * known[1]
        if not squares:
            return 0.0  # words are all there is: without a known one nothing speaks for offence
        margin = total / math.sqrt(squares) + self.bias
        return 1.0 / (1.0 + math.exp(-max(min(margin, _SURE), -_SURE)))
