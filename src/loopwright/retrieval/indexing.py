"""What the shelves of documents need of an index: told of chunks in the transaction that stores them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from loopwright.kit.db import Connection
from loopwright.retrieval.collection import Chunk, Collection


class Indexing(Protocol):
    """Vectors and postings of chunks."""

    async def put(self, connection: Connection, collection: Collection, chunks: Sequence[Chunk], /) -> None:
        """Index chunks whose rows were just made, their vectors in the generation that is searched."""
        ...

    async def drop(self, connection: Connection, collection_id: int, document_ids: Sequence[int], /) -> None:
        """Forget all chunks of documents whose rows are about to go."""
        ...

    async def begin(self, connection: Connection, embedding_id: int, dimensions: int, /) -> None:
        """Make room for the vectors of a generation."""
        ...

    async def fill(self, connection: Connection, embedding_id: int, vectors: Mapping[int, Sequence[float]], /) -> None:
        """Add vectors to a generation, by the id of their chunk."""
        ...

    async def discard(self, connection: Connection, embedding_id: int, /) -> None:
        """Forget a generation; harmless when it has nothing."""
        ...

    async def settle(self, collection_id: int, /) -> None:
        """Do what is worth doing once after many puts; harmless when repeated."""
        ...
