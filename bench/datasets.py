"""Measures datasets: what a split leaks, beside a random one, on public files; and how a large file comes in.

.venv/bin/python bench/datasets.py                       # leaks, where the data is there, and 50,000 rows of 1 KB
.venv/bin/python bench/datasets.py --rows 100000 --size 10000    # a file of 1 GB
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from loopwright.datasets.columns import Taking
from loopwright.datasets.dataset import Shares
from loopwright.datasets.draft import Draft
from loopwright.datasets.example import Example
from loopwright.datasets.likeness import VALUES, common, signature
from loopwright.datasets.rows import read
from loopwright.datasets.sides import Rows, code_of, place
from loopwright.datasets.store import Datasets, Upload
from loopwright.kit.db import Database
from loopwright.kit.migrations import migrate
from loopwright.kit.postgres import EmbeddedPostgres

DATA = Path(os.environ.get("LOOPWRIGHT_TEST_DATA", "../shared/data"))
FILES = (
    ("banking77/train.jsonl", ("text",), 4_000),
    ("text_to_sql/geo_train.jsonl", ("prompt",), 4_000),
    ("text_to_sql/wikisql_train.jsonl", ("prompt",), 3_000),
    ("gsm8k/test.jsonl", ("question",), 4_000),
    ("bbq/Age.jsonl", ("context", "question"), 4_000),
    ("truthfulqa/TruthfulQA.jsonl", ("Question",), 4_000),
)
ALIKE = 0.7
"""Exact Jaccard index of pieces from which a training example gives a test example away."""
LOOKED = 400
"""Test examples of a file that are looked at."""
WORDS = tuple("".join(random.Random(at).choices("abcdefghijklmnopqrstuvwxyz", k=2 + at % 9)) for at in range(5_000))


def leaks(codes: NDArray[np.uint8], sets: Sequence[set[int]]) -> tuple[int, int]:
    """Test examples that a training example gives away, of those looked at."""
    where: defaultdict[int, list[int]] = defaultdict(list)
    for at in np.flatnonzero(codes == code_of("train")).tolist():
        for piece in sets[at]:
            where[piece].append(at)
    tests = np.flatnonzero(codes == code_of("test"))[:LOOKED]
    found = 0
    for test in tests.tolist():
        shared = Counter(other for piece in sets[test] for other in where[piece])
        found += any(count / (len(sets[test]) + len(sets[other]) - count) >= ALIKE for other, count in shared.items())
    return found, len(tests)


def split(name: str, members: Sequence[str], most: int) -> list[object]:
    """One file: how it is split, and what that leaks."""
    with (DATA / name).open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line, _ in zip(lines, range(most), strict=False)]
    inputs = [
        {"messages": row[members[0]]} if isinstance(row[members[0]], list) else {each: row[each] for each in members}
        for row in rows
    ]
    began = time.process_time()
    reads = [read(Draft(row=at, example=Example(id=str(at), inputs=each))) for at, each in enumerate(inputs)]
    boilerplate = common([each.pieces for each in reads[:500]])
    signed = b"".join(signature(each.pieces, boilerplate) for each in reads)
    each_us = (time.process_time() - began) / len(rows) * 1e6
    placed = place(
        Rows(
            keys=np.array([each.key for each in reads], np.int64),
            signatures=np.frombuffer(signed, np.uint8).reshape(-1, VALUES),
            codes=np.zeros(len(rows), np.uint8),
            kin=np.zeros(len(rows), np.int64),
            old=0,
            tied=np.zeros((0, 2), np.int64),
        ),
        Shares(),
    )
    drop = set() if boilerplate is None else set(boilerplate.tolist())
    sets = [set(each.pieces.tolist()) - drop for each in reads]
    sides = [code_of("train"), code_of("validation"), code_of("test")]
    thrown = np.random.default_rng(0).choice(sides, len(rows), p=[0.8, 0.1, 0.1]).astype(np.uint8)
    groups = Counter(placed.kin.tolist())
    ours, others = leaks(placed.codes, sets), leaks(thrown, sets)
    told = f"{len(rows):,}", f"{len(groups):,}", f"{max(groups.values()):,}", f"{each_us:.0f}"
    return [name, *told, f"{ours[0]} of {ours[1]}", f"{others[0]} of {others[1]}"]


def written(path: Path, rows: int, size: int) -> None:
    """A file of generated rows, each of about `size` bytes."""
    draw = random.Random(1)
    with path.open("w", encoding="utf-8") as out:
        for at in range(rows):
            text = " ".join(draw.choices(WORDS, k=size // 7))
            out.write(json.dumps({"id": f"row-{at}", "question": text, "answer": str(at)}) + "\n")


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def imported(rows: int, size: int) -> None:
    """One large file into a fresh database."""
    with tempfile.TemporaryDirectory(prefix="lw-bench-") as folder:
        path = Path(folder) / "large.jsonl"
        written(path, rows, size)
        server = await EmbeddedPostgres.start(Path(folder) / "pg")
        db = await Database.open(server.url, size=2)
        try:
            await migrate(db, ["datasets"])
            before = peak_mb()
            began, busy = time.perf_counter(), time.process_time()
            with path.open("rb") as file:
                upload = Upload(file=file, format="jsonl", source=path.name, taking=Taking())
                version = await Datasets(db).import_(1, "large", upload, author="bench")
            took, cpu = time.perf_counter() - began, time.process_time() - busy
            mb = path.stat().st_size / 1e6
            print(
                f"{version.count:,} rows, {mb:,.0f} MB: {took:.1f} s, {version.count / took:,.0f} rows/s,"
                f" {mb / took:.1f} MB/s, CPU {cpu / version.count * 1e6:.0f} µs a row; memory of the process rose by {peak_mb() - before:.0f} MB"
                f" (from {before:.0f}); splits {dict(version.splits)}"
            )
        finally:
            await db.close()
            await server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--size", type=int, default=1_000, help="bytes of a row")
    parser.add_argument("--only-import", action="store_true")
    told = parser.parse_args()
    if DATA.is_dir() and not told.only_import:
        table = Table(title=f"Leaks: test examples with a training example of Jaccard index {ALIKE} or more")
        for title in ("file", "examples", "groups", "largest", "CPU µs each", "leaks", "of a random split"):
            table.add_column(title, justify="left" if title == "file" else "right")
        for name, members, most in FILES:
            cells: list[Any] = split(name, members, most)
            table.add_row(*map(str, cells))
        Console(width=120).print(table)
    asyncio.run(imported(told.rows, told.size))


if __name__ == "__main__":
    main()
