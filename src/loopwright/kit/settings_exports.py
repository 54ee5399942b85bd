"""Settings of mirrors: calls sent on to other systems as they come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFilterSettings:
    """Which calls; all that is given must hold."""

    project: str | None = None
    """Only of this project."""
    model: str | None = None
    """Only calls of this name."""
    task: str | None = None
    """Only calls of this task."""
    outcome: Literal["ok", "error", "refused", "cancelled", "interrupted"] | None = None
    """Only calls that ended so."""
    tag: str | None = None
    """Only calls with this tag, `NAME:VALUE`."""
    tags: tuple[str, ...] = ()
    """Only calls with all of these tags."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSettings:
    """A place that calls are mirrored to, with their scores."""

    kind: str = "otlp"
    """A plug-in of group `loopwright.exporters`: `otlp`, `mlflow`, `langfuse`, `wandb`."""
    filter: ExportFilterSettings = field(default_factory=ExportFilterSettings)
    """Which calls."""
    texts: bool = False
    """Send what was asked, answered and explained too. It cannot be taken back from everywhere: see docs/exports.md."""
    region: str | None = None
    """Where it is, for policies of privacy: `eu`, `us-east-1`."""
    own: bool = False
    """A server of ours: counts as `own` in policies of privacy."""
    args: Mapping[str, object] = field(default_factory=dict, repr=False)
    """Arguments of the plug-in: `url`, keys; better `${NAME}` than a key itself."""
