"""What was found of every example, held so that figures can be computed of it. Knows no database and no statistics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from loopwright.core.score import Score
from loopwright.evals.intervals import Floats

Slices = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Cell:
    """What was found of one answer."""

    values: tuple[float | None, ...]
    """By evaluator; None is missing."""
    answered: bool
    cached: bool
    cost_nano: int | None
    latency_us: int
    input_tokens: int
    output_tokens: int
    scores: tuple[Score, ...] = ()
    """By evaluator, where their labels are needed."""


@dataclass(slots=True)
class Table:
    """One row an example, one cell a target."""

    targets: int
    evaluators: int
    positions: list[int] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)
    """Their ids."""
    slices: list[Slices] = field(default_factory=list)
    cells: list[tuple[Cell, ...]] = field(default_factory=list)

    def add(self, position: int, example_id: str, slices: Slices, cells: tuple[Cell, ...]) -> None:
        """One example, whole."""
        self.positions.append(position)
        self.examples.append(example_id)
        self.slices.append(slices)
        self.cells.append(cells)

    def __len__(self) -> int:
        return len(self.positions)

    def values(self, target: int, evaluator: int) -> Floats:
        """One column, in the order of arrival; NaN is missing and never leaves this room."""
        return np.array(
            [math.nan if (value := row[target].values[evaluator]) is None else value for row in self.cells],
            dtype=np.float64,
        )

    def scores(self, target: int, evaluator: int) -> Sequence[Score]:
        """One column as scores, where they were kept."""
        return [row[target].scores[evaluator] for row in self.cells if row[target].scores]

    def groups(self) -> dict[str, list[int]]:
        """Which rows belong to each slice, `name=value`, the largest first."""
        found: dict[str, list[int]] = {}
        for at, slices in enumerate(self.slices):
            for name, value in slices.items():
                found.setdefault(f"{name}={value}", []).append(at)
        return dict(sorted(found.items(), key=lambda each: (-len(each[1]), each[0])))
