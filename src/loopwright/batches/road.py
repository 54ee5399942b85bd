"""What a batch needs of the road that every request takes, and what it gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from loopwright.batches.batch import Batch, Problem
from loopwright.batches.lines import Line


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the road answered to a line."""

    status: int
    body: bytes
    """JSON."""
    request_id: str
    """The call on record."""
    retry_after: float | None = None
    """Seconds, when it was refused and told when to come again."""
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost_nano: int | None = None
    """Nanodollars; None is unpriced."""


class Road(Protocol):
    """The road every request takes, for the lines of batches."""

    async def ask(self, batch: Batch, line: Line, seconds: float) -> Reply:
        """Answer a line as by the key that made the batch, within `seconds`. Failures are replies, too."""
        ...

    async def free(self, model: str) -> bool:
        """Whether a line for `model` would keep nobody else waiting."""
        ...

    def judge(self, batch: Batch, model: str) -> Problem | None:
        """Why the lines of a batch may not ask `model`; None when they may."""
        ...
