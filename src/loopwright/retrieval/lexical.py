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
from loopwright.retrieval.layouts import Layout, Norms
from loopwright.retrieval.postings import Numbers, bucket_of, lookup
from loopwright.retrieval.segments import Kept, Segment

MOST_WORDS: Final = 256
"""Distinct words of a query that count: the first ones."""
_THREAD: Final = 200_000
"""Bytes of postings from which they are counted in a thread."""
_SUMS: Final = 300_000
"""Chunks with words, each counted, from which they are summed in a thread."""
_LEAST: Final = 5e-324
"""Above 0."""
_PILES: Final = 32
_BESIDE: Final = 500
"""Bytes of an entry beside what is in it."""

Scores = NDArray[np.float64]
Kind = tuple[str, str | None]
Word = tuple[int | None, ...]
"""As each kind of segment of a collection hashes it."""


@dataclass(frozen=True, slots=True)
class Worth:
    """What one word adds to the score of each chunk and each document that has it, under one layout: never anything else."""

    places: NDArray[np.int32]
    values: Scores
    rarity: float
    """Its idf among chunks."""
    owners: NDArray[np.int32]
    whole: Scores

    @property
    def size(self) -> int:
        """Bytes in memory."""
        apart = 0 if self.owners is self.places else self.owners.nbytes + self.whole.nbytes
        return _BESIDE + self.places.nbytes + self.values.nbytes + apart


Worths = Kept[tuple[tuple[tuple[int, int], ...], Word], Worth]
"""By the segments with how many of their documents are dead, which is a layout, and the word."""


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
        if self.whole is self.scores:
            return self.scores
        # A chunk without any word of the query is no candidate, whatever else its document says.
        both: Scores = np.where(self.scores > 0, (self.scores + self.whole) / 2, 0.0)
        return both

    def best(self, most: int, among: Numbers | None = None, by: Scores | None = None) -> Numbers:
        """Places of the best chunks that have any word, best first, of the places `among` alone."""
        scores = self.scores if by is None else by
        asked = scores if among is None else scores[among]
        able = np.flatnonzero(asked >= max(_low(asked, most), _LEAST))
        able = able if among is None else among[able]
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighing:
    """A query whose postings were read: what is left to do asks nobody."""

    layout: Layout
    asked: Sequence[Word]
    known: Mapping[Word, Worth]
    missing: Sequence[Word]
    counting: _Counting
    worths: Worths | None

    @property
    def long(self) -> bool:
        """Whether it takes so long that other requests should not wait for it."""
        known = sum(len(each.places) for each in self.known.values())
        return known > _SUMS or sum(map(len, self.counting.bodies.values())) > _THREAD

    async def weighed(self) -> Weighed:
        """The scores; in a thread where that takes long."""
        found, new = await asyncio.to_thread(self._weighed) if self.long else self._weighed()
        if self.worths is not None:
            key = _key(self.counting.segments)
            for word, worth in new.items():
                self.worths.keep((key, word), worth, worth.size)
        return found

    def _weighed(self) -> tuple[Weighed, Mapping[Word, Worth]]:
        new = dict(zip(self.missing, self.counting.worths(), strict=True)) if self.missing else {}
        every = {**self.known, **new}
        return _weighed(self.layout, [every[word] for word in self.asked]), new


async def weighing(
    connection: Connection,
    segments: Sequence[Segment],
    layout: Layout,
    words: Mapping[Kind, Sequence[int]],
    worths: Worths | None = None,
) -> Weighing:
    """Read what is needed to score the words of a query, given for each kind of segment as hashes in one and the same order.

    What is in `worths` of them is not read and counted again; what is not will be put there.
    """
    key, kinds = _key(segments), sorted(words, key=str)
    longest = min(max((len(each) for each in words.values()), default=0), MOST_WORDS)
    asked = [tuple(words[kind][at] if at < len(words[kind]) else None for kind in kinds) for at in range(longest)]
    known = {} if worths is None else {word: found for word in asked if (found := worths.get((key, word))) is not None}
    missing = [word for word in dict.fromkeys(asked) if word not in known]
    told = {kind: [word[at] for word in missing] for at, kind in enumerate(kinds)}
    bodies = await _bodies(connection, segments, told) if missing else {}
    return Weighing(
        layout=layout,
        asked=asked,
        known=known,
        missing=missing,
        counting=_Counting(segments, layout, told, bodies),
        worths=worths,
    )


def _key(segments: Sequence[Segment]) -> tuple[tuple[int, int], ...]:
    return tuple((each.id, len(each.dead)) for each in segments)


def _weighed(layout: Layout, worths: Sequence[Worth]) -> Weighed:
    scores = _summed([(each.places, each.values) for each in worths], len(layout.chunks))
    whole = scores
    if layout.owners is not None:
        documents = _summed([(each.owners, each.whole) for each in worths], len(layout.document_norms.values))
        whole = np.where(layout.alive, documents[layout.owners], 0.0)
    return Weighed(
        chunks=layout.chunks,
        documents=layout.documents,
        scores=scores,
        whole=whole,
        rarities=[each.rarity for each in worths],
        known=[len(each.places) > 0 for each in worths],
    )


