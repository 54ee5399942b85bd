"""How well collections are searched, and how fast, beside bm25s, numpy and LanceDB in the same run.

    LOOPWRIGHT_TEST_DATA=…/data python bench/retrieval.py               # both tables
    python bench/retrieval.py --only quality
    python bench/retrieval.py --only scale --chunks 100000
    python bench/retrieval.py --install-peers                           # LanceDB into bench/out/peers, once

`quality`: nDCG@10 (gains as judged, not exponential) of the shipped search over the embedded PostgreSQL on labelled
sets. Documents come in as records come in (MiniLM int8, chunks of 200 tokens); of a document its best passage counts.
Beside it, over the same texts uncut: bm25s, MiniLM, and plain reciprocal rank fusion of both. The weights of the fusion
are equal; how scores are scaled, and that BM25 of the document counts, was chosen having seen these sets.

`scale`: real embeddings of their chunks, copied with noise up to the size (harder than real data: near-duplicates of
every chunk), one chunk a document, filters that leave 100, 10 and 1 %. Recall is against all vectors compared in numpy.
A process holds what a filter leaves once it was searched with some times: those rows are of a filter that is in use, and
the last ones of the first four searches with filters that are not.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import bm25s
import numpy as np
import psutil
import Stemmer
from rich.console import Console
from rich.table import Table

from loopwright.core.passage import Query
from loopwright.kit.db import Database
from loopwright.kit.migrations import migrate
from loopwright.kit.postgres import EmbeddedPostgres
from loopwright.retrieval.index import Index
from loopwright.retrieval.search import Searcher
from loopwright.rooms import ROOMS
from processes import postgres_cpu
from retrieval_quality import quality
from retrieval_stock import WHO, Corpus, Known, Model, Vectors, collection, stock

HERE: Final = Path(__file__).parent
PEERS: Final = HERE / "out" / "peers"
SETS: Final = ("cranfield", "scifact_mini", "xquad_retrieval")
FILTERS: Final[Mapping[str, tuple[str, int]]] = {"100 %": ("all", 1), "10 %": ("tenth", 10), "1 %": ("tenant", 100)}
PATIENCE: Final = 300.0
"""Seconds for a peer to index and answer."""
RECALL, SLOWEST = 0.97, 15.0
"""What must be reached: of the ten nearest, and milliseconds at the 95th percentile."""
Figures = dict[str, Any]


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", choices=("quality", "scale"))
    options.add_argument("--sets", default=",".join(SETS))
    options.add_argument("--chunks", type=int, default=100_000)
    options.add_argument("--queries", type=int, default=200)
    options.add_argument("--peers", type=Path, default=PEERS)
    options.add_argument("--install-peers", action="store_true")
    options.add_argument("--folder", type=Path, help="keep the stocked database here, and search it again next time")
    options.add_argument("--json", type=Path, help="write all figures here")
    told = options.parse_args()
    if told.install_peers:
        subprocess.run([sys.executable, "-m", "venv", told.peers / "lancedb"], check=True)
        subprocess.run(
            [told.peers / "lancedb" / "bin" / "pip", "install", "-r", HERE / "peers" / "requirements.in"], check=True
        )
        return
    screen = Console(width=max(Console().width, 120))
    found: dict[str, list[Figures]] = {}
    corpora = [Corpus.read(name) for name in told.sets.split(",")]
    with tempfile.TemporaryDirectory(prefix="lw-bench-") as home:
        if told.only != "scale":
            (Path(home) / "quality").mkdir()
            found["quality"] = asyncio.run(quality(Path(home) / "quality", corpora))
            show_quality(screen, found["quality"])
        if told.only != "quality":
            found["scale"] = asyncio.run(scale(Path(home), corpora, told, screen))
            show_scale(screen, found["scale"])
    if told.json:
        told.json.write_text(json.dumps(found, indent=1))


def show_quality(screen: Console, rows: Sequence[Figures]) -> None:
    """A row for each set."""
    ways = ("bm25s", "MiniLM, uncut", "plain RRF of both", "lexical", "dense", "hybrid")
    table = Table(title="nDCG@10; ours are lexical, dense, hybrid", title_justify="left")
    for heading in ("set", "chunks", "queries", *ways, "hybrid ≥ better alone", "p"):
        table.add_column(heading, justify="left" if heading == "set" else "right")
    for row in rows:
        held = row["hybrid"] >= max(row["bm25s"], row["MiniLM, uncut"], row["lexical"], row["dense"])
        figures = [f"{row[way]:.4f}" for way in ways]
        table.add_row(
            row["set"], f"{row['chunks']:,}", f"{row['queries']:,}", *figures, verdict(held=held), f"{row['p']:.4f}"
        )
    screen.print(table)


# ---- scale ----


async def scale(home: Path, corpora: Sequence[Corpus], told: argparse.Namespace, screen: Console) -> list[Figures]:
    """Recall and latency at a size."""
    vectors, texts, questions, asked, order = made(corpora, told.chunks, told.queries)
    rows = _numpy(vectors, questions, order)
    rows += _lexical_alone(texts, asked)
    rows += _lancedb(told.peers, home, vectors, questions, order, screen)
    folder = (told.folder or home) / "scale"
    folder.mkdir(parents=True, exist_ok=True)
    server = await EmbeddedPostgres.start(folder / "pg")
    db = await Database.open(server.url)
    try:
        await migrate(db, ROOMS)
        index = Index(db)
        ids = await _ids(db)
        if len(ids) != len(texts):
            await _stocked(db, index, texts, vectors, order, screen)
            ids = await _ids(db)
        known = Known(dict(zip(asked, questions, strict=True)))
        return rows + await searched(db, index, known, ids, vectors, questions, asked, order)
    finally:
        await db.close()
        await server.stop()


async def _ids(db: Database) -> list[int]:
    """The documents that are there, in the order they were put."""
    rows = await db.rows("select id from collection_documents order by name::int")
    return [row["id"] for row in rows]


async def _stocked(
    db: Database,
    index: Index,
    texts: Sequence[Sequence[str]],
    vectors: Vectors,
    order: np.ndarray[Any, Any],
    screen: Console,
) -> None:
    await db.run("delete from collections")
    into = await collection(db, "large", "minilm")
    metadata = [{"all": 0, "tenth": int(each % 10), "tenant": int(each % 100)} for each in order]
    began, here, there = time.perf_counter(), time.process_time(), postgres_cpu()
    ids = await stock(db, index, into, texts, vectors, metadata)
    await index.settle(into.id)
    await db.run("vacuum analyze")
    took = time.perf_counter() - began
    own = (time.process_time() - here + postgres_cpu() - there) / len(ids) * 1000
    screen.print(f"indexed {len(ids):,} chunks in {took:.0f} s, {own:.2f} ms of CPU a chunk, HNSW included")
    size = await db.row(
        "select sum(pg_total_relation_size(oid))::bigint / 1000000 as all,"
        " (sum(pg_relation_size(oid)) filter (where relname like 'collection_vectors%'))::bigint / 1000000 as dense"
        " from pg_class where relname like 'collection\\_%' and relkind = 'r' or relname like 'collection_vectors_hnsw%'"
    )
    screen.print(f"in PostgreSQL: {size}")


def made(
    corpora: Sequence[Corpus], size: int, queries: int
) -> tuple[Vectors, list[list[str]], Vectors, list[str], np.ndarray[Any, Any]]:
    """(vectors, texts, vectors and texts of questions, a number for each chunk that filters go by)."""
    model, drawn = Model(), np.random.default_rng(7)
    cut = [corpus.chunks(model.counter()) for corpus in corpora]
    real = np.concatenate([model.kept(corpus.embedded(chunks)) for corpus, chunks in zip(corpora, cut, strict=True)])
    said = [text for chunks in cut for texts in chunks for text in texts]
    asked = [text for corpus in corpora for text in corpus.queries]
    asked = [asked[int(at)] for at in drawn.permutation(len(asked))[:queries]]
    every = np.concatenate([model.kept(corpus.queries) for corpus in corpora])
    place = {text: at for at, text in enumerate(text for corpus in corpora for text in corpus.queries)}
    which = np.concatenate([np.arange(len(real)), drawn.integers(0, len(real), max(size - len(real), 0))])[:size]
    other = drawn.integers(0, len(real), size)
    copied = np.arange(size) >= len(real)
    noise = drawn.normal(size=(size, real.shape[1])).astype(np.float32) * np.float32(0.5 / np.sqrt(real.shape[1]))
    vectors = real[which] + noise * copied[:, None]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    texts = [
        [f"{' '.join(said[one].split()[:60])} {' '.join(said[two].split()[:60])}" if copy else said[one]]
        for one, two, copy in zip(which.tolist(), other.tolist(), copied.tolist(), strict=True)
    ]
    return vectors, texts, every[[place[text] for text in asked]], asked, drawn.permutation(size)


def _mask(name: str, order: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    _, parts = FILTERS[name]
    return np.asarray(order % parts == 0)


def _truth(vectors: Vectors, question: Vectors, mask: np.ndarray[Any, Any]) -> set[int]:
    scores = vectors[mask] @ question
    return set(np.flatnonzero(mask)[np.argsort(-scores)[:10]].tolist())


def _numpy(vectors: Vectors, questions: Vectors, order: np.ndarray[Any, Any]) -> list[Figures]:
    rows = []
    for name in FILTERS:
        mask, took, used = _mask(name, order), [], time.process_time()
        kept = np.ascontiguousarray(vectors[mask])
        for question in questions:
            began = time.perf_counter()
            scores = kept @ question
            np.argpartition(-scores, 10)[:10]
            took.append(time.perf_counter() - began)
        cpu = (time.process_time() - used) / len(questions)
        rows.append(_row("numpy, all compared", name, took, cpu, 0.0, 1.0, vectors.nbytes / 1e6))
    return rows


def _lexical_alone(texts: Sequence[Sequence[str]], asked: Sequence[str]) -> list[Figures]:
    stemmer = Stemmer.Stemmer("english")
    model = bm25s.BM25()
    words = bm25s.tokenize([each[0] for each in texts], stopwords="en", stemmer=stemmer, show_progress=False)
    before = psutil.Process().memory_info().rss
    model.index(words, show_progress=False)
    size = (psutil.Process().memory_info().rss - before) / 1e6
    took, used = [], time.process_time()
    for text in asked:
        began = time.perf_counter()
        query = bm25s.tokenize([text], stopwords="en", stemmer=stemmer, show_progress=False)
        model.retrieve(query, k=10, show_progress=False)
        took.append(time.perf_counter() - began)
    return [_row("bm25s", "100 %", took, (time.process_time() - used) / len(asked), 0.0, None, size)]


def _lancedb(
    peers: Path, home: Path, vectors: Vectors, questions: Vectors, order: np.ndarray[Any, Any], screen: Console
) -> list[Figures]:
    python = peers / "lancedb" / "bin" / "python"
    if not python.exists():
        screen.print("LanceDB: left out: `--install-peers` puts it into an environment of its own")
        return []
    folder = home / "lancedb"
    folder.mkdir()
    for name, values in (("vectors", vectors), ("questions", questions), ("order", order)):
        np.save(folder / f"{name}.npy", values)
    rows = []
    for way in ("flat", "IVF_HNSW_SQ"):
        command = [python, HERE / "peers" / "retrieval_lancedb.py", folder, way]
        try:
            run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            screen.print(f"LanceDB {way}: left out: not done within {PATIENCE:.0f} s")
            continue
        except subprocess.CalledProcessError as error:
            screen.print(f"LanceDB {way}: left out: {error.stderr.strip().splitlines()[-1:]}")
            continue
        for line in run.stdout.splitlines():
            told = json.loads(line)
            mask = _mask(told["filter"], order)
            truths = [_truth(vectors, question, mask) for question in questions]
            recall = float(
                np.mean([len(truth & set(ids)) / 10 for truth, ids in zip(truths, told["found"], strict=True)])
            )
            rows.append(_row(f"LanceDB, {way}", told["filter"], told["took"], told["cpu"], 0.0, recall, told["mb"]))
    return rows


async def searched(
    db: Database,
    index: Index,
    known: Known,
    ids: Sequence[int],
    vectors: Vectors,
    questions: Vectors,
    asked: Sequence[str],
    order: np.ndarray[Any, Any],
) -> list[Figures]:
    """Each way by a searcher of its own, which holds no word that an earlier way asked for."""
    # As the server does: what is there already is not looked at by the collector again.
    gc.collect()
    gc.freeze()
    rows = []
    for mode in ("dense", "lexical", "hybrid"):
        for name in FILTERS:
            searcher = Searcher(db, index=index, embedder=lambda _name: known)
            rows.append(await _ours(searcher, mode, name, ids, vectors, questions, asked, order))
    searcher = Searcher(db, index=index, embedder=lambda _name: known)
    return rows + [await _unseen(searcher, name, asked) for name in ("10 %", "1 %")]


async def _ours(
    searcher: Searcher,
    mode: str,
    name: str,
    ids: Sequence[int],
    vectors: Vectors,
    questions: Vectors,
    asked: Sequence[str],
    order: np.ndarray[Any, Any],
) -> Figures:
    field, parts = FILTERS[name]
    told = {"mode": mode, **({"filter": {field: 0}} if parts > 1 else {})}
    searches = [Query(text=text, collections=["large"], who=WHO, k=10, options=told) for text in asked]
    for query in searches[:5]:
        await searcher(query)
    took, found = [], []
    here, there = time.process_time(), postgres_cpu()
    for query in searches:
        began = time.perf_counter()
        found.append(await searcher(query))
        took.append(time.perf_counter() - began)
    own, server = (time.process_time() - here) / len(asked), (postgres_cpu() - there) / len(asked)
    recall = None
    if mode == "dense":
        place, mask = {document: at for at, document in enumerate(ids)}, _mask(name, order)
        hits = [
            len(_truth(vectors, question, mask) & {place[each.document_id] for each in one.passages}) / 10
            for question, one in zip(questions, found, strict=True)
        ]
        recall = float(np.mean(hits))
    return _row(f"loopwright, {mode}", name, took, own, server, recall, None)


async def _unseen(searcher: Searcher, name: str, asked: Sequence[str]) -> Figures:
    """Searches with filters that nobody has searched with, four with each."""
    field, parts = FILTERS[name]
    took, here, there = [], time.process_time(), postgres_cpu()
    for at, text in enumerate(asked[: 4 * min(parts - 1, 20)]):
        told = {"mode": "hybrid", "filter": {field: 1 + at // 4}}
        began = time.perf_counter()
        await searcher(Query(text=text, collections=["large"], who=WHO, k=10, options=told))
        took.append(time.perf_counter() - began)
    own, server = (time.process_time() - here) / len(took), (postgres_cpu() - there) / len(took)
    return _row("first four, hybrid", name, took, own, server, None, None)


def _row(
    way: str, name: str, took: Sequence[float], own: float, server: float, recall: float | None, size: float | None
) -> Figures:
    p50, p95 = np.percentile(took, (50, 95)) * 1000
    return {
        "way": way, "filter": name, "recall": recall, "p50_ms": float(p50), "p95_ms": float(p95),
        "cpu_ms": own * 1000, "postgres_ms": server * 1000, "mb": size,
    }  # fmt: skip


def show_scale(screen: Console, rows: Sequence[Figures]) -> None:
    """A row for each way and filter."""
    table = Table(title="at size; recall@10 against all compared, CPU and latency of a query", title_justify="left")
    headings = ("", "filter leaves", "recall@10", "p50 ms", "p95 ms", "CPU ms", "of Postgres", "MB", "")
    for heading in headings:
        table.add_column(heading, justify="right" if heading else "left")
    for row in rows:
        reached = ""
        if row["way"] == "loopwright, dense":
            reached = verdict(held=row["recall"] >= RECALL and row["p95_ms"] < SLOWEST)
        elif row["way"].startswith("loopwright"):
            reached = verdict(held=row["p95_ms"] < SLOWEST)
        table.add_row(
            row["way"], row["filter"], figure(row["recall"], 3), figure(row["p50_ms"], 1), figure(row["p95_ms"], 1),
            figure(row["cpu_ms"], 1), figure(row["postgres_ms"], 1), figure(row["mb"], 0), reached,
        )  # fmt: skip
    screen.print(table)


def verdict(*, held: bool) -> str:
    """For people."""
    return "reached" if held else "[red]missed[/red]"


def figure(value: float | None, digits: int) -> str:
    """A number for the table."""
    return "-" if value is None else f"{value:,.{digits}f}"


if __name__ == "__main__":
    main()
