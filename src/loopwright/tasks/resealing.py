"""Where the definitions of tasks lie sealed."""

from __future__ import annotations

from typing import Final

from loopwright.kit.resealing import SealedTable, SealedTables
from loopwright.tasks.store import about

SEALED: Final = SealedTables(
    (
        SealedTable(
            name="task_definitions",
            key=("task_id", "number"),
            texts={"definition": lambda row: about(row["task_id"], row["number"])},
        ),
    )
)
