"""The published procedure for factuality on pairs of which one is right: both orders, and what that shows of a judge.

Each pair is asked in both orders (Anyscale 2023, on the pairs of Falke et al. 2019). Right in both is right, wrong in
both is wrong, and whoever prefers the same place in both has order bias. A coin is right in a quarter of the pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rouge_score import rouge_scorer

from loopwright.evals.intervals import Estimate, mean_interval, wilson
from loopwright.evals.labelled import Labelled
from loopwright.evals.observation import Observation


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
        each=mean_interval(shares) if shares else None,
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
    scorer = rouge_scorer.RougeScorer(["rougeL"])
    shares = []
    for thing in things:
        first, second = (
            scorer.score(thing.material.input, text)["rougeL"].precision
            for text in (thing.material.answer, thing.material.other)
        )
        shares.append(0.5 if first == second else float((first > second) == (thing.human[0] == "a")))
    return mean_interval(shares)
