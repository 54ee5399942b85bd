"""How well a calibrated threshold tells questions that the documents answer from those that they do not.

Stocks a collection with each labelled corpus, calibrates it on its own texts, and then asks: its real questions, the same
ones without the documents that are judged relevant, and questions of the other corpora and of banking. Figures of a real
question were never seen by the calibration. Fixed thresholds on the cosine
stand beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from loopwright.core.passage import Passage, Query
from loopwright.core.who import Principal
from loopwright.kit.db import Database
from loopwright.kit.migrations import migrate
from loopwright.kit.postgres import EmbeddedPostgres
from loopwright.retrieval.calibration import Calibrations
from loopwright.retrieval.evidence import Fit, figures
from loopwright.retrieval.index import Index
from loopwright.retrieval.search import Searcher
from loopwright.rooms import ROOMS
from retrieval_stock import DATA, Corpus, Model, again, collection, stock

WHO = Principal(key_id=0, key_name="bench", project_id=1, project="default")
CORPORA = ("xquad_retrieval", "scifact_mini", "cranfield")


class Bench:
    """One database, one embedder, a collection for each corpus."""

    def __init__(self, db: Database, most: int) -> None:
        self.db, self.model, self.most = db, Model(), most
        self.search = Searcher(db, embedder=lambda _name: self.model)
        self.calibrations = Calibrations(db, self.search)

    async def found(self, name: str, text: str) -> Sequence[Passage]:
        """What is ranked for a question."""
        query = Query(text=text, collections=[name], who=WHO, k=20, options={"mode": "hybrid"})
        return (await self.search(query)).candidates

    async def stocked(self, corpus: Corpus) -> list[int]:
        """The ids of its documents, in order."""
        chunks = corpus.chunks(self.model.counter())
        into = await collection(self.db, corpus.name, self.model.name)
        vectors = self.model.kept(corpus.embedded(chunks))
        return await stock(self.db, Index(self.db), into, chunks, vectors, titles=corpus.titles)

    async def measured(self, corpus: Corpus, others: Sequence[str]) -> None:
        """Calibrate on a corpus, then ask it what it answers, what it no longer does, and what it never did."""
        documents = await self.stocked(corpus)
        row = await self.db.row("select id from collections where name = %s", (corpus.name,))
        assert row is not None
        made = await again(self.db, row["id"])
        begun = time.perf_counter()
        fits = (await self.calibrations.calibrate(made)).fits
        took = time.perf_counter() - begun
        there, without = [], []
        asked = random.Random(5).sample(range(len(corpus.queries)), min(self.most, len(corpus.queries)))
        for at in asked:
            text, gold = corpus.queries[at], {documents[each] for each in corpus.relevant[at]}
            passages = await self.found(corpus.name, text)
            there.append(figures(text, passages))
            without.append(figures(text, [each for each in passages if each.document_id not in gold]))
        elsewhere = [figures(text, await self.found(corpus.name, text)) for text in others]
        print(f"\n{corpus.name}: {made.documents} documents, {len(there)} questions, calibrated in {took:.1f} s")
        print(f"{'':22} {'kept':>7} {'near miss':>10} {'elsewhere':>10} {'precision':>10}   expected: kept, near miss")
        for mode, fit in fits.items():
            self.told(mode, fit, there, without, elsewhere)
        for cosine in (0.3, 0.4, 0.5):
            fixed = Fit(weights=(20.0, 0.0), bias=-20.0 * cosine, threshold=0.5, missed=0, passed=0)
            self.told(f"cosine {cosine:g}", fixed, there, without, elsewhere, expected=False)

    def told(
        self,
        name: str,
        fit: Fit,
        there: Sequence[tuple[float, float]],
        without: Sequence[tuple[float, float]],
        elsewhere: Sequence[tuple[float, float]],
        *,
        expected: bool = True,
    ) -> None:
        """Print one line."""
        kept, near, far = (
            float(np.mean([fit.value(*row) >= fit.threshold for row in rows])) for rows in (there, without, elsewhere)
        )
        told = f"   {1 - fit.missed:.1%}, {fit.passed:.1%}" if expected else ""
        print(f"{name:22} {kept:7.1%} {near:10.1%} {far:10.1%} {kept / max(kept + near, 1e-9):10.1%}{told}")


async def measure(options: argparse.Namespace) -> None:
    corpora = [Corpus.read(name) for name in CORPORA]
    banking = [json.loads(line)["text"] for line in (DATA / "banking77/test.jsonl").read_text().split("\n") if line]
    with tempfile.TemporaryDirectory() as home:
        server = await EmbeddedPostgres.start(Path(home) / "pg")
        db = await Database.open(server.url, size=4)
        try:
            await migrate(db, ROOMS)
            bench = Bench(db, options.questions)
            for corpus in corpora:
                others = [text for each in corpora if each is not corpus for text in each.queries[: options.others]]
                await bench.measured(corpus, [*others, *banking[: options.others]])
        finally:
            await db.close()
            await server.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=400, help="of each corpus at most")
    parser.add_argument("--others", type=int, default=100, help="questions of each other set")
    asyncio.run(measure(parser.parse_args()))
