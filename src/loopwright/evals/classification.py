"""Classification: one label an answer; over many answers accuracy, precision, recall and F1, micro and macro."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from loopwright.core.errors import BadRequest
from loopwright.core.score import Score
from loopwright.datasets.example import Example
from loopwright.evals import extraction
from loopwright.evals.evaluator import Method, Output, Tools
from loopwright.evals.matching import Part, Unread, part_of, unread
from loopwright.evals.plain import Plain, said

_MOST: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassificationArgs:
    """Of `classification`."""

    labels: Annotated[
        tuple[str, ...] | None,
        "All labels; the answer is searched for them, and averages are over them. Without: the answer is the label, "
        "and averages are over the labels that occur",
    ] = None
    positive: Annotated[
        str | None, "The label whose precision, recall and F1 are told as `precision`, `recall`, `f1`"
    ] = None
    part: Annotated[Part, "As much of the answer as is looked at"] = "all"
    unread: Annotated[Unread, "What an answer without a label is"] = "wrong"


class Classification(Plain[ClassificationArgs]):
    """Whether the label is right; over many answers accuracy, precision, recall, F1 (micro, macro, weighted)."""

    Args = ClassificationArgs
    method: Method = "classic"

    def prepare(self, tools: Tools) -> None:
        """Labels that can be told apart."""
        del tools
        labels, positive = self.args.labels, self.args.positive
        if labels is None:
            return
        folded = {each.strip().casefold() for each in labels}
        if not 2 <= len(labels) <= _MOST or len(folded) < len(labels) or "" in folded:
            raise BadRequest(f"{self.kind}: args.labels: 2 to {_MOST} different labels", param="args.labels")
        if positive is not None and positive not in labels:
            raise BadRequest(
                f"{self.kind}: args.positive: {positive[:80]!r} is none of the labels", param="args.positive"
            )

    def find(self, example: Example, output: Output) -> Score:
        """1 when the label is the expected one."""
        if not isinstance(example.expected, str | int | float | bool):
            return self.missing("the example's expected value is no label")
        expected = self._known(said(example.expected))
        if expected is None:
            return self.missing(f"the expected label {said(example.expected)[:80]!r} is none of args.labels")
        predicted = self._predicted(output)
        if predicted is None:
            score = unread(self, self.args.unread, "the answer holds none of the labels, or several")
            if score.value is None:
                return score
        return self.verdict(
            predicted == expected, label="unread" if predicted is None else predicted,
            expected=expected, predicted=predicted,
        )  # fmt: skip

    def _known(self, label: str) -> str | None:
        labels = self.args.labels
        if labels is None:
            return label.strip().casefold()
        return next((each for each in labels if each.casefold() == label.strip().casefold()), None)

    def _predicted(self, output: Output) -> str | None:
        text = part_of(output.text if output.value is None else said(output.value), self.args.part)
        if self.args.labels is None:
            return text.strip().strip("\"'.`* ").casefold()[:200] or None
        return extraction.choice(text, self.args.labels)

    def aggregate(self, scores: Sequence[Score], /) -> Mapping[str, float]:
        """Figures over many answers; without an answer, none. Those that would divide by nothing are 0."""
        pairs = Counter(
            (score.details.get("expected"), score.details.get("predicted"))
            for score in scores
            if score.value is not None
        )
        labels: Sequence[str | None] = self.args.labels or sorted({each for pair in pairs for each in pair if each})
        return figures(pairs, labels, positive=self.args.positive)


def figures(
    pairs: Mapping[tuple[str | None, str | None], int], labels: Sequence[str | None], *, positive: str | None = None
) -> dict[str, float]:
    """Accuracy, precision, recall and F1 of (expected, predicted) pairs with their counts.

    As scikit-learn's `precision_recall_fscore_support(labels=labels, zero_division=0)` with micro, macro and weighted
    averages; macro and weighted F1 are averages of the labels' F1.
    """
    total = sum(pairs.values())
    if not total:
        return {}
    hits = {label: pairs.get((label, label), 0) for label in labels}
    wanted: Counter[str | None] = Counter()
    given: Counter[str | None] = Counter()
    for (expected, predicted), count in pairs.items():
        wanted[expected] += count
        given[predicted] += count
    per = {label: _ratios(hits[label], given[label], wanted[label]) for label in labels}
    support = sum(wanted[label] for label in labels)
    micro = _ratios(sum(hits.values()), sum(given[label] for label in labels), support)
    found = {"accuracy": sum(count for (one, other), count in pairs.items() if one == other) / total}
    for at, name in enumerate(("precision", "recall", "f1")):
        found[f"{name}_micro"] = micro[at]
        found[f"{name}_macro"] = sum(per[label][at] for label in labels) / len(labels) if labels else 0.0
        found[f"{name}_weighted"] = (
            sum(per[label][at] * wanted[label] for label in labels) / support if support else 0.0
        )
        if positive is not None and positive in per:
            found[name] = per[positive][at]
    return found


def _ratios(hits: int, given: int, wanted: int) -> tuple[float, float, float]:
    """Precision, recall, F1."""
    return (
        hits / given if given else 0.0,
        hits / wanted if wanted else 0.0,
        2 * hits / (given + wanted) if given + wanted else 0.0,
    )
