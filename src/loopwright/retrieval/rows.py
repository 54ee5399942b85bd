"""Collections, documents and chunks as rows of the database, and how their texts are sealed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import zstandard

from loopwright.kit.seal import Seal
from loopwright.retrieval.collection import Chunk, Chunking, Collection, Content, Document

COLLECTION: Final = """
    select c.*, e.model as embedder, e.dimensions
    from collections c join collection_embeddings e on e.id = c.embedding_id
"""
"""Of a `collection_of`."""
DOCUMENT: Final = """
    select d.*, i.id is not null as changing
    from collection_documents d left join collection_intake i on i.document_id = d.id
"""
"""Of a `document_of`."""
VISIBLE: Final = "(d.labels = '{}' or %(seen)s::text[] is null or d.labels && %(seen)s::text[])"
"""What a key with the labels `seen` may see of `collection_documents d`; null is everything."""
_LARGEST: Final = 1 << 30


def collection_of(row: Mapping[str, Any]) -> Collection:
    """A collection of a row of COLLECTION."""
    return Collection(
        id=row["id"],
        project_id=row["project_id"],
        name=row["name"],
        description=row["description"],
        embedder=row["embedder"],
        embedding_id=row["embedding_id"],
        dimensions=row["dimensions"],
        chunking=Chunking(**row["chunking"]),
        search=row["search"],
        version=row["version"],
        documents=row["documents"],
        chunks=row["chunks"],
        created_at=row["created_at"],
    )


def document_of(row: Mapping[str, Any], seal: Seal) -> Document:
    """A document of a row of DOCUMENT.

    Raises:
        Sealed: its key is not here.
    """
    return Document(
        id=row["id"],
        collection_id=row["collection_id"],
        name=row["name"],
        title=opened_title(row["title"], row["id"], seal),
        origin=row["origin"],
        media_type=row["media_type"],
        state=row["state"],
        waiting=row["changing"],
        reason=row["reason"],
        refused=None if row["refused"] is None else bytes(row["refused"]).hex(),
        sha=bytes(row["sha"]).hex(),
        size=row["size"],
        pages=row["pages"],
        chunks=row["chunks"],
        labels=tuple(row["labels"]),
        metadata=row["metadata"],
        author=row["author"],
        added=row["added"],
        changed_at=row["changed_at"],
    )


# ---- texts ----


def sealed_title(title: str, document_id: int, seal: Seal) -> bytes:
    """The title of a document, as it is kept apart from its text: lists show it."""
    return seal.seal(title.encode("utf-8", "replace"), about_title(document_id))


def opened_title(stored: bytes, document_id: int, seal: Seal) -> str:
    """The title of a document.

    Raises:
        Sealed: its key is not here.
    """
    return seal.open(bytes(stored), about_title(document_id)).decode() if stored else ""


def sealed_content(content: Content, document_id: int, seal: Seal) -> bytes:
    """What a document says, as it is kept."""
    packed = msgspec.msgpack.encode([content.title, content.text, [*content.breaks]])
    return seal.seal(zstandard.compress(packed, 3), about_document(document_id))


def opened_content(stored: bytes, document_id: int, seal: Seal) -> Content:
    """What a document says.

    Raises:
        Sealed: its key is not here.
    """
    packed = zstandard.decompress(seal.open(bytes(stored), about_document(document_id)), max_output_size=_LARGEST)
    title, text, breaks = msgspec.msgpack.decode(packed)
    return Content(title=title, text=text, breaks=breaks)


def sealed_chunk(heading: str, text: str, document_id: int, position: int, seal: Seal) -> bytes:
    """A chunk's heading and text, as they are kept."""
    return seal.seal(msgspec.msgpack.encode([heading, text]), about_chunk(document_id, position))


def chunk_of(row: Mapping[str, Any], seal: Seal, vector: Sequence[float] = ()) -> Chunk:
    """A chunk of its row.

    Raises:
        Sealed: its key is not here.
    """
    place = about_chunk(row["document_id"], row["position"])
    heading, text = msgspec.msgpack.decode(seal.open(bytes(row["content"]), place))
    return Chunk(
        id=row["id"],
        document_id=row["document_id"],
        position=row["position"],
        text=text,
        heading=heading,
        page=row["page"],
        start=row["start"],
        end=row["end"],
        suspicion=row["suspicion"],
        vector=vector,
    )


def about_title(document_id: int) -> bytes:
    """What the title of a document is bound to."""
    return b"collection_documents.title %d" % document_id


def about_document(document_id: int) -> bytes:
    """What the text of a document is bound to."""
    return b"collection_documents.content %d" % document_id


def about_chunk(document_id: int, position: int) -> bytes:
    """What the text of a chunk is bound to."""
    return b"collection_chunks.content %d %d" % (document_id, position)


def about_told(document_id: int) -> bytes:
    """What the waiting bytes of a document are bound to."""
    return b"collection_intake.told %d" % document_id


def about_evaluation(evaluation_id: int) -> bytes:
    """What the queries of an evaluation are bound to."""
    return b"collection_evaluations.details %d" % evaluation_id
