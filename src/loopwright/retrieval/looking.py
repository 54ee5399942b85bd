"""Looks into one collection, within one snapshot of the database: both lists of candidates, both scores of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from loopwright.kit.db import Connection
from loopwright.retrieval.collection import Collection
from loopwright.retrieval.held import Held, Left
from loopwright.retrieval.index import Index
from loopwright.retrieval.layouts import Layout
from loopwright.retrieval.lexical import Weighed, Weighing, weighing
from loopwright.retrieval.nearest import WALKED, WIDEST, WIDTH, Generation, Near, Rows, Vector, cosines, nearest
from loopwright.retrieval.options import Options
from loopwright.retrieval.postings import Numbers
from loopwright.retrieval.restriction import Restriction
from loopwright.retrieval.segments import Segment, segment_of_row
from loopwright.retrieval.vectors import index_of

_STEP: Final = 4
"""Candidates of a list that are asked about at once, by how many are wanted; then four times as many."""
Scores = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(slots=True)
class Clock:
    """Microseconds of each stage."""

    took: dict[str, int] = field(default_factory=dict)
    _begun: int = field(default_factory=time.perf_counter_ns)

    def lap(self, stage: str) -> None:
        """What went by since the last stage was this one."""
        now = time.perf_counter_ns()
        self.took[stage] = self.took.get(stage, 0) + (now - self._begun) // 1000
        self._begun = now


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The candidates of one question in one collection, in the order of their ids."""

    collection: Collection
    chunks: Numbers
    dense: Scores
    """Cosines; NaN where a chunk has no vector, or none was asked for."""
    words: Scores
    """What the list of words is ranked by: BM25, in `hybrid` with that of the whole document."""
    bm25: Scores
    whole: Scores
    best_dense: Scores
    """Of the list of the nearest, highest first."""
    best_words: Scores


@dataclass(frozen=True, slots=True)
class _Listed:
    """The list of words."""

    weighed: Weighed
    ranked: Scores
    """What it is ranked by, at each place."""
    places: Numbers
    """Of the best that may be found."""

    @property
    def chunks(self) -> Numbers:
        """Their ids."""
        return self.weighed.chunks[self.places]

    @classmethod
    def nothing(cls) -> _Listed:
        """Of a search that knows no words."""
        none, zero = np.empty(0, np.int64), np.empty(0)
        weighed = Weighed(chunks=none, documents=none, scores=zero, whole=zero, rarities=(), known=())
        return cls(weighed, zero, none)


