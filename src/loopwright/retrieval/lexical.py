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
from loopwright.retrieval.segments import Layout, Segment

K1: Final = 1.5
B: Final = 0.75
MOST_WORDS: Final = 256
"""Distinct words of a query that count: the first ones."""
_THREAD: Final = 20_000
"""Postings from which they are counted in a thread."""

Scores = NDArray[np.float64]


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
    layout: Layout,
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
    counting = _Counting(segments, layout, words, bodies, k1, b)
    if sum(map(len, bodies.values())) > _THREAD:
        return await asyncio.to_thread(counting.weighed)
    return counting.weighed()


@dataclass(slots=True)
class _Counting:
    segments: Sequence[Segment]
    layout: Layout
    words: Mapping[tuple[str, str | None], Sequence[int]]
    bodies: Mapping[tuple[int, int], bytes]
    k1: float
    b: float

    def weighed(self) -> Weighed:
        layout, alive = self.layout, self.layout.alive
        postings = []
        for numbers, times in self._postings():
            places = layout.order[numbers]
            kept = alive[places]
            postings.append((places[kept], times[kept].astype(np.float64)))
        lengths = np.where(alive, layout.lengths, 0).astype(np.float64)
        scores, rarities = self._scored(postings, lengths, int(alive.sum()))
        whole = scores
        if layout.owners is not None:
            size = int(layout.owners.max(initial=-1)) + 1
            spans = np.bincount(layout.owners, weights=lengths, minlength=size).astype(np.float64)
            joined = [(layout.owners[places], times) for places, times in postings]
            sums = [np.bincount(owners, weights=times, minlength=size).astype(np.float64) for owners, times in joined]
            held: list[Numbers] = [np.flatnonzero(each).astype(np.int64) for each in sums]
            documents, _ = self._scored(
                [(places, each[places]) for places, each in zip(held, sums, strict=True)], spans, int((spans > 0).sum())
            )
            whole = np.where(alive, documents[layout.owners], 0.0)
        return Weighed(
            chunks=layout.chunks,
            documents=layout.documents,
            scores=scores,
            whole=whole,
            rarities=rarities,
            known=[len(places) > 0 for places, _ in postings],
        )

    def _scored(
        self, postings: Sequence[tuple[Numbers, Scores]], lengths: Scores, count: int
    ) -> tuple[Scores, list[float]]:
        """(BM25 of each place, idf of each word), of `count` texts of these lengths; 0 is of one that is gone."""
        mean = float(lengths.sum()) / count if count else 1.0
        scores, rarities = np.zeros(len(lengths)), []
        for places, times in postings:
            rarity = _rarity(count, len(places))
            norms = self.k1 * (1 - self.b + self.b * lengths[places] / max(mean, 1e-9))
            scores[places] += rarity * times / (times + norms)
            rarities.append(rarity)
        return scores, rarities

    def _postings(self) -> Sequence[tuple[Numbers, Numbers]]:
        """(chunks, times) of each word of the query over all segments, a word that comes twice twice."""
        longest = max((len(words) for words in self.words.values()), default=0)
        found: list[list[tuple[Numbers, Numbers]]] = [[] for _ in range(min(longest, MOST_WORDS))]
        before = 0
        for each in self.segments:
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
            before += each.chunks
        none = np.empty(0, np.int64)
        return [
            (np.concatenate([none, *(one for one, _ in each)]), np.concatenate([none, *(two for _, two in each)]))
            for each in found
        ]


def _rarity(count: int, having: int) -> float:
    return float(np.log1p((count - having + 0.5) / (having + 0.5)))
