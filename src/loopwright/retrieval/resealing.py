"""Where documents, their chunks and what measured them lie sealed."""

from __future__ import annotations

from typing import Final

from loopwright.kit.resealing import SealedTable, SealedTables
from loopwright.retrieval.rows import about_chunk, about_document, about_evaluation, about_title, about_told

SEALED: Final = SealedTables(
    (
        SealedTable(
            name="collection_documents",
            key=("id",),
            texts={"content": lambda row: about_document(row["id"]), "title": lambda row: about_title(row["id"])},
        ),
        SealedTable(
            name="collection_intake",
            key=("id",),
            needs=("document_id",),
            texts={"told": lambda row: about_told(row["document_id"])},
        ),
        SealedTable(
            name="collection_chunks",
            key=("id",),
            needs=("document_id", "position"),
            texts={"content": lambda row: about_chunk(row["document_id"], row["position"])},
        ),
        SealedTable(
            name="collection_evaluations",
            key=("id",),
            texts={"details": lambda row: about_evaluation(row["id"])},
        ),
    )
)
