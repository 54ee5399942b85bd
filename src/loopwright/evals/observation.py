"""What a judge said of one thing that people labelled. Holds no text of it, only labels, lengths and who wrote what."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

MOST: Final = 20_000
"""Observations of one card."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One thing, labelled and judged."""

    id: str
    human: tuple[str | None, ...]
    """One label a rater, always in the same order of raters; None did not rate. Of pairs: `a`, `b`, `tie`."""
    verdict: str | None
    """The judge's; of pairs what both orders come to; None is missing."""
    orders: tuple[str | None, str | None] | None = None
    """Of pairs: what was preferred with `a` shown first, and with `b` shown first."""
    repeats: tuple[str | None, ...] = ()
    """What it said when it was asked the same again."""
    missing: str | None = None
    """Why there is no verdict."""
    lengths: tuple[int, ...] = ()
    """Characters of the answer; of pairs of both."""
    authors: tuple[str | None, ...] = ()
    """Models that wrote the answer; of pairs both."""
    model: str = ""
    """Which model answered to the judge's name."""
    call_ids: tuple[str, ...] = ()
    """The calls on record."""
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano: int | None = 0

    @property
    def truth(self) -> str | None:
        """What most people said; None when nobody did or the most frequent labels are equally frequent."""
        counts = Counter(label for label in self.human if label is not None).most_common(2)
        if not counts or (len(counts) == 2 and counts[0][1] == counts[1][1]):
            return None
        return counts[0][0]

    @property
    def all_verdicts(self) -> tuple[str | None, ...]:
        """Each answer that was asked for: both orders of a pair, and repeats."""
        return (*(self.orders if self.orders is not None else (self.verdict,)), *self.repeats)
