"""Settings of what is told to the outside of this house's own doing: metrics to read, spans and metrics that are sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from loopwright.kit.settings_marks import Between, Positive, Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSettings:
    """What `/metrics` tells Prometheus."""

    access: Literal["loopback", "key", "open"] = "loopback"
    """Who may read it: `loopback` is this machine without a key and others with one; `key` all with one; `open` everybody."""
    series: Annotated[int, Between(low=10, high=10_000)] = 1_000
    """Combinations of labels that each process counts apart; calls of further ones count as `other`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingSettings:
    """One receiver of OpenTelemetry over HTTP."""

    url: str = ""
    """Its address, to which `/v1/traces` and `/v1/metrics` are added: `http://collector:4318`."""
    headers: Mapping[str, Secret] = field(default_factory=dict, repr=False)
    """Sent along, as a key: `{authorization: "Bearer ${TOKEN}"}`."""
    traces: bool = True
    """Send each call as a span."""
    metrics: bool = True
    """Send tokens and times as histograms."""
    content: bool = False
    """Send what was asked and answered too; what the policies of privacy replace is replaced, what they keep here stays."""
    service: str = "loopwright"
    """What this house calls itself: `service.name`."""
    projects: tuple[str, ...] = ()
    """Only calls of these projects; of none is of all."""
    batch: Annotated[int, Between(low=1, high=1_000)] = 200
    """Calls of one request."""
    every: Annotated[float, Between(low=1, high=3_600, unit="seconds")] = 15.0
    """Seconds from one sending of metrics to the next."""
    queue: Positive = 1_000_000
    """Calls that may wait for a receiver that is away; older ones beyond are left out, and counted."""