def _low(scores: Scores, most: int) -> float:
    """A bound that at least the `most` best reach, not far below them: so few are left to be put in order."""
    width = len(scores) // _PILES
    if width < 4 * most:
        return 0.0
    # The best of each pile is reached by itself: so is the one of them that `most` are not below.
    tops = scores[: width * _PILES].reshape(_PILES, width).max(axis=0)
    return float(np.partition(tops, width - most)[width - most])


def _summed(parts: Sequence[tuple[NDArray[np.int32], Scores]], size: int) -> Scores:
    if not parts or not size:
        return np.zeros(size)
    # As wide as an address: `bincount` would make it so in a pass of its own.
    places = np.concatenate([places for places, _ in parts], dtype=np.intp)
    summed = np.bincount(places, weights=np.concatenate([values for _, values in parts]), minlength=size)
    return summed.astype(np.float64, copy=False)


async def _bodies(
    connection: Connection, segments: Sequence[Segment], words: Mapping[Kind, Sequence[int | None]]
) -> dict[tuple[int, int], bytes]:
    """Rows of postings by segment and bucket."""
    wanted = {
        (each.id, bucket_of(word, each.bits)) for each in segments for word in set(words[each.kind]) if word is not None
    }
    cursor = await connection.execute(
        b"select p.segment_id, p.bucket, p.body from collection_postings p"
        b" join unnest(%s::bigint[], %s::int[]) w (segment_id, bucket) using (segment_id, bucket)",
        ([segment for segment, _ in wanted], [bucket for _, bucket in wanted]),
        binary=True,
    )
    return {(row["segment_id"], row["bucket"]): row["body"] for row in await cursor.fetchall()}


@dataclass(slots=True)
class _Counting:
    segments: Sequence[Segment]
    layout: Layout
    words: Mapping[Kind, Sequence[int | None]]
    bodies: Mapping[tuple[int, int], bytes]

    def worths(self) -> list[Worth]:
        """Of each word, in order."""
        layout, postings = self.layout, []
        for numbers, times in self._postings():
            at, often = layout.order[numbers], times.astype(np.float64)
            kept = slice(None) if layout.whole else layout.alive[at]
            postings.append((at[kept], often[kept]))
        chunks = [_worth(each, layout.norms) for each in postings]
        if layout.owners is None:
            return [Worth(places, values, rarity, places, values) for places, values, rarity in chunks]
        found, size = [], len(layout.document_norms.values)
        for (places, values, rarity), (those, often) in zip(chunks, postings, strict=True):
            sums = np.bincount(layout.owners[those], weights=often, minlength=size).astype(np.float64)
            held = np.flatnonzero(sums).astype(np.int64)
            owners, whole, _ = _worth((held, sums[held]), layout.document_norms)
            found.append(Worth(places, values, rarity, owners, whole))
        return found

    def _postings(self) -> Sequence[tuple[Numbers, NDArray[np.uint32]]]:
        """(chunks, times) of each word over all segments."""
        longest = max((len(words) for words in self.words.values()), default=0)
        found: list[list[tuple[Numbers, NDArray[np.uint32]]]] = [[] for _ in range(longest)]
        before = 0
        for each in self.segments:
            words = self.words[each.kind]
            rows: dict[int, list[int]] = {}
            for wanted in {word for word in words if word is not None}:
                rows.setdefault(bucket_of(wanted, each.bits), []).append(wanted)
            here: dict[int, tuple[Numbers, NDArray[np.uint32]]] = {}
            for bucket, asked in rows.items():
                body = self.bodies.get((each.id, bucket))
                if body is not None:
                    here |= lookup(body, asked)
            for at, word in enumerate(words):
                if word is not None and word in here:
                    numbers, times = here[word]
                    found[at].append((numbers + before if before else numbers, times))
            before += each.chunks
        return [_joined(each) for each in found]


def _joined(parts: Sequence[tuple[Numbers, NDArray[np.uint32]]]) -> tuple[Numbers, NDArray[np.uint32]]:
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return np.empty(0, np.int64), np.empty(0, np.uint32)
    return np.concatenate([numbers for numbers, _ in parts]), np.concatenate([times for _, times in parts])


def _worth(posting: tuple[Numbers, Scores], norms: Norms) -> tuple[NDArray[np.int32], Scores, float]:
    """(places, what a word adds at each, its idf) among texts."""
    places, times = posting
    rarity = _rarity(norms.count, len(places))
    below = norms.values[places]
    below += times
    return places.astype(np.int32), np.divide(rarity * times, below, out=below), rarity


def _rarity(count: int, having: int) -> float:
    return float(np.log1p((count - having + 0.5) / (having + 0.5)))
