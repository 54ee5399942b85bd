"""The published procedure for factuality on pairs of which one is right: both orders, and what that shows of a judge.

Each pair is asked in both orders (Anyscale 2023, on the pairs of Falke et al. 2019). Right in both is right, wrong in
both is wrong, and whoever prefers the same place in both has order bias. A coin is right in a quarter of the pairs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from loopwright.evals.intervals import Estimate, mean_interval, wilson
from loopwright.evals.labelled import Labelled
from loopwright.evals.observation import Observation

_WORD: Final = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the procedure shows of one judge."""

    pairs: int
    right: int
    """In both orders."""
    wrong: int
    """In both orders."""
    first: int
    """Pairs of which it prefers whichever stands first."""
    second: int
    undecided: int
    """Pairs in which it calls a tie in one order or both."""
    missing: int
    """Pairs without a verdict in one order or both."""
    accuracy: Estimate
    """Right in both orders, of all pairs; a missing verdict is not right."""
    order_bias: Estimate | None
    """Pairs decided by their order, of those with a preference in both; None when there is none."""
    each: Estimate | None
    """Share of the single questions that were answered rightly, of those that were answered; by chance one half."""

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            **{
                name: getattr(self, name)
                for name in ("pairs", "right", "wrong", "first", "second", "undecided", "missing")
            },
            "accuracy": self.accuracy.shown,
            "order_bias": None if self.order_bias is None else self.order_bias.shown,
            "each": None if self.each is None else self.each.shown,
        }


def outcome(observed: Sequence[Observation]) -> Outcome:
    """What was observed of pairs, counted.

    Raises:
        BadRequest: there are none.
    """
    counts = dict.fromkeys(("right", "wrong", "first", "second", "undecided", "missing"), 0)
    shares = []
    for each in observed:
        counts[_kind(each)] += 1
        told = [label == each.truth for label in each.orders or () if label is not None]
        if told:
            shares.append(sum(told) / len(told))
    decided = counts["right"] + counts["wrong"] + counts["first"] + counts["second"]
    return Outcome(
        pairs=len(observed),
        **counts,
        accuracy=wilson(counts["right"], len(observed)),
        order_bias=wilson(counts["first"] + counts["second"], decided) if decided else None,
        each=_of_shares(shares) if shares else None,
    )


def _kind(each: Observation) -> str:
    first, second = each.orders or (None, None)
    if first is None or second is None:
        return "missing"
    if first == second and first in ("a", "b"):
        return "right" if first == each.truth else "wrong"
    if first == "a" and second == "b":
        return "first"
    return "second" if first == "b" and second == "a" else "undecided"


def by_words(things: Sequence[Labelled]) -> Estimate:
    """How often a rule without a model is right: of two sentences it takes the one more of which stands in the article.

    That is ROUGE-L precision (Lin 2004); equal ones count one half. What a judge must beat to be worth its price.
    """
    shares = []
    for thing in things:
        first, second = (kept(thing.material.input, text) for text in (thing.material.answer, thing.material.other))
        shares.append(0.5 if first == second else float((first > second) == (thing.human[0] == "a")))
    return _of_shares(shares)


def _of_shares(shares: Sequence[float]) -> Estimate:
    found = mean_interval(shares)
    return replace(found, low=max(0.0, found.low), high=min(1.0, found.high))


def kept(source: str, text: str) -> float:
    """ROUGE-L precision: the share of a text's words that stand in the source, in the same order."""
    # Not by rouge_score, which loads nltk: five seconds for ten lines
    words, there = _WORD.findall(text.lower()), _WORD.findall(source.lower())
    if not words:
        return 0.0
    row = [0] * (len(there) + 1)
    for word in words:
        last = 0
        for at, other in enumerate(there, 1):
            above = row[at]
            row[at] = last + 1 if word == other else max(above, row[at - 1])
            last = above
    return row[-1] / len(words)
