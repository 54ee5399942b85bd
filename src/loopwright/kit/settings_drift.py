"""What can be said of drift and of canaries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from loopwright.kit.settings_marks import Between, Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftSettings:
    """How tasks and models are watched; which ones is said in the console, by `loopwright drift watch`, or here."""

    watch: tuple[str, ...] = ()
    """Tasks (`task/NAME`) and models that are watched in project `default` from the start."""
    embedder: str | None = None
    """Model that makes vectors of inputs and answers; without one, the first that embeds."""
    every: Seconds = 60.0
    """Time between two looks."""
    settle: Seconds = 30.0
    """How old a call must be to be looked at: a slower one is left out."""
    reference: Annotated[int, Between(low=50, high=5_000)] = 1_000
    """Calls that say what is normal."""
    window: Annotated[int, Between(low=50, high=5_000)] = 500
    """Calls that are held against them, one window after the other."""
    per_day: Annotated[int, Between(low=10, high=1_000_000)] = 5_000
    """Calls of each watch that are embedded on one day (UTC); of more, a random share."""
    alpha: Annotated[float, Between(low=0.00001, high=0.2)] = 0.01
    """False alarms of a window of calls that come from where the reference came from, over all that is tested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CanarySettings:
    """How canaries are replayed; each is made in the console or by `loopwright canaries create`."""

    every: Seconds = 30.0
    """Time between two looks whether one is due."""
    concurrency: Annotated[int, Between(low=1, high=256)] = 2
    """Examples that are asked at once."""
    examples: Annotated[int, Between(low=1, high=10_000)] = 500
    """Examples of one canary at most."""
    runs: Annotated[int, Between(low=2, high=10_000)] = 100
    """Replays that are kept of each canary, beside its baseline."""
    alpha: Annotated[float, Between(low=0.00001, high=0.2)] = 0.01
    """False alarms of a replay against an upstream that did not change; a finding must also hold when asked again."""
