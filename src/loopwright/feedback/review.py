"""A review: items that people rate, each blind to what others said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from loopwright.core.call import Call
from loopwright.core.errors import BadRequest
from loopwright.feedback.rubric import Criterion, Mode

State = Literal["open", "rated", "skipped"]
LONGEST: Final = 400_000
"""Bytes of one item as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A queue of items and what is asked of them."""

    id: str
    project_id: int
    name: str
    mode: Mode
    instructions: str
    criteria: tuple[Criterion, ...]
    raters: int
    """People who rate each item."""
    source: Mapping[str, Any]
    """Where its items came from."""
    author: str
    created_at: datetime

    def shown(self) -> dict[str, Any]:
        """As REST and pages show it."""
        return {
            "id": self.id,
            "project_id": self.project_id,
            "name": self.name,
            "mode": self.mode,
            "instructions": self.instructions,
            "criteria": [each.shown() for each in self.criteria],
            "raters": self.raters,
            "source": dict(self.source),
            "author": self.author,
            "created_at": self.created_at,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class NewItem:
    """Something to rate."""

    question: str
    """What was asked, to read."""
    answer: str
    other: str | None = None
    """The second answer, in pairs."""
    reference: str | None = None
    """What is known to be right, shown beside it."""
    example_id: str | None = None
    call: Call | None = None
    """The call that gave `answer`; deleting it deletes the item."""
    other_call: Call | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    """What the answers are, such as `{"a": "gpt-4", "b": "claude"}`: for the export, never for raters."""

    def body(self) -> bytes:
        """As it is sealed.

        Raises:
            BadRequest: it is too long, or no Unicode.
        """
        try:
            said = msgspec.json.encode(
                {
                    "question": self.question,
                    "answer": self.answer,
                    "other": self.other,
                    "reference": self.reference,
                    "labels": dict(self.labels),
                }
            )
        except UnicodeEncodeError:
            raise BadRequest("items: a text is no Unicode", param="items") from None
        if len(said) > LONGEST:
            raise BadRequest(f"items: one has {len(said):,} bytes; allowed are {LONGEST:,}", param="items")
        return said


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """Something to rate, on record."""

    id: int
    review_id: str
    position: int
    call_id: str | None
    other_call_id: str | None
    example_id: str | None
    question: str
    answer: str
    other: str | None
    reference: str | None
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """An item before one rater. Says nothing of where the answers came from, nor of what others said."""

    item: Item
    state: State
    swapped: bool
    """The second answer stands first."""
    labels: Mapping[str, str]
    """What this rater said: `a` is the first answer of the item, whichever stood first."""
    note: str

    @property
    def answers(self) -> tuple[str, ...]:
        """As they are shown, from left to right."""
        item = self.item
        if item.other is None:
            return (item.answer,)
        return (item.other, item.answer) if self.swapped else (item.answer, item.other)

    def shown(self) -> dict[str, Any]:
        """As a rater sees it, by sides: nothing tells which answer is which."""
        return {
            "item": self.item.id,
            "position": self.item.position,
            "state": self.state,
            "question": self.item.question,
            "answers": list(self.answers),
            "reference": self.item.reference,
            "labels": self.sides(self.labels),
            "note": self.note,
        }

    def sides(self, labels: Mapping[str, str]) -> dict[str, str]:
        """Labels of a pair as a rater sees them (`left`, `right`, `tie`); those of a rubric as they are."""
        if self.item.other is None:
            return dict(labels)
        names = {"a": "right", "b": "left"} if self.swapped else {"a": "left", "b": "right"}
        return {name: names.get(label, label) for name, label in labels.items()}

    def said(self, labels: Mapping[str, str]) -> dict[str, str]:
        """What a rater said of sides, about the answers themselves.

        Raises:
            BadRequest: a label is no side.
        """
        if self.item.other is None:
            return dict(labels)
        first, second = ("b", "a") if self.swapped else ("a", "b")
        names = {"left": first, "right": second, "tie": "tie"}
        for name, label in labels.items():
            if label not in names:
                raise BadRequest(f"labels: {name[:40]} is left, right or tie, not {label[:40]!r}", param="labels")
        return {name: names[label] for name, label in labels.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a review is, and one rater in it."""

    items: int
    done: int
    """Items that have all their raters."""
    ratings: int
    mine: int
    """Rated by the one who asks."""
    skipped: int
    """Skipped by the one who asks."""

    @property
    def complete(self) -> bool:
        """Whether nothing is left for anybody."""
        return self.items > 0 and self.done == self.items

    def shown(self) -> dict[str, Any]:
        """As REST and pages show it."""
        return {
            "items": self.items,
            "done": self.done,
            "ratings": self.ratings,
            "mine": self.mine,
            "skipped": self.skipped,
            "complete": self.complete,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """What one rater said of one item in every respect."""

    item: Item
    rater_id: int
    rater: str
    labels: Mapping[str, str]
    swapped: bool
    note: str
    decided_at: datetime
