"""The words of a collection: what it holds, in which state, under which settings. Frozen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

State = Literal["waiting", "ready", "failed"]
"""waiting: taken, not read yet. ready: can be found. failed: `reason` says why, and nothing of it can be found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunking:
    """How documents are cut."""

    by: Literal["recursive", "headings", "sentences"] = "recursive"
    """At the largest boundary that fits; at headings first; whole sentences. Tables stay whole where they fit."""
    tokens: int = 200
    """Of a piece at most, as its embedder counts them."""
    overlap: int = 20
    """Tokens that a piece repeats of the one before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """A set of documents that is searched as one."""

    id: int
    project_id: int
    name: str
    description: str
    embedder: str
    """The model its vectors come from; another one means embedding everything anew."""
    embedding_id: int
    """The generation of vectors that is searched."""
    dimensions: int | None
    """Of its vectors; None until the first came."""
    chunking: Chunking
    search: Mapping[str, Any]
    """Options that hold where a query says nothing."""
    version: int
    """Goes up with every change to what can be found."""
    documents: int
    chunks: int
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document of a collection."""

    id: int
    collection_id: int
    name: str
    title: str
    media_type: str
    state: State
    reason: str
    """Why it failed, or what was left out of it."""
    sha: str
    """SHA-256 of its bytes, in hex."""
    size: int
    """Bytes."""
    pages: int | None
    chunks: int
    labels: Sequence[str]
    """Who may find it: keys with one of these labels; empty is everybody of the project."""
    metadata: Mapping[str, Any]
    added: int
    """The version of the collection it came with."""
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of a document as it is stored and indexed."""

    id: int
    document_id: int
    position: int
    text: str
    heading: str
    page: int | None
    start: int
    end: int
    suspicion: float = 0.0
    vector: Sequence[float] = field(default=(), repr=False)
    """Of unit length."""