@dataclass(frozen=True, slots=True, kw_only=True)
class Looking:
    """One collection as it is in a snapshot, and what of it may be found."""

    connection: Connection
    index: Index
    collection: Collection
    generation: Generation
    segments: Sequence[Segment]
    options: Options
    restriction: Restriction
    held: Held
    left: Left | None
    """What the restriction leaves, where that is known and little."""
    clock: Clock

    async def look(self, text: str, vector: Vector | None) -> Seen:
        """What one question finds."""
        near, rows = Near(np.empty(0, np.int64), np.empty(0)), None
        layout, scoring, listed = None, None, None
        if self.options.mode != "dense":
            layout = await self.index.layouts.of(self.connection, self.segments)
            weighing = await self._weighing(text, layout)
            if vector is not None and weighing.long:
                # The connection is free again: words are scored here while PostgreSQL looks for the nearest.
                scoring = asyncio.ensure_future(weighing.weighed())
            else:
                listed = await self._listed(await weighing.weighed(), layout)
            self.clock.lap("lexical")
        if vector is not None:
            try:
                rows = await self._rows()
                near = await self._nearest(vector, rows, listed)
            except BaseException:
                if scoring is not None:
                    scoring.cancel()
                raise
            self.clock.lap("dense")
        if scoring is not None and layout is not None:
            listed = await self._listed(await scoring, layout)
            self.clock.lap("lexical")
        told = _Listed.nothing() if listed is None else listed
        chunks = np.union1d(near.chunks, told.chunks)
        dense = np.full(len(chunks), np.nan)
        dense[np.searchsorted(chunks, near.chunks)] = near.cosines
        if vector is not None and np.isnan(dense).any():
            await self._completed(chunks, dense, vector, rows, near.others)
            self.clock.lap("dense")
        weighed, places = told.weighed, told.weighed.places(chunks)
        return Seen(
            collection=self.collection,
            chunks=chunks,
            dense=dense,
            words=_at(told.ranked, places),
            bm25=_at(weighed.scores, places),
            whole=_at(weighed.whole, places),
            best_dense=near.cosines,
            best_words=told.ranked[told.places],
        )

    async def _listed(self, weighed: Weighed, layout: Layout) -> _Listed:
        """The list of words."""
        ranked = weighed.mixed() if self.options.mode == "hybrid" else weighed.scores
        return _Listed(weighed, ranked, await self._allowed(weighed, ranked, layout))

    async def _rows(self) -> Rows | None:
        """Vectors of all that may be found, where this process holds them."""
        if self.left is None:
            return None
        return await self.held.near(self.connection, self.generation, self.restriction, self.left)

    async def _nearest(self, vector: Vector, rows: Rows | None, listed: _Listed | None) -> Near:
        most = self.options.candidates
        if rows is not None:
            return rows.nearest(vector, most)
        few = None if self.left is None else self.left.few
        others = None if listed is None else listed.chunks
        return await nearest(self.connection, self.generation, vector, most, self.restriction, few, others)

    async def _completed(
        self, chunks: Numbers, dense: Scores, vector: Vector, rows: Rows | None, told: Mapping[int, float]
    ) -> None:
        """The cosines of what only the list of words has, where they were not `told` already."""
        missing = chunks[np.isnan(dense)]
        if told:
            found = told
        elif rows is not None:
            found = rows.cosines(vector, missing)
        else:
            found = await cosines(self.connection, self.generation, vector, missing)
        for at in np.flatnonzero(np.isnan(dense)).tolist():
            dense[at] = found.get(int(chunks[at]), np.nan)

    async def _weighing(self, text: str, layout: Layout) -> Weighing:
        words = {kind: self.index.analyzer(*kind).hashes(text) for kind in {each.kind for each in self.segments}}
        return await weighing(self.connection, self.segments, layout, words, self.held.worths)

    async def _allowed(self, weighed: Weighed, ranked: Scores, layout: Layout) -> Numbers:
        """Places of the best by words that may be found."""
        most = self.options.candidates
        if self.restriction.none:
            return weighed.best(most, by=ranked)
        if self.left is not None:
            return weighed.best(most, self.left.places(layout), by=ranked)
        found: list[int] = []
        seen, step = 0, most * _STEP
        while len(found) < most:
            order = weighed.best(step, by=ranked)
            asked = order[seen:]
            may = await self._may(weighed.documents[asked])
            found += asked[np.isin(weighed.documents[asked], may)].tolist()
            if len(order) < step:
                break
            seen, step = len(order), step * _STEP
        return np.array(found[:most], dtype=np.int64)

    async def _may(self, documents: Numbers) -> Numbers:
        """Those of some documents that may be found."""
        cursor = await self.connection.execute(
            f"select string_agg(int8send(d.id), ''::bytea) as ids from collection_documents d"  # noqa: S608 - parameters only
            f" where d.id = any(%(asked)s::bigint[]) and {self.restriction.sql}".encode(),
            {"asked": np.unique(documents).tolist(), **self.restriction.params},
            binary=True,
        )
        row = await cursor.fetchone()
        return np.frombuffer((row or {}).get("ids") or b"", dtype=">i8").astype(np.int64)


async def opened(
    connection: Connection, collection_id: int, width: int = WIDTH
) -> tuple[Generation, Sequence[Segment]] | None:
    """The vectors and the segments of a collection as they are now; None when it is gone.

    From then on, until the transaction ends, an index of vectors keeps `width` candidates while it looks.
    """
    cursor = await connection.execute(
        f"with head as materialized (select e.id as embedding_id, e.model, e.dimensions, c.chunks as all, c.version || '/' || c.xmin as version,"  # noqa: S608 - names and numbers of ours
        f" exists (select 1 from pg_class k join pg_index i on i.indexrelid = k.oid where k.relname = '{index_of()}' || e.id"
        f" and pg_table_is_visible(k.oid) and i.indisvalid) as indexed,"
        f" set_config('hnsw.ef_search', %(width)s, true), set_config('hnsw.iterative_scan', 'relaxed_order', true),"
        f" set_config('hnsw.max_scan_tuples', '{WALKED}', true)"
        f" from collections c join collection_embeddings e on e.id = c.embedding_id where c.id = %(id)s)"
        f" select head.embedding_id, head.model, head.dimensions, head.all, head.version, head.indexed,"
        f" s.id, s.chunks, s.bits, s.language, s.hashed_by, s.dead"
        f" from head left join collection_segments s on s.collection_id = %(id)s order by s.id".encode(),
        {"id": collection_id, "width": str(min(width, WIDEST))},
        binary=True,
    )
    rows = await cursor.fetchall()
    if not rows:
        return None
    generation = Generation(
        id=rows[0]["embedding_id"],
        model=rows[0]["model"],
        dimensions=rows[0]["dimensions"],
        chunks=rows[0]["all"],
        indexed=rows[0]["indexed"],
        version=rows[0]["version"],
    )
    return generation, [segment_of_row(row) for row in rows if row["id"] is not None]


def _at(values: Scores, places: Numbers) -> Scores:
    """0 where there is no place: a chunk that has none of the words, or is too new to be counted."""
    if not len(values):
        return np.zeros(len(places))
    found: Scores = np.where(places >= 0, values[np.maximum(places, 0)], 0.0)
    return found


def questions(text: str, others: Sequence[str]) -> list[str]:
    """What is searched for: the text first, each once."""
    return list(dict.fromkeys([text, *(other for other in others if other.strip())]))
