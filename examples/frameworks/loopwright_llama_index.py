"""A Loopwright collection as LlamaIndex's retriever. The server cuts, embeds, ranks and checks access."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from loopwright_collection import LoopwrightCollection

_QUIET = ["document_id", "collection", "start", "end"]
"""What neither a model nor an embedder is shown."""


class LoopwrightRetriever(BaseRetriever):  # type: ignore[misc] # of a library that mypy does not see here
    """Finds passages for a query engine, and changes nothing."""

    def __init__(self, collection: LoopwrightCollection, *, k: int = 4, **options: Any) -> None:
        """`options` of every search are as in docs/search.md."""
        self._collection = collection
        self._k = k
        self._options = options
        super().__init__()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [node(each) for each in self._collection.search(query_bundle.query_str, self._k, **self._options)]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        found = await self._collection.asearch(query_bundle.query_str, self._k, **self._options)
        return [node(each) for each in found]


def node(passage: Mapping[str, Any]) -> NodeWithScore:
    """A passage with its provenance."""
    about = {name: passage[name] for name in ("title", "heading", "page", "start", "end", "document_id", "collection")}
    text = TextNode(
        id_=str(passage["id"]),
        text=passage["text"],
        metadata={**passage["metadata"], **about, "source": passage["document"]},
        start_char_idx=passage["start"],
        end_char_idx=passage["end"],
        excluded_llm_metadata_keys=_QUIET,
        excluded_embed_metadata_keys=_QUIET,
    )
    return NodeWithScore(node=text, score=passage["score"])
