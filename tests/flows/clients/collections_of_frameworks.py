"""The adapters of `examples/frameworks` with the libraries they are for: taken in, searched, async, filtered, deleted."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "examples" / "frameworks"))

from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.llms.openai_like import OpenAILike
from loopwright_collection import LoopwrightCollection
from loopwright_langchain import LoopwrightRetriever, LoopwrightVectorStore
from loopwright_llama_index import LoopwrightRetriever as Nodes

TEXTS = [
    "The lighthouse of Brunn is painted red and was built in 1871.",
    "Bread is baked from flour, water, salt and yeast.",
    "The violin has four strings and is played with a bow.",
]
ABOUT: list[dict[str, Any]] = [{"kind": "tower", "year": 1871}, {"kind": "food"}, {"kind": "music"}]
IDS = ["lighthouse", "bread", "violin"]
QUESTION = "Which colour is the lighthouse?"


def langchain(collection: LoopwrightCollection) -> dict[str, Any]:
    """All that a vector store does."""
    store = LoopwrightVectorStore.from_texts(TEXTS, metadatas=ABOUT, ids=IDS, collection=collection)
    [first] = store.similarity_search(QUESTION, k=1)
    scored = store.similarity_search_with_relevance_scores(QUESTION, k=3)
    store.add_texts(["The drum is struck."], ids=["drum"], metadatas=[{"kind": "music"}])
    try:
        store.add_texts(["x"], ids=[""])
        refused = ""
    except Exception as error:  # noqa: BLE001 - what a user would see
        refused = str(error)
    return {
        "first": [first.page_content, first.metadata["source"], first.metadata["year"], first.metadata["start"]],
        "scores": [round(score, 3) for _, score in scored],
        "filtered": [
            each.metadata["source"] for each in store.similarity_search("played", k=4, filter={"kind": "music"})
        ],
        "diverse": len(store.max_marginal_relevance_search(QUESTION, k=2)),
        "threshold": [
            each.metadata["source"]
            for each in store.as_retriever(
                search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.5, "k": 3}
            ).invoke(QUESTION)
        ],
        "retriever": [
            each.metadata["source"] for each in LoopwrightRetriever(collection=collection, k=1).invoke(QUESTION)
        ],
        "by_id": [each.page_content for each in store.get_by_ids(["bread", "nothing"])],
        "deleted": [store.delete(["drum"]), store.delete(["drum"])],
        "refused": refused,
    }


async def langchain_async(collection: LoopwrightCollection) -> dict[str, Any]:
    """The same without waiting."""
    store = LoopwrightVectorStore(collection)
    await store.aadd_texts(["Rain falls on Oslo."], ids=["rain"])
    found = await store.asimilarity_search("Does it rain in Oslo?", k=1)
    together = await asyncio.gather(*(LoopwrightRetriever(collection=collection, k=1).ainvoke(text) for text in TEXTS))
    return {
        "found": [each.metadata["source"] for each in found],
        "together": [each[0].metadata["source"] for each in together],
        "deleted": await store.adelete(["rain"]),
    }


def llama_index(collection: LoopwrightCollection) -> dict[str, Any]:
    """A query engine over a collection, and its retriever without waiting."""
    llm = OpenAILike(
        model="script",
        is_chat_model=True,
        context_window=4096,
        max_retries=0,
        api_base=os.environ["OPENAI_BASE_URL"],
        api_key=os.environ["OPENAI_API_KEY"],
    )
    retriever = Nodes(collection, k=1)
    answer: Any = RetrieverQueryEngine.from_args(retriever, llm=llm).query(QUESTION)
    [node] = asyncio.run(retriever.aretrieve("What is bread made of?"))
    return {
        "sources": [each.node.metadata["source"] for each in answer.source_nodes],
        "prompted": TEXTS[0] in str(answer),
        "node": [node.node.metadata["source"], node.node.start_char_idx, node.node.end_char_idx, node.score > 0],
    }


def main() -> None:
    """Everything, as one JSON object."""
    where: dict[str, Any] = {
        "url": os.environ["OPENAI_BASE_URL"].removesuffix("/v1"),
        "api_key": os.environ["OPENAI_API_KEY"],
    }
    collection = LoopwrightCollection(name="frameworks", **where)
    found = {
        "langchain": langchain(collection),
        "async": asyncio.run(langchain_async(collection)),
        "llama_index": llama_index(collection),
    }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
