"""Settings of telemetry that programs send: how much of it is taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from loopwright.kit.settings_marks import Between, Positive


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetrySettings:
    """OpenTelemetry that programs send to `/otlp`."""

    body_limit: Annotated[int, Between(low=1_000, high=1_000_000_000, unit="bytes")] = 32_000_000
    """Bytes of one request, as it came and unpacked; more is 413."""
    spans: Positive = 20_000
    """Spans, logs or points of one request; those beyond are refused."""
    attributes: Annotated[int, Between(low=1, high=100_000)] = 2_000
    """Attributes of one span that are kept, and events, and links; those beyond are cut off, and the span says so."""
    attribute_limit: Annotated[int, Between(low=100, high=100_000_000, unit="bytes")] = 256_000
    """Characters of one value that are kept; the rest is cut off, and the span says so."""
    ahead: Annotated[float, Between(low=0, high=86_400, unit="seconds")] = 600.0
    """Seconds that the clock of a program may be ahead of ours; what began later than that is refused."""
    at_once: Annotated[int, Between(low=1, high=64)] = 4
    """Requests that a worker takes in at once; some more wait, and those beyond are answered 429."""
    logs_per_day: Annotated[int, Between(low=0, high=10**9)] = 200_000
    """Logs of one project and day that are kept; those beyond are refused."""
    points: Annotated[int, Between(low=0, high=10**9)] = 200_000
    """Points of metrics of one project that are kept; older ones make room."""
