"""Where vectors of drift, answers of canaries and complaints of evaluators lie sealed."""

from __future__ import annotations

from typing import Final

from loopwright.kit.resealing import SealedTable, SealedTables
from loopwright.monitoring.books import fault_about
from loopwright.monitoring.canaries_store import answer_about
from loopwright.monitoring.drift_store import topics_about, vector_about

DRIFT: Final = SealedTables(
    (
        SealedTable(name="drift_watches", key=("id",), texts={"topics": lambda row: topics_about(row["id"])}),
        SealedTable(
            name="drift_points",
            key=("watch_id", "number", "call_id"),
            texts={"vector": lambda row: vector_about(row["watch_id"], str(row["call_id"]))},
        ),
        SealedTable(
            name="canary_answers",
            key=("run_id", "position", "repeat"),
            texts={"body": lambda row: answer_about(row["run_id"], row["position"], row["repeat"])},
        ),
    )
)
"""What is watched for drift, and what canaries were answered."""

COMPLAINTS: Final = SealedTables(
    (
        SealedTable(
            name="monitor_faults",
            key=("project_id", "task", "name", "what"),
            texts={"said": lambda row: fault_about(row["project_id"], row["task"], row["name"], row["what"])},
        ),
    )
)
"""The last words of evaluators that broke."""
