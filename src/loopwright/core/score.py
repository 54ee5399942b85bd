"""A score: a number or a label on one answer, from code, a judge or a person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What was found of one answer in one respect."""

    name: str
    """What was measured: `exact_match`, `judge.helpful`."""
    value: float | None
    """The finding as a number; None when there is none, and then `missing` says why. Never NaN."""
    label: str | None = None
    """The finding as a word, of those that are words."""
    passed: bool | None = None
    """Whether that is good enough; None when it is no question of that."""
    missing: str | None = None
    """Why there is no finding: a verdict that nobody could read, an evaluator that raised."""
    explanation: str = ""
    """For people."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """For machines: JSON."""
    cost_nano: int | None = 0
    """Nanodollars it cost to find out; None is unpriced."""
