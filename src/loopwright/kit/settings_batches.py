"""What can be said of files and batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Annotated

from loopwright.kit.settings_marks import Between, Positive, Seconds

Factor = Annotated[float, Between(low=0, high=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSettings:
    """Files that clients upload to `/v1/files`, and those that batches write."""

    limit: Annotated[int, Between(low=1_000, high=10**12, unit="bytes")] = 200_000_000
    """Bytes of one uploaded file; more is 413."""
    project_bytes: Annotated[int, Between(low=0, high=10**15, unit="bytes")] = 10_000_000_000
    """Bytes of all files of a project; an upload beyond is refused. What batches write counts, and is not refused."""
    project_files: Positive = 10_000
    """Files of a project; an upload beyond is refused."""
    retention_days: Annotated[int, Between(low=1, high=36_500)] = 30
    """Days that files of batches are kept when nothing else was asked; others stay until they are deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings:
    """Many requests in one file, answered within a day at low priority."""

    concurrency: Annotated[int, Between(low=1, high=4_096)] = 4
    """Lines of all batches that are asked at once."""
    lines: Positive = 50_000
    """Lines of one batch; more fail it."""
    project_batches: Positive = 100
    """Batches of a project that are not yet at their end; one more is refused."""
    attempts: Positive = 10
    """Times a line is asked when the answer is 5xx; refusals by a limit (429) are waited out and do not count."""
    base: Seconds = 1.0
    """Pause after the first failure of a line; doubles with each."""
    longest: Seconds = 300.0
    """Longest pause between two attempts of a line."""
    free_slots: Annotated[int, Between(low=0, high=4_096)] = 1
    """Slots of a local engine that batches leave to others; with one slot, a batch waits until it is free."""
    price_factor: Factor = 1.0
    """Part of the price that a call of a batch counts, on record and in budgets: 0.5 is half price."""
    price_factors: Mapping[str, Factor] = field(default_factory=dict)
    """The same for single providers by name, or for local engines by kind (`llamacpp`)."""
    retention_days: Annotated[int, Between(low=1, high=36_500)] = 90
    """Days after its end that a batch is listed."""
    asked_here: bool = field(default=False, metadata={"told": False})
    """This process asks the lines of batches, so the factors apply to whatever it asks."""

    def factor_of(self, provider: str) -> Fraction:
        """What part of its price a call at `provider` counts in this process; exactly what was written, 0.1 is 1/10."""
        if not self.asked_here:
            return Fraction(1)
        return Fraction(str(self.price_factors.get(provider, self.price_factor)))
