"""Candidates as passages: their texts and provenance, read under the same restriction as they were found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from loopwright.core.passage import Passage
from loopwright.kit.db import Connection, Database
from loopwright.kit.seal import Seal
from loopwright.retrieval.fused import Candidate
from loopwright.retrieval.restriction import Restriction
from loopwright.retrieval.rows import chunk_of, opened_content, opened_title


async def passages_of(
    connection: Connection, seal: Seal, candidates: Sequence[Candidate], restrictions: Mapping[int, Restriction]
) -> list[Passage]:
    """Candidates in their order; one that is not there, or may not be found, is left out.

    Raises:
        Sealed: a text is sealed with a key that is not here.
    """
    rows: dict[int, dict[str, Any]] = {}
    for collection_id, restriction in restrictions.items():
        wanted = [one.chunk for one in candidates if one.collection.id == collection_id]
        if not wanted:
            continue
        cursor = await connection.execute(
            f'select c.id, c.document_id, c.position, c.start, c."end", c.page, c.suspicion, c.content,'  # noqa: S608 - parameters only
            f" d.name, d.title, d.metadata from collection_chunks c join collection_documents d on d.id = c.document_id"
            f" where c.id = any(%(chunks)s::bigint[]) and {restriction.sql}".encode(),
            {"chunks": wanted, **restriction.params},
            binary=True,
        )
        rows |= {row["id"]: row for row in await cursor.fetchall()}
    return [_passage(one, rows[one.chunk], seal) for one in candidates if one.chunk in rows]


async def documents_of(connection: Connection, chunks: Sequence[int]) -> dict[int, int]:
    """The document of each chunk."""
    cursor = await connection.execute(
        b"select id, document_id from collection_chunks where id = any(%s)", (list(chunks),), binary=True
    )
    return {row["id"]: row["document_id"] for row in await cursor.fetchall()}


async def widened(db: Database, seal: Seal, passages: Sequence[Passage], by: int) -> list[Passage]:
    """Each with so many chunks before and after it, to the letter of its document; one within another is left out.

    A passage whose document has gone meanwhile stays as it is.
    """
    rows = await db.rows(
        'select c.id, min(n.start) as start, max(n."end") as "end", min(n.page) as page'
        " from collection_chunks c join collection_chunks n on n.document_id = c.document_id"
        " and n.position between c.position - %s and c.position + %s where c.id = any(%s) group by c.id",
        (by, by, [each.id for each in passages]),
    )
    spans = {row["id"]: row for row in rows}
    documents = await db.rows(
        "select id, content from collection_documents where id = any(%s) and content is not null",
        (list({each.document_id for each in passages}),),
    )
    texts = {row["id"]: opened_content(row["content"], row["id"], seal).text for row in documents}
    found: list[Passage] = []
    for each in passages:
        span, text = spans.get(each.id), texts.get(each.document_id)
        if span is not None and text is not None and text[each.start : each.end] == each.text:
            start, end = span["start"], span["end"]
            each = replace(each, text=text[start:end], start=start, end=end, page=span["page"])  # noqa: PLW2901
        if not any(_within(each, other) for other in found):
            found.append(each)
    return found


def _within(one: Passage, other: Passage) -> bool:
    return one.document_id == other.document_id and other.start <= one.start and one.end <= other.end


def _passage(one: Candidate, row: Mapping[str, Any], seal: Seal) -> Passage:
    chunk = chunk_of(row, seal)
    return Passage(
        id=chunk.id,
        collection=one.collection.name,
        document_id=chunk.document_id,
        document=row["name"],
        title=opened_title(row["title"], chunk.document_id, seal),
        text=chunk.text,
        heading=chunk.heading,
        page=chunk.page,
        start=chunk.start,
        end=chunk.end,
        score=one.score,
        scores=one.scores,
        suspicion=chunk.suspicion,
        metadata=row["metadata"],
    )
