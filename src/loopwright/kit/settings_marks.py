"""What the type of a setting may say of its values, beyond the type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """The lowest and the highest number allowed, both included; None is without bound."""

    low: float | None = None
    high: float | None = None
    unit: Literal["", "bytes", "seconds"] = ""
    """Allows `20MB` where bytes and `2m` where seconds are meant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hidden:
    """The value is a secret: no message ever shows it."""


Seconds = Annotated[float, Between(low=0.001, high=86_400, unit="seconds")]
Port = Annotated[int, Between(low=0, high=65_535)]
Positive = Annotated[int, Between(low=1)]
Dollars = Annotated[float, Between(low=0)]
Secret = Annotated[str, Hidden()]
