"""Whether the findings of an evaluator may decide, or only inform. Knows no table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What is known of an evaluator's judgement."""

    may_gate: bool
    why: str = ""
    """Why it may not."""
    card: Mapping[str, Any] | None = None
    """Of a judge: how it agreed with people."""


Trusted = Mapping[str, Trust]
"""By name of the score; one that is not there is trusted: it computes, it does not judge."""
