"""Calls as drift sees them: a point each, and many of them as columns. Knows no table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from loopwright.kit.ids import time_of
from loopwright.monitoring.drift_statistics import Vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One call that was looked at."""

    call_id: str
    key_id: int
    input_length: int
    output_length: int | None
    language: str | None
    output_language: str | None
    refused: bool | None
    malformed: bool | None
    topic: int | None = None
    input: Vectors = field(repr=False)
    """Of unit length."""
    output: Vectors | None = field(repr=False)
    """Of unit length; None without an answer."""


class Sample:
    """Calls in order, the oldest first."""

    __slots__ = ("points",)

    def __init__(self, points: Sequence[Point]) -> None:
        self.points = points

    def __len__(self) -> int:
        return len(self.points)

    def first(self, count: int) -> Sample:
        """The oldest of them."""
        return Sample(self.points[:count])

    @property
    def ids(self) -> list[str]:
        """Of the calls."""
        return [point.call_id for point in self.points]

    def at(self, index: int) -> datetime:
        """When a call began."""
        return time_of(self.points[index].call_id)

    def halves(self) -> tuple[Sample, Sample]:
        """Two halves by lot, always the same ones: what is chosen by the one is tested on the other.

        By the last, random digit of the ids: every other call would not do where traffic has a period.
        """
        first = [each for each in self.points if int(each.call_id[-1], 16) % 2 == 0]
        return Sample(first), Sample([each for each in self.points if int(each.call_id[-1], 16) % 2])

    @property
    def inputs(self) -> Vectors:
        """`[calls, dimensions]`."""
        return _stacked([point.input for point in self.points])

    @property
    def answered(self) -> NDArray[np.int64]:
        """Which calls have an answer that was embedded."""
        return np.array([at for at, point in enumerate(self.points) if point.output is not None], dtype=np.int64)

    @property
    def outputs(self) -> Vectors:
        """Of those: `[calls, dimensions]`."""
        return _stacked([point.output for point in self.points if point.output is not None])


def _stacked(vectors: Sequence[Vectors]) -> Vectors:
    if not vectors:
        return np.empty((0, 0), dtype=np.float32)
    found = np.stack(vectors).astype(np.float32)
    # Half precision on the disk: of unit length again.
    return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9), dtype=np.float32)
