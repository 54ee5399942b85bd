"""The rooms of the house that have tables. Imported by whoever migrates, without the house."""

from __future__ import annotations

from typing import Final

ROOMS: Final = (
    "access",
    "catalog",
    "calls",
    "cache",
    "gateway",
    "batches",
    "prompts",
    "tasks",
    "datasets",
    "feedback",
    "runs",
    "evals",
    "retrieval",
    "memory",
    "telemetry",
    "monitoring",
    "exports",
)
"""In the order of their migrations."""
