"""What is asked of scores on record, and what comes back. Knows no table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from loopwright.core.money import usd
from loopwright.feedback.given import Source

Dimension = Literal[
    "task", "variant", "model", "target", "provider", "operation", "prompt_version", "key", "session", "tag"
]
DIMENSIONS: Final[tuple[str, ...]] = (
    "task", "variant", "model", "target", "provider", "operation", "prompt_version", "key", "session", "tag",
)  # fmt: skip
_SURE: Final = 1.959964
"""Standard errors of an interval of 95 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreFilter:
    """Which scores; None asks for nothing. Everything given must hold. Times are of the calls, not of the scoring."""

    project_id: int | None = None
    """None is every project: for administrators only."""
    since: datetime | None = None
    """Aware; calls that started then or later."""
    until: datetime | None = None
    """Aware; calls that started before."""
    name: str | None = None
    """Of the score."""
    source: Source | None = None
    """Code, a judge or a person."""
    task: str | None = None
    variant: str | None = None
    model: str | None = None
    """The name that was asked for."""
    target: str | None = None
    provider: str | None = None
    operation: str | None = None
    prompt_version: str | None = None
    key_id: int | None = None
    """This and what follows is known of calls, not of roll-ups: asked of at most the scores of 31 days."""
    session: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    """All of which the call must have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What some scores of one name and source come to. Each stands for as many calls as its lot says (weights)."""

    scores: int = 0
    """That were found."""
    calls: float = 0.0
    """That they stand for."""
    mean: float | None = None
    """Of the values, weighted; None where no score has one."""
    low: float | None = None
    """Of the mean, 95 %; None of fewer than two."""
    high: float | None = None
    least: float | None = None
    """The lowest value."""
    most: float | None = None
    passed: float | None = None
    """Share that passed, weighted; None where nothing passes or fails."""
    passed_low: float | None = None
    """Of that share, 95 % (Wilson)."""
    passed_high: float | None = None
    failed: int = 0
    """Scores that did not pass."""
    cost_nano: int = 0
    """What it took to find out, where that is known."""
    labels: Mapping[str, float] = field(default_factory=dict)
    """Share of each word among the scores that say one, weighted, the most frequent first."""

    def shown(self) -> dict[str, Any]:
        """As REST shows it."""
        return {
            "scores": self.scores,
            "calls": round(self.calls, 3),
            "mean": self.mean,
            "low": self.low,
            "high": self.high,
            "least": self.least,
            "most": self.most,
            "passed": self.passed,
            "passed_low": self.passed_low,
            "passed_high": self.passed_high,
            "failed": self.failed,
            "cost_usd": usd(self.cost_nano),
            "labels": {name: round(share, 6) for name, share in self.labels.items()},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorePoint:
    """One step of a series."""

    at: datetime
    """Where the step begins."""
    figure: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSeries:
    """One score over time, oldest first, without gaps."""

    name: str
    source: Source
    value: str | int | None
    """Of the dimension it is split by; None without one, and for calls that have none."""
    step_seconds: int
    points: tuple[ScorePoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreGroup:
    """One score of the calls that share a value of a dimension."""

    name: str
    source: Source
    value: str | int | None
    """A key's id for `key`; None for calls without one, and without a dimension."""
    figure: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A score that was searched for."""

    call_id: str
    name: str
    source: Source
    value: float | None
    label: str | None
    passed: bool | None

    def shown(self) -> dict[str, Any]:
        """As REST shows it beside its call."""
        return {
            "name": self.name,
            "source": self.source,
            "value": self.value,
            "label": self.label,
            "passed": self.passed,
        }


def figure_of(rows: list[Mapping[str, Any]]) -> Figure:
    """The figure of rows with the sums of `score_rollups_*`, one for each label."""
    total = {name: sum(float(row[name] or 0) for row in rows) for name in SUMS}
    if not total["scores"]:
        return Figure()
    mean = total["wx"] / total["w"] if total["w"] else None
    low = high = None
    if mean is not None and total["valued"] > 1:
        # Of a ratio of two sums (Hájek): the variance of the sum of w * (x - mean), by n / (n - 1).
        spread = total["wwxx"] - 2 * mean * total["wwx"] + mean * mean * total["ww"]
        n = total["valued"]
        error = math.sqrt(max(spread, 0.0) * n / (n - 1)) / total["w"]
        low, high = mean - _SURE * error, mean + _SURE * error
    passed = total["wp"] / total["wj"] if total["wj"] else None
    bounds = (None, None) if passed is None else _wilson(passed, int(total["judged"]))
    worded = {str(row["label"]): float(row["weight"]) for row in rows if row["label"]}
    spoken = sum(worded.values())
    return Figure(
        scores=int(total["scores"]),
        calls=float(total["weight"]),
        mean=mean,
        low=low,
        high=high,
        least=min((row["low"] for row in rows if row["low"] is not None), default=None),
        most=max((row["high"] for row in rows if row["high"] is not None), default=None),
        passed=passed,
        passed_low=bounds[0],
        passed_high=bounds[1],
        failed=int(total["failed"]),
        cost_nano=round(total["nano"]),
        labels={word: weight / spoken for word, weight in sorted(worded.items(), key=lambda each: (-each[1], each[0]))},
    )


SUMS: Final = (
    "scores", "weight", "valued", "w", "wx", "ww", "wwx", "wwxx", "wxx", "judged", "wj", "wp", "failed", "nano",
)  # fmt: skip
"""Columns of `score_rollups_*` that are sums."""


def _wilson(share: float, n: int) -> tuple[float, float]:
    squared = _SURE * _SURE
    middle = (share + squared / (2 * n)) / (1 + squared / n)
    half = _SURE / (1 + squared / n) * math.sqrt(max(share * (1 - share), 0.0) / n + squared / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)
