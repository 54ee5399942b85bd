"""How far the people of a review agree, criterion by criterion, and what they said, as rows and as a judge's calibration file."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from loopwright.core.errors import NotFound, Refused
from loopwright.core.who import Principal
from loopwright.evals.agreement import krippendorff_alpha
from loopwright.evals.intervals import Estimate
from loopwright.feedback.queues import Reviews
from loopwright.feedback.review import Progress, Rating, Review
from loopwright.feedback.rubric import Criterion

RELIABLE: Final = 0.8
"""From here on labels are taken for reliable (Krippendorff 2004, Content Analysis, p. 241)."""
_RATERS: Final = 20
"""Labels of one thing in a calibration file, at most."""
TENTATIVE: Final = 0.667
"""From here on they bear tentative conclusions (the same)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far raters agree on one criterion."""

    criterion: Criterion
    alpha: Estimate | None
    """Krippendorff's, with a 95 % interval; None while no item has two ratings, or when all ratings are the same."""
    same: float | None
    """Share of pairs of ratings of one item that are the same; None without pairs."""
    items: int
    """With two ratings or more."""
    ratings: int
    labels: dict[str, int]
    """How often each answer was given."""
    raters: dict[str, int]
    """How often each rater answered, by name."""

    @property
    def verdict(self) -> str:
        """What Krippendorff makes of the figure."""
        if self.alpha is None:
            return "not known"
        if self.alpha.estimate >= RELIABLE:
            return "reliable"
        return "tentative" if self.alpha.estimate >= TENTATIVE else "not reliable"

    def shown(self) -> dict[str, Any]:
        """As REST and pages show it."""
        alpha = self.alpha
        return {
            "criterion": self.criterion.name,
            "level": self.criterion.level,
            "alpha": None if alpha is None else alpha.estimate,
            "low": None if alpha is None else alpha.low,
            "high": None if alpha is None else alpha.high,
            "verdict": self.verdict,
            "same": self.same,
            "items": self.items,
            "ratings": self.ratings,
            "labels": self.labels,
            "raters": self.raters,
        }


def check_done(progress: Progress, who: Principal) -> None:
    """Refuse to show what others said to who may still be rating.

    Raises:
        Refused: not every item has its ratings, and the asker is no administrator.
    """
    if not who.admin and not progress.complete:
        raise Refused(
            f"{progress.done} of {progress.items} items have their ratings: what others said is shown when all have,"
            " so that raters stay blind; an administrator may look before"
        )


def agreement(review: Review, ratings: Sequence[Rating]) -> list[Agreement]:
    """How far raters agree on each criterion of a review."""
    return [_agreement(criterion, ratings) for criterion in review.criteria]


def _agreement(criterion: Criterion, ratings: Sequence[Rating]) -> Agreement:
    said = [each for each in ratings if criterion.name in each.labels]
    items = {item: at for at, item in enumerate(dict.fromkeys(each.item.id for each in said))}
    rows: dict[int, list[float | None]] = {}
    for each in said:
        row = rows.setdefault(each.rater_id, [None] * len(items))
        row[items[each.item.id]] = criterion.value(each.labels[criterion.name])
    units = [[value for value in unit if value is not None] for unit in zip(*rows.values(), strict=True)]
    pairs = [(unit[a], unit[b]) for unit in units for a in range(len(unit)) for b in range(a)]
    return Agreement(
        criterion=criterion,
        alpha=krippendorff_alpha(list(rows.values()), scale=criterion.level) if rows else None,
        same=sum(a == b for a, b in pairs) / len(pairs) if pairs else None,
        items=sum(len(unit) > 1 for unit in units),
        ratings=len(said),
        labels={answer: sum(each.labels[criterion.name] == answer for each in said) for answer in criterion.answers},
        raters=dict(Counter(each.rater for each in said)),
    )


async def exported(
    reviews: Reviews, review: Review, *, criterion: str | None = None, texts: bool = False
) -> AsyncGenerator[bytes, None]:
    """What was said as JSON lines: one for each rater, item and criterion; or of one criterion a judge's calibration file.

    Args:
        reviews: where it is.
        review: the queue.
        criterion: only this one, one line an item with all labels of it.
        texts: also what was asked and answered; a calibration file has it anyway.
    """
    asked = None if criterion is None else criterion_named(review, criterion)
    order = [rater for rater, _ in await reviews.raters(review)]
    same: list[Rating] = []
    async for each in reviews.ratings(review):
        if asked is None:
            for row in rows_of(review, each, texts=texts):
                yield msgspec.json.encode(row) + b"\n"
            continue
        if same and same[0].item.id != each.item.id:
            yield msgspec.json.encode(calibration(review, asked, same, order)) + b"\n"
            same = []
        same.append(each)
    if asked is not None and same:
        yield msgspec.json.encode(calibration(review, asked, same, order)) + b"\n"


def criterion_named(review: Review, name: str) -> Criterion:
    """A criterion of a review.

    Raises:
        NotFound: it has none of this name.
    """
    for each in review.criteria:
        if each.name == name:
            return each
    known = ", ".join(each.name for each in review.criteria)
    raise NotFound(f"review {review.name!r} has no criterion {name[:40]!r}; it has {known}", param="criterion")


def calibration(review: Review, criterion: Criterion, same: Sequence[Rating], raters: Sequence[int]) -> dict[str, Any]:
    """What people said of one item in one respect, as `evals.labelled` reads it.

    Args:
        review: the queue.
        criterion: which respect.
        same: the ratings of one item.
        raters: ids of keys, in whose order the labels stand; None for who did not rate the item.
    """
    item = same[0].item
    labels = {each.rater_id: each.labels.get(criterion.name) for each in same}
    order = raters if len(raters) <= _RATERS else list(labels)
    line: dict[str, Any] = {
        "id": f"{review.id}.{item.position}",
        "input": item.question,
        "human": [labels.get(rater) for rater in order],
        "example_id": item.example_id,
        "call_id": item.call_id,
        "criterion": criterion.name,
    }
    if item.other is None:
        line |= {"answer": item.answer, "author": item.labels.get("a")}
    else:
        line |= {"a": item.answer, "b": item.other, "authors": dict(item.labels)}
    return line if item.reference is None else {**line, "reference": item.reference}


def rows_of(review: Review, rating: Rating, *, texts: bool = False) -> Iterator[dict[str, Any]]:
    """What one rater said of one item, one row a criterion; with `texts` also what was asked and answered."""
    item = rating.item
    about: dict[str, Any] = {
        "review": review.name,
        "item": item.position,
        "example_id": item.example_id,
        "call_id": item.call_id,
    }
    if review.mode == "pairwise":
        about |= {"other_call_id": item.other_call_id, "shown": "ba" if rating.swapped else "ab"}
    if item.labels:
        about["answers"] = dict(item.labels)
    if texts:
        about |= {"question": item.question, "answer": item.answer, "reference": item.reference}
        if review.mode == "pairwise":
            about["other"] = item.other
    for criterion in review.criteria:
        label = rating.labels.get(criterion.name)
        if label is None:
            continue
        said: dict[str, Any] = {"criterion": criterion.name, "rater": rating.rater, "label": label}
        if review.mode == "rubric" and criterion.level != "nominal":
            said["value"] = criterion.value(label)
        yield {**about, **said, "note": rating.note, "at": rating.decided_at.isoformat()}
