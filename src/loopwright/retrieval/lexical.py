"""BM25 over the segments of a collection, exact whatever was added, merged and dropped meanwhile.

The formula is of Robertson and Zaragoza, The Probabilistic Relevance Framework (2009), with the idf of Lucene; bm25s
calls it `lucene`:

    score(q, c) = sum over words of q: ln(1 + (N - n + 0.5) / (n + 0.5)) * f / (f + k1 * (1 - b + b * |c| / mean))

N chunks, n of them with the word, f times in c of |c| words. All counts are of chunks whose documents are still there,
of the whole collection: what a caller may not find still says how rare a word is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loopwright.kit.db import Connection
from loopwright.retrieval.postings import Numbers, bucket_of, lookup
from loopwright.retrieval.segments import Head, Segment, living

K1: Final = 1.5
B: Final = 0.75
MOST_WORDS: Final = 256
"""Distinct words of a query that count: the first ones."""
_THREAD: Final = 20_000
"""Postings from which they are counted in a thread."""

Scores = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """What the words of a query are worth in each chunk of a collection."""

    chunks: Numbers
    """Ids, rising."""
    documents: Numbers
    scores: Scores
    """BM25 of each chunk."""
    whole: Scores
    """BM25 of the document that each chunk is of, as if it had never been cut."""
    rarities: Sequence[float]
    """The idf of each word of the query, those that occur nowhere too."""
    known: Sequence[bool]
    """Whether it occurs at all."""

    def mixed(self) -> Scores:
        """Half what the chunk says, half what its document says: a passage of a document that is about it is likelier.

        Cut into pieces, long texts rank worse by their best piece than whole; both together mend that.
        """
        # A chunk without any word of the query is no candidate, whatever else its document says.
        both: Scores = np.where(self.scores > 0, (self.scores + self.whole) / 2, 0.0)
        return both

    def best(self, most: int, among: Numbers | None = None, by: Scores | None = None) -> Numbers:
        """Places of the best chunks that have any word, best first, of the documents `among` alone."""
        scores = self.scores if by is None else by
        able = np.flatnonzero(scores > 0)
        if among is not None:
            able = able[np.isin(self.documents[able], among)]
        if len(able) > most:
            # All that are as good as the last one, so that which of them are taken is not by chance.
            least = np.partition(scores[able], len(able) - most)[len(able) - most]
            able = able[scores[able] >= least]
        order = np.lexsort((self.chunks[able], -scores[able]))
        return able[order][:most]

    def places(self, chunk_ids: Numbers) -> Numbers:
        """Where chunks stand; -1 for one that is not there."""
        at = np.searchsorted(self.chunks, chunk_ids)
        at[at == len(self.chunks)] = 0
        return np.where(self.chunks[at] == chunk_ids, at, -1) if len(self.chunks) else np.full(len(chunk_ids), -1)


async def weigh(
    connection: Connection,
    segments: Sequence[Segment],
    heads: Sequence[Head],
    words: Mapping[tuple[str, str | None], Sequence[int]],
    *,
    k1: float = K1,
    b: float = B,
) -> Weighed:
    """Score the words of a query, given for each kind of segment as hashes in one and the same order."""
    wanted = {(each.id, bucket_of(word, each.bits)) for each in segments for word in set(words[each.kind][:MOST_WORDS])}
    cursor = await connection.execute(
        b"select p.segment_id, p.bucket, p.body from collection_postings p"
        b" join unnest(%s::bigint[], %s::int[]) w (segment_id, bucket) using (segment_id, bucket)",
        ([segment for segment, _ in wanted], [bucket for _, bucket in wanted]),
        binary=True,
    )
    bodies = {(row["segment_id"], row["bucket"]): row["body"] for row in await cursor.fetchall()}
    counting = _Counting(segments, heads, words, bodies, k1, b)
    if sum(map(len, bodies.values())) > _THREAD:
        return await asyncio.to_thread(counting.weighed)
    return counting.weighed()


@dataclass(slots=True)
class _Counting:
    segments: Sequence[Segment]
    heads: Sequence[Head]
    words: Mapping[tuple[str, str | None], Sequence[int]]
    bodies: Mapping[tuple[int, int], bytes]
    k1: float
    b: float

    def weighed(self) -> Weighed:
        order, alive, chunks, documents, lengths = self._laid_out()
        count = int(alive.sum())
        mean = float(lengths[alive].sum()) / count if count else 1.0
        norms = self.k1 * (1 - self.b + self.b * lengths / max(mean, 1e-9))
        # Documents numbered from 0, and how long each is.
        _, owners = np.unique(documents, return_inverse=True)
        spans = np.bincount(owners[alive], weights=lengths[alive], minlength=int(owners.max(initial=-1)) + 1)
        there = int((spans > 0).sum())
        wide = self.k1 * (1 - self.b + self.b * spans / max(float(spans.sum()) / max(there, 1), 1e-9))
        scores, whole = np.zeros(len(chunks)), np.zeros(len(spans))
        rarities, known = [], []
        for numbers, times in self._postings():
            places = order[numbers]
            kept = alive[places]
            places, found = places[kept], times[kept].astype(np.float64)
            rarity = _rarity(count, len(places))
            scores[places] += rarity * found / (found + norms[places])
            holders, sums = _summed(owners[places], found)
            whole[holders] += _rarity(there, len(holders)) * sums / (sums + wide[holders])
            rarities.append(rarity)
            known.append(len(places) > 0)
        return Weighed(
            chunks=chunks,
            documents=documents,
            scores=scores,
            whole=np.where(alive, whole[owners], 0.0) if len(spans) else scores,
            rarities=rarities,
            known=known,
        )

    def _laid_out(self) -> tuple[Numbers, Mask, Numbers, Numbers, Numbers]:
        """(new place of each chunk of all segments one after the other, and by that: alive, ids, documents, lengths)."""
        none = np.empty(0, np.int64)
        alive = np.concatenate(
            [
                np.empty(0, np.bool_),
                *(living(head, each.dead) for head, each in zip(self.heads, self.segments, strict=True)),
            ]
        )
        chunks = np.concatenate([none, *(head.chunks for head in self.heads)])
        documents = np.concatenate([none, *(head.documents for head in self.heads)])
        lengths = np.concatenate([none, *(head.lengths for head in self.heads)])
        rising = np.argsort(chunks, kind="stable")
        order = np.empty(len(chunks), np.int64)
        order[rising] = np.arange(len(chunks))
        return order, alive[rising], chunks[rising], documents[rising], lengths[rising]

    def _postings(self) -> Sequence[tuple[Numbers, Numbers]]:
        """(chunks, times) of each word of the query over all segments, a word that comes twice twice."""
        longest = max((len(words) for words in self.words.values()), default=0)
        found: list[list[tuple[Numbers, Numbers]]] = [[] for _ in range(min(longest, MOST_WORDS))]
        before = 0
        for each, head in zip(self.segments, self.heads, strict=True):
            words = self.words[each.kind][:MOST_WORDS]
            rows: dict[int, list[int]] = {}
            for word in set(words):
                rows.setdefault(bucket_of(word, each.bits), []).append(word)
            here: dict[int, tuple[Numbers, Numbers]] = {}
            for bucket, asked in rows.items():
                body = self.bodies.get((each.id, bucket))
                if body is not None:
                    here |= lookup(body, asked)
            for at, word in enumerate(words):
                if word in here:
                    numbers, times = here[word]
                    found[at].append((numbers + before, times))
            before += len(head)
        none = np.empty(0, np.int64)
        return [
            (np.concatenate([none, *(one for one, _ in each)]), np.concatenate([none, *(two for _, two in each)]))
            for each in found
        ]


def _rarity(count: int, having: int) -> float:
    return float(np.log1p((count - having + 0.5) / (having + 0.5)))


def _summed(owners: Numbers, times: Scores) -> tuple[Numbers, Scores]:
    """(distinct owners, sum of times of each)."""
    if not len(owners):
        return owners, times
    distinct, which = np.unique(owners, return_inverse=True)
    return distinct, np.bincount(which, weights=times).astype(np.float64)
