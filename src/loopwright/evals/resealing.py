"""Where evaluations lie sealed."""

from __future__ import annotations

from typing import Final

from loopwright.evals.evaluation import about as about_spec
from loopwright.evals.ledger import about, about_details
from loopwright.kit.resealing import SealedTable, SealedTables

SEALED: Final = SealedTables(
    (
        SealedTable(name="evaluations", key=("id",), texts={"spec": lambda row: about_spec(row["id"])}),
        SealedTable(
            name="evaluation_answers",
            key=("project_id", "key"),
            texts={"payload": lambda row: about(bytes(row["key"]))},
        ),
        SealedTable(
            name="evaluation_results",
            key=("evaluation_id", "position", "target"),
            texts={"details": lambda row: about_details(row["evaluation_id"], row["position"], row["target"])},
        ),
    )
)
