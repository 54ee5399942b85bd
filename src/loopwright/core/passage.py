"""What a search found: passages of documents, with their provenance and the scores that ranked them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from loopwright.core.privacy import Privacy
from loopwright.core.who import Principal


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A piece of a document, as a search found it."""

    id: int
    """Of the chunk."""
    collection: str
    document_id: int
    document: str
    """Name of the document in its collection: a path, a URL, the id of a record."""
    title: str
    text: str
    """As it stands in the document's text from `start` up to `end`."""
    heading: str = ""
    """The headings above it, joined by ` > `."""
    page: int | None = None
    """Where it begins, from 1; None where the format has no pages."""
    start: int = 0
    """Character of the document's text at which it begins."""
    end: int = 0
    """Character behind its last one."""
    score: float = 0.0
    """What it was ranked by last; comparable within one search only."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """What each stage gave it: `dense` (cosine), `lexical` (BM25), `fused`, `reranked`, and ranks `dense_rank`, …."""
    suspicion: float = 0.0
    """How much it reads like instructions to a model, 0 to 1."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Of its document."""

    def shown(self) -> dict[str, Any]:
        """As it is kept on record and sent: JSON."""
        return {
            "id": self.id,
            "collection": self.collection,
            "document_id": self.document_id,
            "document": self.document,
            "title": self.title,
            "heading": self.heading,
            "page": self.page,
            "start": self.start,
            "end": self.end,
            "score": round(self.score, 6),
            "scores": {name: round(value, 6) for name, value in self.scores.items()},
            "suspicion": round(self.suspicion, 3),
            "metadata": dict(self.metadata),
            "text": self.text,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is looked for."""

    text: str
    collections: Sequence[str]
    who: Principal
    """Whose project and access labels hold."""
    k: int = 8
    """Passages that are wanted."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """How to search: `mode`, `candidates`, `filter`, `rerank`, `diversity`, `rewrite`, …; what is not said is as the collection says."""
    labels: frozenset[str] | None = None
    """Narrows the labels of `who` further; None does not."""
    privacy: Privacy | None = None
    """The policy the text is under."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What came of it."""

    passages: Sequence[Passage]
    """The best first, at most `k`."""
    candidates: Sequence[Passage] = ()
    """All that were ranked, also those that were left out."""
    queries: Sequence[str] = ()
    """What was searched for in the end: the text, or what it was rewritten to."""
    took_us: Mapping[str, int] = field(default_factory=dict)
    """Microseconds of each stage: `embed`, `dense`, `lexical`, `fuse`, `rerank`, …."""
    warnings: Sequence[str] = ()
    """What was done without, and why: a model that should have rewritten the question did not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """How much what was found speaks to a question."""

    value: float | None
    """0 to 1, the higher the more likely the answer is in it; None where nothing was calibrated."""
    threshold: float | None
    """Below it the documents are taken to say nothing."""


class Weighing(Protocol):
    """Tells how much what was found speaks to a question."""

    async def __call__(self, query: Query, found: Found, /) -> Evidence:
        """By what was calibrated for the collections that were searched; raises nothing."""
        ...


class Search(Protocol):
    """Finds passages."""

    async def __call__(self, query: Query, /) -> Found:
        """Search.

        Raises:
            NotFound: there is no such collection in the project; names the nearest.
            Refused: the policy does not let the text reach the embedder.
            Unavailable: the database or the embedder cannot answer now.
        """
        ...
