"""Settings of what is watched: telemetry taken in and sent out, drift, objectives, alerts, energy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from loopwright.kit.settings_alerts import AlertSettings, ObjectiveSettings
from loopwright.kit.settings_drift import CanarySettings, DriftSettings
from loopwright.kit.settings_energy import EnergySettings
from loopwright.kit.settings_metrics import MetricsSettings, SendingSettings
from loopwright.kit.settings_telemetry import TelemetrySettings


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringSettings:
    """What is watched beside the calls of tasks, whose own `monitor` says how they are scored."""

    objectives: Mapping[str, ObjectiveSettings] = field(default_factory=dict)
    """What share of calls is to be good, each by a name: see docs/alerts.md."""
    alerts: AlertSettings = field(default_factory=AlertSettings)
    drift: DriftSettings = field(default_factory=DriftSettings)
    canaries: CanarySettings = field(default_factory=CanarySettings)
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)
    energy: EnergySettings = field(default_factory=EnergySettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    otlp: Mapping[str, SendingSettings] = field(default_factory=dict)
    """Who is sent our calls as OpenTelemetry, each by a name: see docs/metrics.md."""
