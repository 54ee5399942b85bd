"""Where feedback lies sealed."""

from __future__ import annotations

from typing import Final

from loopwright.feedback.queues import item_about, note_about
from loopwright.feedback.store import corrected_about, said_about
from loopwright.kit.resealing import SealedTable, SealedTables

_BATCH: Final = 64
"""Rows of a step: an item holds the texts of a call."""

SEALED: Final = SealedTables(
    (
        SealedTable(
            name="feedback_scores",
            key=("id",),
            needs=("call_id", "name", "source", "author"),
            texts={
                "explanation": lambda row: said_about(str(row["call_id"]), row["name"], row["source"], row["author"])
            },
            batch=_BATCH,
        ),
        SealedTable(
            name="feedback_corrections",
            key=("id",),
            needs=("call_id",),
            texts={"body": lambda row: corrected_about(str(row["call_id"]))},
            batch=_BATCH,
        ),
        SealedTable(
            name="review_items",
            key=("id",),
            needs=("review_id", "position"),
            texts={"body": lambda row: item_about(row["review_id"], row["position"])},
            batch=_BATCH,
        ),
        SealedTable(
            name="review_turns",
            key=("item_id", "rater_id"),
            texts={"note": lambda row: note_about(row["item_id"], row["rater_id"])},
            batch=_BATCH,
        ),
    )
)
