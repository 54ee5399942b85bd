"""Settings of what is watched: telemetry taken in and sent out, drift, objectives, alerts, energy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringSettings:
    """What is watched beside the calls of tasks, whose own `monitor` says how they are scored."""
