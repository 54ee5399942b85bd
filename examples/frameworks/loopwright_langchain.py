"""A Loopwright collection as LangChain's VectorStore and Retriever. The server cuts, embeds, ranks and checks access."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import uuid4

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore
from loopwright_collection import LoopwrightCollection
from pydantic import Field


class LoopwrightVectorStore(VectorStore):  # type: ignore[misc] # of a library that mypy does not see here
    """A collection. `filter` and every other option of a search (docs/search.md) go with each method as keywords."""

    def __init__(self, collection: LoopwrightCollection) -> None:
        self.collection = collection

    @property
    def embeddings(self) -> Embeddings | None:
        """None: a collection remembers its embedder, and the server asks it."""
        return None

    # ---- what comes in and goes out ----

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Take texts in and wait until they can be found; a text of an id that is there takes its place."""
        records = _records(texts, metadatas, ids, kwargs.get("labels"))
        self.collection.add(records)
        return [each["id"] for each in records]

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """As `add_texts`."""
        records = _records(texts, metadatas, ids, kwargs.get("labels"))
        await self.collection.aadd(records)
        return [each["id"] for each in records]

    def delete(self, ids: list[str] | None = None, **_kwargs: Any) -> bool | None:
        """Take documents out by id; whether all were there."""
        return None if ids is None else self.collection.delete(ids) == len(ids)

    async def adelete(self, ids: list[str] | None = None, **_kwargs: Any) -> bool | None:
        """As `delete`."""
        return None if ids is None else await self.collection.adelete(ids) == len(ids)

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Whole documents, of those that are there."""
        found = [each for name in ids if (each := self.collection.found(name)) is not None]
        return [
            Document(id=each["name"], page_content=self.collection.text(each["id"]), metadata=each["metadata"])
            for each in found
        ]

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,  # noqa: ARG003 - the server embeds; LangChain's signature has it
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        collection: LoopwrightCollection | None = None,
        **kwargs: Any,
    ) -> LoopwrightVectorStore:
        """A store over `collection`, made if it is not there, with these texts in it.

        Raises:
            ValueError: no collection was named.
        """
        if collection is None:
            raise ValueError("collection: say which, as LoopwrightCollection(name=…)")
        collection.create(**kwargs)
        store = cls(collection)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    # ---- searches ----

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """Passages by meaning and words, as the collection says."""
        return [document(each) for each in self.collection.search(query, k, **kwargs)]

    async def asimilarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """As `similarity_search`."""
        return [document(each) for each in await self.collection.asearch(query, k, **kwargs)]

    def similarity_search_with_score(self, query: str, k: int = 4, **kwargs: Any) -> list[tuple[Document, float]]:
        """With what ranked them, which compares within one search only."""
        return [(document(each), each["score"]) for each in self.collection.search(query, k, **kwargs)]

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """As `similarity_search_with_score`."""
        return [(document(each), each["score"]) for each in await self.collection.asearch(query, k, **kwargs)]

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Passages that are good and unlike each other; 1 looks only for good ones."""
        return self.similarity_search(query, k, **_unlike(fetch_k, lambda_mult, kwargs))

    async def amax_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """As `max_marginal_relevance_search`."""
        return await self.asimilarity_search(query, k, **_unlike(fetch_k, lambda_mult, kwargs))

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """By meaning alone: cosines, which compare over searches, as thresholds need."""
        return _relevant(self.collection.search(query, k, **{**kwargs, "mode": "dense"}))

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        return _relevant(await self.collection.asearch(query, k, **{**kwargs, "mode": "dense"}))

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return lambda score: score


class LoopwrightRetriever(BaseRetriever):  # type: ignore[misc] # of a library that mypy does not see here
    """Finds passages for a chain, and changes nothing."""

    collection: LoopwrightCollection
    k: int = 4
    options: dict[str, Any] = Field(default_factory=dict)
    """Of every search, as in docs/search.md."""

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:  # noqa: ARG002
        return [document(each) for each in self.collection.search(query, self.k, **self.options)]

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,  # noqa: ARG002 - LangChain's signature
    ) -> list[Document]:
        return [document(each) for each in await self.collection.asearch(query, self.k, **self.options)]


def document(passage: Mapping[str, Any]) -> Document:
    """A passage with its provenance: `source`, `page`, `heading` and its characters `start` to `end`."""
    about = {name: passage[name] for name in ("title", "heading", "page", "start", "end", "score", "document_id")}
    metadata = {**passage["metadata"], **about, "source": passage["document"], "collection": passage["collection"]}
    return Document(id=str(passage["id"]), page_content=passage["text"], metadata=metadata)


def _records(
    texts: Iterable[str], metadatas: list[dict[str, Any]] | None, ids: list[str] | None, labels: list[str] | None
) -> list[dict[str, Any]]:
    listed = list(texts)
    abouts, names = metadatas or [{} for _ in listed], ids or [str(uuid4()) for _ in listed]
    return [
        {"id": name, "text": text, "metadata": about, **({} if labels is None else {"labels": labels})}
        for text, about, name in zip(listed, abouts, names, strict=True)
    ]


def _unlike(fetch_k: int, lambda_mult: float, options: Mapping[str, Any]) -> dict[str, Any]:
    return {**options, "candidates": fetch_k, "diversity": 1.0 - lambda_mult}


def _relevant(passages: Sequence[Mapping[str, Any]]) -> list[tuple[Document, float]]:
    return [(document(each), min(max(each["scores"]["dense"], 0.0), 1.0)) for each in passages]
