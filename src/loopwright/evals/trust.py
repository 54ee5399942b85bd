"""Whether the findings of an evaluator may decide, or only inform. Knows no table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from loopwright.evals.intervals import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What is known of an evaluator's judgement."""

    may_gate: bool
    why: str = ""
    """Why it may not."""
    card: Mapping[str, Any] | None = None
    """Of a judge: how it agreed with people."""
    corrected: Callable[[float, int], Estimate | None] | None = None
    """Of a judge: a share of `n` verdicts as people would have found it (Rogan and Gladen)."""


Trusted = Mapping[str, Trust]
"""By name of the score; one that is not there is trusted: it computes, it does not judge."""
