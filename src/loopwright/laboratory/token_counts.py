"""How many tokens a collection is to a model: counted where somebody counts, scaled from a sample where it is large."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from loopwright.app import App
from loopwright.core.chat import Embedder
from loopwright.core.errors import NotFound
from loopwright.core.privacy import Privacy
from loopwright.core.who import Principal
from loopwright.engines.embedding_tokens import EmbeddingTokens
from loopwright.kit.seal import Seal
from loopwright.kit.settings import EngineSettings
from loopwright.prompts.weight import weigh
from loopwright.retrieval.collection import Collection
from loopwright.retrieval.embedded import Tokens, by_bytes, embeddable
from loopwright.retrieval.forecast import Prompted
from loopwright.retrieval.rows import chunk_of

COUNTED: Final = 2_000
"""Chunks that are counted one by one; of more collections a sample."""
_SHOWN: Final = 40_000
"""Characters that a chat model's counter is shown."""
_TIMED: Final = 64
_SAMPLED: Final = "scaled from a sample"


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """A collection, by its characters."""

    texts: Sequence[str]
    """What is embedded of its chunks: all of them, or a sample drawn by a hash."""
    chunks: int
    chunk_characters: int
    document_characters: int
    """Without what neighbouring chunks repeat."""

    @property
    def whole(self) -> bool:
        """Whether `texts` are all of them."""
        return len(self.texts) == self.chunks


async def extent_of(app: App, collection: Collection) -> Extent:
    """Its size, and texts to count.

    Raises:
        Sealed: its key is not here.
    """
    size = await app.db.row(
        'select count(*) as chunks, coalesce(sum("end" - start), 0) as characters, coalesce((select sum(last) from'
        ' (select max("end") as last from collection_chunks where collection_id = %(id)s group by document_id) d), 0)'
        " as documents from collection_chunks where collection_id = %(id)s",
        {"id": collection.id},
    )
    rows = await app.db.rows(
        "select * from collection_chunks where collection_id = %s order by md5(id::text) limit %s",
        (collection.id, COUNTED),
    )
    seal = Seal.of(app.settings.encryption)
    chunks = [chunk_of(row, seal) for row in rows]
    assert size is not None
    return Extent(
        texts=[embeddable("", each.heading, each.text) for each in chunks],
        chunks=int(size["chunks"]),
        chunk_characters=int(size["characters"]),
        document_characters=int(size["documents"]),
    )


async def counted(app: App, embedder: str, texts: Sequence[str]) -> tuple[int, str]:
    """Tokens of texts to a model that embeds, and how that is known."""
    how, known = counter_of(app, embedder)
    return await asyncio.to_thread(lambda: sum(map(how.count, texts))), "counted" if known else "estimated"


async def tokens_of(app: App, embedder: str, extent: Extent) -> tuple[int, str]:
    """Tokens of all chunks to a model that embeds, and how that is known."""
    tokens, how = await counted(app, embedder, extent.texts)
    if extent.whole:
        return tokens, how
    scaled = round(tokens * extent.chunks / len(extent.texts))
    return scaled, _SAMPLED if how == "counted" else how


def counter_of(app: App, model: str) -> tuple[Tokens, bool]:
    """How a model that embeds counts, and whether that is the model's own way; else four bytes are taken for a token."""
    engine = engine_of(app, model)
    if engine is not None:
        with suppress(ValueError, OSError, NotFound):
            counter = EmbeddingTokens(replace(engine, source=f"file:{app.catalog.weights(engine.source)}"))
            return Tokens(count=counter, most=counter.most), True
    return by_bytes(model), False


def engine_of(app: App, model: str) -> EngineSettings | None:
    """Of a model of ours, by its name or an alias; None of one that is elsewhere."""
    configured = app.catalog.configured().items()
    return next((each.engine for name, each in configured if model == name or model in each.aliases), None)


async def speed_of(
    app: App, embedder: Embedder, model: str, texts: Sequence[str], privacy: Privacy | None
) -> float | None:
    """Tokens a second that a model embeds now, over at most 64 of the texts; None without any."""
    some = list(texts[:_TIMED])
    if not some:
        return None
    tokens, _ = await counted(app, model, some)
    await embedder(some[:1], privacy=privacy)
    began = time.perf_counter()
    await embedder(some, privacy=privacy)
    return tokens / max(time.perf_counter() - began, 1e-6)


async def prompted(
    app: App, who: Principal, extent: Extent, *, models: Sequence[str], k: int, overhead: int, output: int
) -> list[Prompted]:
    """An answer of each model from `k` passages and with everything in the prompt; all that chat when none is named."""
    scales = [each for each in app.scales(who) if not models or each.model in models]
    sample = "\n\n".join(extent.texts)[:_SHOWN]
    weights = await weigh([{"role": "user", "content": sample}], scales)
    contexts = {card.name: card.context for card in app.known}
    found = []
    for scale, weight in zip(scales[: len(weights)], weights, strict=True):
        a_character = weight.tokens / max(len(sample), 1)
        mean = a_character * extent.chunk_characters / max(extent.chunks, 1)
        found.append(
            Prompted(
                model=scale.model,
                price=scale.price,
                context=contexts.get(scale.model),
                estimated=weight.estimated,
                passages=round(mean * min(k, extent.chunks)),
                collection=round(a_character * extent.document_characters),
                overhead=overhead,
                output=output,
            )
        )
    return found
