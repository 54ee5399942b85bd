"""Calibrates how much evidence is enough for an answer, of each collection; weighs what searches found by that.

A calibration belongs to a collection and the generation of its vectors: embedded anew, it is calibrated anew.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeVar

import numpy as np
from psycopg.types.json import Jsonb

from loopwright.core.errors import BadRequest, LoopwrightError
from loopwright.core.passage import Evidence, Found, Passage, Query, Search
from loopwright.core.privacy import Privacy
from loopwright.core.who import Principal
from loopwright.kit.db import Database
from loopwright.kit.seal import PLAIN, Seal
from loopwright.retrieval.collection import Collection
from loopwright.retrieval.evidence import GENERIC, LEAST, Fit, figures, fit_of, fitted
from loopwright.retrieval.known_items import ELSEWHERE, Excerpt, KnownItem, known_items
from loopwright.retrieval.reading import Reading
from loopwright.retrieval.rows import chunk_of

_HELD: Final = 20.0
"""Seconds a worker goes by a calibration that it read."""
_MOST: Final = 10_000
"""Collections whose calibration is remembered."""
_QUESTIONS: Final = 120
_AT_ONCE: Final = 4
_FEW: Final = 5
"""Documents from which on a question counts as unanswered without its document; with fewer, without its surroundings."""
_AROUND: Final = 1_500
"""Characters round a chunk that speak of the same."""
_K: Final = 20
_PLAINLY: Final[Mapping[str, Any]] = {"mode": "hybrid", "rerank": False, "rewrite": False, "diversity": 0}
_CHANGED: Final = 0.25
"""Of its chunks: a collection that changed by so much is calibrated anew."""
_DEFAULT: Final = "minilm"
T = TypeVar("T")
U = TypeVar("U")
_log = logging.getLogger(__name__)
PolicyOf = Callable[[int, str], Awaitable[Privacy | None]]
"""The policy that a project's texts are under before a model (by name) that embeds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question of somebody's own, for calibration."""

    query: str
    answered: bool
    """Whether the documents hold the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What was fitted to a collection."""

    source: Literal["own", "file"]
    """Of its own texts, or of questions that somebody labelled."""
    fits: Mapping[str, Fit]
    """By mode."""
    queries: int
    documents: int
    chunks: int
    made_at: datetime | None = None

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "source": self.source,
            "modes": {mode: fit.shown() for mode, fit in self.fits.items()},
            "queries": self.queries,
            "documents": self.documents,
            "chunks": self.chunks,
            "made_at": None if self.made_at is None else self.made_at.isoformat(),
        }


class Calibrations:
    """Of all collections. Methods raise `Unavailable` while the database cannot answer, but weighing never does."""

    def __init__(self, db: Database, search: Search, seal: Seal = PLAIN) -> None:
        self.db = db
        self.search = search
        self._seal = seal
        self._reading = Reading(db, seal)
        self._held: dict[tuple[int, str], tuple[float, Mapping[str, Fit], str]] = {}

    # ---- weighing ----

    async def __call__(self, query: Query, found: Found, /) -> Evidence:
        """See `core.passage.Weighing`."""
        best = Evidence(value=None, threshold=None)
        lead = float("-inf")
        candidates = found.candidates or found.passages
        for name in query.collections:
            mine = [each for each in candidates if each.collection == name]
            fit = await self._fit(query, name)
            if fit is None:
                continue
            value = fit.value(*figures(query.text, mine)) if mine else 0.0
            if value - fit.threshold > lead:
                lead, best = value - fit.threshold, Evidence(value=value, threshold=fit.threshold)
        return best

    async def _fit(self, query: Query, name: str) -> Fit | None:
        key = (query.who.project_id, name)
        held = self._held.get(key)
        if held is None or held[0] < time.monotonic():
            try:
                collection = await self._reading.get(*key)
                known = await self.find(collection)
            except LoopwrightError as error:
                _log.warning("evidence in collection %s cannot be weighed: %s", name, error.message)
                return None
            fits = _generic(collection) if known is None else known.fits
            if len(self._held) >= _MOST:
                self._held.clear()
            mode = collection.search.get("mode")
            held = self._held[key] = (time.monotonic() + _HELD, fits, mode if isinstance(mode, str) else "hybrid")
        mode = query.options.get("mode") or held[2]
        return held[1].get(str(mode))

    # ---- calibrating ----

    async def find(self, collection: Collection) -> Calibration | None:
        """What holds for a collection now."""
        row = await self.db.row(
            "select * from collection_calibrations where collection_id = %s and embedding_id = %s",
            (collection.id, collection.embedding_id),
        )
        if row is None:
            return None
        return Calibration(
            source=row["source"],
            fits={mode: fit_of(said) for mode, said in row["fitted"].items()},
            queries=row["queries"],
            documents=row["documents"],
            chunks=row["chunks"],
            made_at=row["made_at"],
        )

    async def calibrate(
        self,
        collection: Collection,
        *,
        asked: Sequence[Asked] | None = None,
        miss: float = 0.05,
        privacy: Privacy | None = None,
    ) -> Calibration:
        """Fit evidence to a collection, and go by that from now on.

        Args:
            collection: of which.
            asked: questions of one's own; None makes some of its texts.
            miss: share of the questions with an answer that may be taken to have none, 0.001 to 0.5.
            privacy: the policy its texts are under.

        Raises:
            BadRequest: there are too few questions, or too little text to make some of.
            Refused, Unavailable: as a search.
        """
        if not 0.001 <= miss <= 0.5:
            raise BadRequest("miss: a share from 0.001 to 0.5", param="miss")
        who = Principal(key_id=0, key_name="calibration", project_id=collection.project_id, project="")
        if asked is None:
            there, missing, count = await self._own(collection, who, privacy)
            far = await _each(ELSEWHERE, lambda text: self._figures(collection, text, who, privacy))
        else:
            rows = await _each(asked, lambda one: self._figures(collection, one.query, who, privacy))
            there = [row for row, one in zip(rows, asked, strict=True) if one.answered]
            missing = [row for row, one in zip(rows, asked, strict=True) if not one.answered]
            count, far = len(asked), []
        try:
            fits = fitted(_matrix(there), _matrix(missing), _matrix(far), miss=miss)
        except ValueError:
            raise BadRequest(
                f"calibration: {len(there)} questions with an answer and {len(missing)} without are too few: at least"
                f" {LEAST} of each are needed, or more documents",
                param="queries",
            ) from None
        made = Calibration(
            source="own" if asked is None else "file",
            fits=fits,
            queries=count,
            documents=collection.documents,
            chunks=collection.chunks,
        )
        await self._keep(collection, made)
        return await self.find(collection) or made

    async def due(self, *, limit: int = 20) -> Sequence[Collection]:
        """Collections that are to be calibrated of their own texts: never, or before they changed much; nothing waits there."""
        rows = await self.db.rows(
            "select c.id from collections c left join collection_calibrations f"
            " on f.collection_id = c.id and f.embedding_id = c.embedding_id"
            " where c.chunks >= %(least)s and (f.collection_id is null or f.source = 'own'"
            " and abs(c.chunks - f.chunks) > %(share)s * greatest(f.chunks, 1))"
            " and not exists (select 1 from collection_intake i where i.collection_id = c.id)"
            " order by c.id limit %(limit)s",
            {"least": LEAST, "share": _CHANGED, "limit": limit},
        )
        found = [await self._reading.of_id(row["id"]) for row in rows]
        return [each for each in found if each is not None]

    async def keep_current(self, policy_of: PolicyOf, *, every: float = 3.0) -> None:
        """Calibrate what is due, until cancelled; what cannot be is left until it changes.

        Args:
            policy_of: under which policy its texts are embedded.
            every: seconds between looks.
        """
        given_up: dict[int, int] = {}
        while True:
            try:
                for collection in await self.due():
                    if given_up.get(collection.id) == collection.version:
                        continue
                    try:
                        policy = await policy_of(collection.project_id, collection.embedder)
                        await self.calibrate(collection, privacy=policy)
                    except LoopwrightError as error:
                        given_up[collection.id] = collection.version
                        _log.info("collection %d is not calibrated: %s", collection.id, error.message)
            except LoopwrightError as error:
                _log.warning("calibration waits: %s", error.message)
            await asyncio.sleep(every)

    async def _own(
        self, collection: Collection, who: Principal, privacy: Privacy | None
    ) -> tuple[list[tuple[float, float]], list[tuple[float, float]], int]:
        items = known_items(await self._excerpts(collection), most=_QUESTIONS, seed=collection.id)

        async def both(item: KnownItem) -> tuple[tuple[float, float], tuple[float, float]]:
            meant = await self._candidates(collection, item.meaning, who, privacy)
            worded = await self._candidates(collection, item.words, who, privacy)
            apart = collection.documents >= _FEW
            return (
                (figures(item.meaning, meant)[0], figures(item.words, worded)[1]),
                (
                    figures(item.meaning, [each for each in meant if _other(each, item, apart=apart)])[0],
                    figures(item.words, [each for each in worded if _other(each, item, apart=apart)])[1],
                ),
            )

        pairs = await _each(items, both)
        return [there for there, _ in pairs], [missing for _, missing in pairs], len(items)

    async def _excerpts(self, collection: Collection) -> list[Excerpt]:
        """Chunks drawn by a hash of their ids: the same as long as they are there."""
        rows = await self.db.rows(
            "select * from collection_chunks where collection_id = %s order by md5(id::text) limit %s",
            (collection.id, 2 * _QUESTIONS),
        )
        chunks = [chunk_of(row, self._seal) for row in rows]
        return [
            Excerpt(chunk_id=each.id, document_id=each.document_id, start=each.start, end=each.end, text=each.text)
            for each in chunks
        ]

    async def _figures(
        self, collection: Collection, text: str, who: Principal, privacy: Privacy | None
    ) -> tuple[float, float]:
        return figures(text, await self._candidates(collection, text, who, privacy))

    async def _candidates(
        self, collection: Collection, text: str, who: Principal, privacy: Privacy | None
    ) -> Sequence[Passage]:
        query = Query(text=text, collections=[collection.name], who=who, k=_K, options=_PLAINLY, privacy=privacy)
        found = await self.search(query)
        return found.candidates or found.passages

    async def _keep(self, collection: Collection, made: Calibration) -> None:
        await self.db.run(
            "insert into collection_calibrations"
            " (collection_id, embedding_id, source, fitted, queries, documents, chunks)"
            " select %s, %s, %s, %s, %s, %s, %s where exists (select 1 from collections where id = %s)"
            " on conflict (collection_id, embedding_id) do update set source = excluded.source,"
            " fitted = excluded.fitted, queries = excluded.queries, documents = excluded.documents,"
            " chunks = excluded.chunks, made_at = now()",
            (
                collection.id,
                collection.embedding_id,
                made.source,
                Jsonb({mode: fit.shown() for mode, fit in made.fits.items()}),
                made.queries,
                made.documents,
                made.chunks,
                collection.id,
            ),
        )
        self._held.pop((collection.project_id, collection.name), None)


def _generic(collection: Collection) -> Mapping[str, Fit]:
    """Of one that is not calibrated: what holds for the default embedder."""
    return {"hybrid": GENERIC, "dense": GENERIC} if collection.embedder == _DEFAULT else {}


def _other(passage: Passage, item: KnownItem, *, apart: bool) -> bool:
    """Whether a passage says something else than what a question was made of."""
    if passage.document_id != item.document_id:
        return True
    return not apart and (passage.end < item.start - _AROUND or passage.start > item.end + _AROUND)


def _matrix(rows: Sequence[tuple[float, float]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array(rows, dtype=np.float64).reshape(len(rows), 2)


async def _each(items: Sequence[T], work: Callable[[T], Awaitable[U]]) -> list[U]:
    """All of them, a few at once, in order."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(item: T) -> U:
        async with turns:
            return await work(item)

    return [*await asyncio.gather(*(one(item) for item in items))]
