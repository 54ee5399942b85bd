"""The words of a collection: what it holds, in which state, under which settings. Frozen."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, Self, get_args

from loopwright.core.errors import BadRequest

State = Literal["waiting", "ready", "failed"]
"""waiting: taken, not read yet. ready: can be found. failed: `reason` says why, and nothing of it can be found."""
Origin = Literal["file", "url", "record"]
By = Literal["recursive", "headings", "sentences"]
STATES: Final[tuple[State, ...]] = get_args(State)
_BY: Final[tuple[By, ...]] = get_args(By)
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")
_LEAST, _MOST = 16, 8_000
"""Tokens of a piece."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunking:
    """How documents are cut."""

    by: By = "recursive"
    """At the largest boundary that fits; at headings first; whole sentences. Tables stay whole where they fit."""
    tokens: int = 200
    """Of a piece at most, as its embedder counts them."""
    overlap: int = 20
    """Tokens that a piece repeats of the one before."""

    @classmethod
    def of(cls, given: Mapping[str, Any], base: Chunking | None = None) -> Self:
        """Settings by name; what is not named is as in `base`.

        Raises:
            BadRequest: an unknown name or a value that makes no sense.
        """
        kept = base or cls()
        if unknown := given.keys() - {"by", "tokens", "overlap"}:
            raise BadRequest(f"chunking: {min(unknown)[:40]!r} is none of by, tokens, overlap", param="chunking")
        by = given.get("by", kept.by)
        if by not in _BY:
            raise BadRequest(f"chunking.by: one of {', '.join(_BY)}", param="chunking")
        tokens, overlap = given.get("tokens", kept.tokens), given.get("overlap", kept.overlap)
        for name, value in (("tokens", tokens), ("overlap", overlap)):
            if not isinstance(value, int) or isinstance(value, bool):
                raise BadRequest(f"chunking.{name}: a whole number", param="chunking")
        if not _LEAST <= tokens <= _MOST:
            raise BadRequest(f"chunking.tokens: from {_LEAST} to {_MOST:,}", param="chunking")
        if not 0 <= overlap <= tokens // 2:
            raise BadRequest("chunking.overlap: from 0 to half of chunking.tokens", param="chunking")
        return cls(by=by, tokens=tokens, overlap=overlap)

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {"by": self.by, "tokens": self.tokens, "overlap": self.overlap}


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

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "id": self.id,
            "name": self.name,
            "project_id": self.project_id,
            "description": self.description,
            "embedder": self.embedder,
            "dimensions": self.dimensions,
            "chunking": self.chunking.shown(),
            "search": dict(self.search),
            "version": self.version,
            "documents": self.documents,
            "chunks": self.chunks,
            "created_at": self.created_at,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document of a collection."""

    id: int
    collection_id: int
    name: str
    title: str
    origin: Origin
    media_type: str
    state: State
    waiting: bool
    """Something newer of it waits to be read; what can be found is as before until then."""
    reason: str
    """Why it failed, what was left out of it, or why a newer form of it could not be read."""
    refused: str | None
    """SHA-256 of a newer form that could not be read, in hex; what can be found is as it was before that."""
    sha: str
    """SHA-256 of its bytes, in hex."""
    size: int
    """Bytes."""
    pages: int | None
    chunks: int
    labels: Sequence[str]
    """Who may find it: keys with one of these labels; empty is everybody of the project."""
    metadata: Mapping[str, Any]
    author: str
    """Name of the key that brought it."""
    added: int
    """The version of the collection it came with."""
    changed_at: datetime

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            **{name: getattr(self, name) for name in self.__slots__ if name != "collection_id"},
            "labels": [*self.labels],
            "metadata": dict(self.metadata),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a document says."""

    title: str
    text: str
    breaks: Sequence[int] = ()
    """Characters at which its pages begin; empty where it has none."""


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


def check_name(name: str) -> str:
    """A name that a collection may have.

    Raises:
        BadRequest: another.
    """
    if _NAME.fullmatch(name) is None:
        raise BadRequest(
            f"{name[:100]!r} is no name of a collection: letters, digits, and . _ - between them, 100 at most",
            param="name",
        )
    return name
