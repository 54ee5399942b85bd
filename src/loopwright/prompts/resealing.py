"""Where the texts of prompts lie sealed."""

from __future__ import annotations

from typing import Final

from loopwright.kit.resealing import SealedTable, SealedTables
from loopwright.prompts.store import about

SEALED: Final = SealedTables(
    (
        SealedTable(
            name="prompt_versions",
            key=("id",),
            needs=("prompt_id", "sha"),
            texts={"definition": lambda row: about(row["prompt_id"], row["sha"])},
        ),
    )
)
