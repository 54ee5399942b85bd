"""LlamaIndex's query engine over a few documents: embeddings and answers from the house, whole and streamed."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from llama_index.core import Document, VectorStoreIndex
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike

TEXTS = (
    "The lighthouse of Brunn is painted red and was built in 1871.",
    "Bread is baked from flour, water, salt and yeast.",
    "The violin has four strings and is played with a bow.",
)
QUESTION = "Which colour is the lighthouse of Brunn?"


def main() -> None:
    """What was found for a question, and what was said."""
    where: dict[str, Any] = {"api_base": os.environ["OPENAI_BASE_URL"], "api_key": os.environ["OPENAI_API_KEY"]}
    llm = OpenAILike(
        model="smollm2-135m-instruct",
        is_chat_model=True,
        context_window=2048,
        max_tokens=24,
        temperature=0,
        max_retries=0,
        timeout=120,
        **where,
    )
    embedder = OpenAILikeEmbedding(model_name="all-minilm-l6-v2", max_retries=0, **where)
    index = VectorStoreIndex.from_documents([Document(text=text) for text in TEXTS], embed_model=embedder)
    answer: Any = index.as_query_engine(llm=llm, similarity_top_k=1).query(QUESTION)
    streaming: Any = index.as_query_engine(llm=llm, similarity_top_k=1, streaming=True).query(QUESTION)
    pieces = list(streaming.response_gen)
    found = {
        "sources": [node.get_content() for node in answer.source_nodes],
        "answer": str(answer),
        "pieces": len(pieces),
        "streamed": "".join(pieces),
    }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
