"""The first table of `retrieval.py`: nDCG@10 of the shipped search on labelled sets, beside others on the same texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
import Stemmer
from scipy.stats import wilcoxon

from loopwright.core.passage import Query
from loopwright.kit.db import Database
from loopwright.kit.migrations import migrate
from loopwright.kit.postgres import EmbeddedPostgres
from loopwright.retrieval.index import Index
from loopwright.retrieval.search import Searcher
from loopwright.rooms import ROOMS
from retrieval_stock import WHO, Corpus, Known, Model, collection, stock

Figures = dict[str, Any]


async def quality(folder: Path, corpora: Sequence[Corpus]) -> list[Figures]:
    """nDCG@10 of every way on every set."""
    server = await EmbeddedPostgres.start(folder / "pg", settings={"fsync": "off"})
    db = await Database.open(server.url)
    try:
        await migrate(db, ROOMS)
        return [await _quality(db, corpus) for corpus in corpora]
    finally:
        await db.close()
        await server.stop()


async def _quality(db: Database, corpus: Corpus) -> Figures:
    model = Model()
    chunks = corpus.chunks(model.counter())
    index = Index(db)
    made = await collection(db, corpus.name, model.name)
    ids = await stock(db, index, made, chunks, model.kept(corpus.embedded(chunks)), titles=corpus.titles)
    await index.settle(made.id)
    places = {document: place for place, document in enumerate(ids)}
    questions = model.kept(corpus.queries)
    known = Known(dict(zip(corpus.queries, questions, strict=True)))
    searcher = Searcher(db, index=index, embedder=lambda _name: known)
    orders: dict[str, list[list[int]]] = {}
    for mode in ("lexical", "dense", "hybrid"):
        orders[mode] = []
        for text in corpus.queries:
            asked = Query(
                text=text, collections=[corpus.name], who=WHO, k=10, options={"mode": mode, "per_document": 1}
            )
            orders[mode].append([places[each.document_id] for each in (await searcher(asked)).passages])
    lexical, dense = _bm25s(corpus), questions @ model.kept(corpus.whole).T
    orders["bm25s"] = [_best(row) for row in lexical]
    orders["MiniLM, uncut"] = [_best(row) for row in dense]
    orders["plain RRF of both"] = [_fused(one, two) for one, two in zip(lexical, dense, strict=True)]
    scores = {
        way: np.array([ndcg(order[:10], wanted) for order, wanted in zip(each, corpus.relevant, strict=True)])
        for way, each in orders.items()
    }
    best = max(("bm25s", "MiniLM, uncut", "lexical", "dense"), key=lambda way: float(scores[way].mean()))
    return {
        "set": corpus.name,
        "documents": len(corpus.texts),
        "chunks": sum(map(len, chunks)),
        "queries": len(corpus.queries),
        **{way: float(each.mean()) for way, each in scores.items()},
        "best alone": best,
        "p": float(wilcoxon(scores["hybrid"], scores[best]).pvalue),
    }


def _bm25s(corpus: Corpus) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Its scores with its own words, as its README uses it."""
    stemmer = Stemmer.Stemmer("english")
    model = bm25s.BM25()
    model.index(bm25s.tokenize(corpus.whole, stopwords="en", stemmer=stemmer, show_progress=False), show_progress=False)
    found = []
    for text in corpus.queries:
        [words] = bm25s.tokenize([text], stopwords="en", stemmer=stemmer, return_ids=False, show_progress=False)
        there = [word for word in words if word in model.vocab_dict]
        found.append(model.get_scores(there) if there else np.zeros(len(corpus.texts), np.float32))
    return np.stack(found)


def _best(scores: np.ndarray[Any, Any]) -> list[int]:
    return [int(at) for at in np.argsort(-scores, kind="stable")[:100]]


def _fused(*lists: np.ndarray[Any, Any]) -> list[int]:
    worth: dict[int, float] = {}
    for scores in lists:
        for rank, at in enumerate(_best(scores), start=1):
            worth[at] = worth.get(at, 0.0) + 1 / (60 + rank)
    return sorted(worth, key=lambda at: (-worth[at], at))


def ndcg(order: Sequence[int], relevant: Mapping[int, int]) -> float:
    """Of the first ten."""
    gained = sum(relevant.get(at, 0) / np.log2(rank + 2) for rank, at in enumerate(order))
    best = sum(gain / np.log2(rank + 2) for rank, gain in enumerate(sorted(relevant.values(), reverse=True)[:10]))
    return float(gained / best)
