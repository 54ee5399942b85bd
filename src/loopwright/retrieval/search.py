"""Finds passages: a search from the question to what is returned, over one or several collections. See docs/search.md.

Everything that is read of the database is read in one snapshot, labels and filters in every statement of it: what is
deleted meanwhile was there or was not, and what may not be found is never a candidate. No text and no vector is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from loopwright.core.chat import Chat, Embedder
from loopwright.core.errors import BadRequest, Conflict, LoopwrightError, NotFound, Unavailable
from loopwright.core.passage import Found, Passage, Query
from loopwright.kit.db import Connection, Database, plain
from loopwright.kit.seal import PLAIN, Seal
from loopwright.retrieval.asking import Asking
from loopwright.retrieval.collection import Collection
from loopwright.retrieval.fused import limited, of_question, of_questions
from loopwright.retrieval.fusion import diverse
from loopwright.retrieval.held import Held
from loopwright.retrieval.index import MEMORY, Index
from loopwright.retrieval.looking import Clock, Looking, Seen, opened, questions
from loopwright.retrieval.nearest import WIDTH, Generation, Vector, vectors_of
from loopwright.retrieval.options import Options, options_of
from loopwright.retrieval.passages import documents_of, passages_of, widened
from loopwright.retrieval.reading import Reading
from loopwright.retrieval.restriction import Restriction, labels_of

_TEXT: Final = 20_000
"""Characters of a question."""
_MOST: Final = 200
"""Passages that can be wanted."""
_COLLECTIONS: Final = 16
_SHOWN: Final = 20
"""Candidates that are returned with their texts, at least, where there are so many."""
_TRIES: Final = 3

Embedders = Callable[[str], Embedder | None]
"""The model of a name; None where there is none."""


class _MovedError(Exception):
    """A collection was embedded anew meanwhile, by a model that was not asked yet."""

    def __init__(self, model: str) -> None:
        super().__init__(model)
        self.model = model


@dataclass(slots=True, kw_only=True)
class _Asked:
    """A search at work."""

    query: Query
    collections: Sequence[Collection]
    options: Mapping[int, Options]
    """By collection."""
    clock: Clock
    warnings: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    """What is searched for."""
    vectors: dict[str, list[Vector]] = field(default_factory=dict)
    """Of each of them, by model."""

    @property
    def whole(self) -> Options:
        """What concerns the search as one: as the first collection says, where the query says nothing."""
        return self.options[self.collections[0].id]

    @property
    def shown(self) -> int:
        """Candidates whose texts are read."""
        reads = self.whole.rerank.candidates if self.whole.rerank is not None else 0
        spread = 4 * self.query.k if self.whole.diversity else 0
        return 1 << 20 if self.whole.explain else max(2 * self.query.k, _SHOWN, reads, spread)

    def candidates(self, options: Options) -> int:
        """Of each list of a collection: one list alone needs no scale, and nobody looks at more of it than is returned."""
        alone = options.mode != "hybrid"
        return min(options.candidates, max(self.shown, self.query.k)) if alone else options.candidates

    @property
    def width(self) -> int:
        """Candidates that an index of vectors keeps while it looks."""
        return max(WIDTH, *map(self.candidates, self.options.values()))


class Searcher:
    """A `core.passage.Search`."""

    def __init__(
        self,
        db: Database,
        seal: Seal = PLAIN,
        index: Index | None = None,
        *,
        embedder: Embedders,
        chat: Chat | None = None,
        memory: int = MEMORY,
    ) -> None:
        """`embedder` asks the models of collections; `chat` is the road for those that rewrite and rerank.

        `memory`: bytes that are held of indexes between searches, half of them in `index`.
        """
        self.db = db
        self.seal = seal
        self.index = Index(db, seal, memory=memory) if index is None else index
        self._reading = Reading(db, seal)
        self._held = Held(memory // 2)
        self._embedder = embedder
        self._asking = None if chat is None else Asking(chat)

    async def __call__(self, query: Query, /) -> Found:
        """See `core.passage.Search`.

        Raises:
            NotFound: there is no such collection in the project; names the nearest.
            BadRequest: an option, the filter or the text cannot be.
            Refused: the policy does not let the text reach the embedder.
            Conflict: the model's vectors are no longer of the length that the collection has.
            Unavailable: the database or the embedder cannot answer now.
        """
        asked = await self._asked(query)
        asked.texts = questions(query.text, await self._others(asked))
        for model in {each.embedder for each in asked.collections if asked.options[each.id].mode != "lexical"}:
            await self._embed(asked, model)
        passages, vectors = await self._looked(asked)
        passages = await self._reranked(asked, passages)
        chosen = _spread(passages, vectors, query.k, asked.whole.diversity)
        if asked.whole.neighbours:
            chosen = await widened(self.db, self.seal, chosen, asked.whole.neighbours)
            asked.clock.lap("neighbours")
        return Found(
            passages=chosen,
            candidates=passages,
            queries=asked.texts,
            took_us=asked.clock.took | {"total": sum(asked.clock.took.values())},
            warnings=asked.warnings,
        )

    async def _asked(self, query: Query) -> _Asked:
        clock = Clock()
        query = replace(query, text=plain(query.text, _TEXT + 1))
        if not query.text.strip():
            raise BadRequest("query: must not be empty", param="query")
        if len(query.text) > _TEXT:
            raise BadRequest(f"query: has {len(query.text):,} characters; at most {_TEXT:,}", param="query")
        if not 1 <= query.k <= _MOST:
            raise BadRequest(f"k: a whole number from 1 to {_MOST}, not {query.k}", param="k")
        names = list(dict.fromkeys(query.collections))
        if not 1 <= len(names) <= _COLLECTIONS:
            raise BadRequest(f"collections: 1 to {_COLLECTIONS} of them, not {len(names)}", param="collections")
        collections = [await self._reading.get(query.who.project_id, name) for name in names]
        options = {each.id: options_of(query.options, each.search, query.k) for each in collections}
        asked = _Asked(query=query, collections=collections, options=options, clock=clock)
        asked.clock.lap("open")
        return asked

    async def _others(self, asked: _Asked) -> list[str]:
        """What a model says to search for as well; nothing where it says nothing."""
        how = asked.whole.rewrite
        if how is None:
            return []
        try:
            return await self._models().queries(asked.query, how)
        except LoopwrightError as error:
            asked.warnings.append(f"searched for the question as it is: {error.message}")
            return []
        finally:
            asked.clock.lap("rewrite")

    async def _embed(self, asked: _Asked, model: str) -> None:
        embedder = self._embedder(model)
        if embedder is None:
            raise Unavailable(
                f"model {model!r}, whose vectors the collection has, is not configured here: configure it,"
                " or embed the collection anew",
                retry_after=60,
            )
        found = await embedder(asked.texts, privacy=asked.query.privacy)
        asked.vectors[model] = [np.asarray(each, dtype=np.float32) for each in found]
        asked.clock.lap("embed")

    async def _looked(self, asked: _Asked) -> tuple[list[Passage], dict[int, Vector]]:
        for _ in range(_TRIES):
            try:
                async with self.db.snapshot() as connection:
                    return await self._within(connection, asked)
            except _MovedError as moved:
                await self._embed(asked, moved.model)
        raise Unavailable("the collection is embedded anew again and again: try in a moment", retry_after=1)

    async def _within(self, connection: Connection, asked: _Asked) -> tuple[list[Passage], dict[int, Vector]]:
        looking = [await self._looking(connection, asked, each) for each in asked.collections]
        lists = []
        for at, text in enumerate(asked.texts):
            seen: list[Seen] = []
            for each in looking:
                vectors = asked.vectors.get(each.generation.model)
                dense = each.options.mode != "lexical" and each.generation.dimensions is not None and vectors
                seen.append(await each.look(text, vectors[at] if dense and vectors is not None else None))
            lists.append(of_question(seen, asked.whole))
            asked.clock.lap("fuse")
        candidates = of_questions(lists)
        if asked.whole.per_document:
            documents = await documents_of(connection, [one.chunk for one in candidates])
            candidates = limited(candidates, documents, asked.whole.per_document)
        shown = candidates[: asked.shown]
        vectors_found: dict[int, Vector] = {}
        if asked.whole.diversity:
            for each in looking:
                mine = [one.chunk for one in shown if one.collection.id == each.collection.id]
                vectors_found |= await vectors_of(connection, each.generation, mine)
        restrictions = {each.collection.id: each.restriction for each in looking}
        passages = await passages_of(connection, self.seal, shown, restrictions)
        asked.clock.lap("fetch")
        return passages, vectors_found

    async def _looking(self, connection: Connection, asked: _Asked, collection: Collection) -> Looking:
        options = asked.options[collection.id]
        found = await opened(connection, collection.id, asked.width)
        if found is None:
            raise NotFound(f"collection {collection.name!r} was deleted just now", param="collection")
        generation, segments = found
        if options.mode != "lexical":
            _check(asked, collection, generation)
        restriction = Restriction.of(collection.id, options, labels_of(asked.query))
        left = None if restriction.none else await self._held.left(connection, generation, restriction)
        asked.clock.lap("restrict")
        options = replace(options, candidates=asked.candidates(options))
        return Looking(
            connection=connection,
            index=self.index,
            collection=replace(collection, embedder=generation.model),
            generation=generation,
            segments=segments,
            options=options,
            restriction=restriction,
            held=self._held,
            left=left,
            clock=asked.clock,
        )

    async def _reranked(self, asked: _Asked, passages: list[Passage]) -> list[Passage]:
        """The best ones in the order of a model, before the others; as they are where it fails."""
        how = asked.whole.rerank
        if how is None or not passages:
            return passages
        head = passages[: how.candidates]
        try:
            marks = await self._models().marks(asked.query, how, [each.text for each in head])
        except LoopwrightError as error:
            asked.warnings.append(f"not ranked again: {error.message}")
            return passages
        finally:
            asked.clock.lap("rerank")
        order = sorted(range(len(head)), key=lambda at: (-marks.get(at, -np.inf), at))
        found = []
        for rank, at in enumerate(order, start=1):
            mark = marks.get(at)
            scores = {**head[at].scores, "reranked_rank": rank} | ({} if mark is None else {"reranked": mark})
            found.append(replace(head[at], score=head[at].score if mark is None else mark, scores=scores))
        return [*found, *passages[len(head) :]]

    def _models(self) -> Asking:
        if self._asking is None:
            raise Unavailable("no models can be asked here")
        return self._asking


def _check(asked: _Asked, collection: Collection, generation: Generation) -> None:
    """See that the question was embedded as the collection is now."""
    if generation.dimensions is None:
        return
    vectors = asked.vectors.get(generation.model)
    if vectors is None:
        raise _MovedError(generation.model)
    if len(vectors[0]) != generation.dimensions:
        raise Conflict(
            f"model {generation.model!r} answers with {len(vectors[0])} dimensions, and collection {collection.name!r}"
            f" has {generation.dimensions}: another model stands behind the name now; embed the collection anew"
        )


def _spread(
    passages: Sequence[Passage], vectors: Mapping[int, Vector], most: int, diversity: float
) -> Sequence[Passage]:
    """The best, or those that are good and unlike each other."""
    if not diversity or not vectors:
        return passages[:most]
    size = len(next(iter(vectors.values())))
    alike = len({len(vector) for vector in vectors.values()}) == 1
    if not alike:
        # Of several models: nothing tells how like their passages are.
        return passages[:most]
    pool = passages[: max(4 * most, _SHOWN)]
    matrix = np.stack([vectors.get(each.id, np.zeros(size, np.float32)) for each in pool])
    # By rank: scores of reranked ones and of the others behind them are on different scales.
    scores = (
        np.linspace(1.0, 0.0, num=len(pool))
        if any("reranked" in each.scores for each in pool)
        else np.array([each.score for each in pool])
    )
    order = diverse(scores, matrix, most, diversity)
    return [
        replace(pool[at], scores={**pool[at].scores, "diverse_rank": rank}) for rank, at in enumerate(order, start=1)
    ]
