"""How the chunks of a collection lie: those of all its segments as one, with what their lengths mean to BM25.

Heads never change, so a process keeps those it has read, and the layouts made of them, as many as fit into some bytes:
numbers, no texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loopwright.kit.db import Connection
from loopwright.retrieval.postings import Numbers
from loopwright.retrieval.segments import Head, Kept, Segment, living

K1: Final = 1.5
B: Final = 0.75
Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Norms:
    """What the lengths of texts take off the worth of a word: `k1 * (1 - b + b * length / mean)` of each."""

    values: Scores
    count: int
    """Texts that are still there."""

    @classmethod
    def of(cls, lengths: Scores, count: int) -> Norms:
        """Of the lengths of texts, 0 of those that are gone, and how many there are."""
        mean = float(lengths.sum()) / count if count else 1.0
        return cls(K1 * (1 - B + B * lengths / max(mean, 1e-9)), count)


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Layout:
    """The chunks of all segments of a collection as one, by rising ids."""

    order: Numbers
    """The place of each chunk of the segments, one segment after the other."""
    alive: NDArray[np.bool_]
    """Whether the chunk at a place is of a document that is still there."""
    whole: bool
    """All of them are."""
    chunks: Numbers
    documents: Numbers
    norms: Norms
    """Of the chunks."""
    owners: Numbers | None
    """The document of each, numbered from 0; None where every document is one chunk."""
    document_norms: Norms
    """Of the documents by these numbers."""

    @property
    def size(self) -> int:
        """Bytes in memory."""
        apart = 0 if self.owners is None else 8 * len(self.document_norms.values)
        return 41 * len(self.chunks) + apart

    @classmethod
    def of(cls, segments: Sequence[Segment], heads: Sequence[Head]) -> Layout:
        """Of segments with their heads."""
        none = np.empty(0, np.int64)
        chunks = np.concatenate([none, *(head.chunks for head in heads)])
        rising = np.argsort(chunks, kind="stable")
        order = np.empty(len(chunks), np.int64)
        order[rising] = np.arange(len(chunks))
        documents = np.concatenate([none, *(head.documents for head in heads)])[rising]
        distinct, owners = np.unique(documents, return_inverse=True)
        parts = [living(head, each.dead) for head, each in zip(heads, segments, strict=True)]
        alive = np.concatenate([np.empty(0, np.bool_), *parts])[rising]
        all_lengths = np.concatenate([none, *(head.lengths for head in heads)])[rising]
        lengths = np.where(alive, all_lengths, 0).astype(np.float64)
        norms, apart = Norms.of(lengths, int(alive.sum())), len(distinct) < len(documents)
        spans = np.bincount(owners, weights=lengths, minlength=len(distinct)).astype(np.float64) if apart else lengths
        return cls(
            order=order,
            alive=alive,
            whole=bool(alive.all()),
            chunks=chunks[rising],
            documents=documents,
            norms=norms,
            owners=owners.astype(np.int64) if apart else None,
            document_norms=Norms.of(spans, int((spans > 0).sum())) if apart else norms,
        )


class Layouts:
    """Of the collections that this process searches. For one thread."""

    def __init__(self, most: int) -> None:
        """`most`: bytes, and half as many for heads."""
        self._heads: Kept[int, Head] = Kept(most // 2)
        self._layouts: Kept[tuple[tuple[int, int], ...], Layout] = Kept(most)

    async def of(self, connection: Connection, segments: Sequence[Segment]) -> Layout:
        """How their chunks lie. Nothing of a segment changes but how many of its documents are dead."""
        key = tuple((each.id, len(each.dead)) for each in segments)
        found = self._layouts.get(key)
        if found is None:
            heads = await self._heads_of(connection, [each.id for each in segments])
            found = Layout.of(segments, heads)
            self._layouts.keep(key, found, found.size)
        return found

    async def _heads_of(self, connection: Connection, ids: Sequence[int]) -> list[Head]:
        found = {each: head for each in ids if (head := self._heads.get(each)) is not None}
        missing = [each for each in ids if each not in found]
        if missing:
            cursor = await connection.execute(
                b"select id, head from collection_segments where id = any(%s)", (missing,), binary=True
            )
            for row in await cursor.fetchall():
                head = found[row["id"]] = Head.of(row["head"])
                self._heads.keep(row["id"], head, head.size)
        return [found[each] for each in ids]
