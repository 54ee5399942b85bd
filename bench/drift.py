"""How soon a share of another topic is found among calls, and how often something is found where nothing moved.

    LOOPWRIGHT_TEST_DATA=…/data python bench/drift.py             # all of it
    python bench/drift.py --windows 20 --repeats 5                # small

Questions of banking77, embedded by MiniLM as the engine runs it, go through the shipped looks (`monitoring/
drift_looking.py`): the reference and each window are drawn anew, and share no question. A null window is more questions
of the same set. For the table, strangers (questions of another set, or of intents that the reference never saw) begin to
come in the middle of a window, at a random place, and each call is one of them with the probability of the mixture; the
delay is counted in calls from there to the look that says so.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from loopwright.evals.language import language
from loopwright.kit.ids import Ids
from loopwright.monitoring import drift_statistics as statistics
from loopwright.monitoring.drift_looking import Features, Look, Looking
from loopwright.monitoring.drift_sample import Point, Sample
from retrieval_stock import Model

DATA: Final = Path(os.environ.get("LOOPWRIGHT_TEST_DATA", "../shared/data"))
SETS: Final = {
    "xquad": ("xquad_retrieval/queries.jsonl", "text"),
    "truthfulqa": ("truthfulqa/TruthfulQA.jsonl", "Question"),
    "gsm8k": ("gsm8k/test.jsonl", "question"),
}
NEAR: Final = "unseen intents"
"""Eight of the 77 intents, held out of the reference: the hardest strangers, and no foreign topic."""
MIXTURES: Final = (0.02, 0.05, 0.1, 0.2, 0.5)
ALPHA, FALSE, WITHIN = 0.01, 0.01, 500
"""The level of a window; what must be reached: false alarms, and calls until 10 % are found."""
LONGEST: Final = 2_000
"""Calls after which nothing was found."""


@dataclass(frozen=True, slots=True)
class Stock:
    """Questions as points, and the intents they are of."""

    points: Sequence[Point]
    intents: NDArray[np.str_]


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--windows", type=int, default=200, help="null windows")
    options.add_argument("--repeats", type=int, default=40, help="of each cell of the table")
    options.add_argument("--reference", type=int, default=1_000)
    options.add_argument("--window", type=int, default=500)
    options.add_argument("--topics", default=f"{','.join(SETS)},{NEAR}")
    options.add_argument("--mixtures", default=",".join(f"{each:g}" for each in MIXTURES))
    options.add_argument("--no-alone", action="store_true", help="leave out the table of each test alone")
    options.add_argument("--json", type=Path, help="write all figures here")
    told = options.parse_args()
    screen = Console(width=max(Console().width, 120))
    bank = read_bank()
    topics = {name: read(name) for name in told.topics.split(",") if name in SETS}
    began = time.process_time()
    null = [whole(bank, (), 0.0, told, seed) for seed in range(told.windows)]
    spent = (time.process_time() - began) / max(told.windows, 1)
    false = sum(bool(looks[-1].moved(ALPHA)) for looks in null)
    any_look = sum(any(look.moved(ALPHA) for look in looks) for looks in null)
    screen.print(
        f"\nNull: {any_look} of {told.windows} windows of {told.window} calls raised an alarm at any of their looks"
        f" ({false} at the last); alpha {ALPHA:g}; {spent:.2f} CPU-s a window. {verdict(any_look <= FALSE * told.windows)}"
    )
    rows = []
    for name in told.topics.split(","):
        for mixture in map(float, told.mixtures.split(",")):
            rows.append(cell(bank, topics.get(name, ()), name, mixture, told))
            screen.print(f"  {name}, {mixture:.0%}: median {rows[-1]['median']}", style="dim")
    show(screen, rows)
    if not told.no_alone:
        alone(screen, bank, topics, told, null)
    if told.json:
        told.json.write_text(json.dumps({"windows": told.windows, "alarms": any_look, "delays": rows}, indent=1))


def cell(bank: Stock, foreign: Sequence[Point], name: str, mixture: float, told: argparse.Namespace) -> dict[str, Any]:
    """Delays of one mixture of one topic."""
    delays, by = [], []
    for seed in range(told.repeats):
        delay, feature = delayed(bank, foreign, mixture, told, seed)
        delays.append(delay)
        by.append(feature)
    found = np.array(delays)
    within = float((found <= WITHIN).mean())
    known = [each for each in by if each]
    return {
        "topic": name,
        "mixture": mixture,
        "within": within,
        "median": _number(np.quantile(found, 0.5, method="higher")),
        "p90": _number(np.quantile(found, 0.9, method="higher")),
        "by": max(set(known), key=known.count) if known else "",
    }


def delayed(
    bank: Stock, foreign: Sequence[Point], mixture: float, told: argparse.Namespace, seed: int
) -> tuple[float, str]:
    """(calls from the first that may be a stranger to the look that finds them, by which feature)."""
    random = np.random.default_rng(10_000 + seed)
    reference, ordinary, strange = drawn(bank, foreign, told, random)
    onset = int(random.integers(0, told.window))
    length = onset + LONGEST
    mixed = random.random(length) < mixture
    mixed[:onset] = False
    picks = random.integers(0, len(ordinary), length)
    calls = [strange[int(random.integers(len(strange)))] if mixed[at] else ordinary[picks[at]] for at in range(length)]
    for begin in range(0, length, told.window):
        if begin + told.window <= onset:
            continue
        for look in looking(reference, told, seed + begin).looks(
            Sample(calls[begin : begin + told.window]), after=0, before={}
        ):
            if (moved := look.moved(ALPHA)) and begin + look.calls > onset:
                return begin + look.calls - onset, moved[0]
    return math.inf, ""


def whole(bank: Stock, foreign: Sequence[Point], mixture: float, told: argparse.Namespace, seed: int) -> Sequence[Look]:
    """All looks of one window that is mixed from its first call on."""
    random = np.random.default_rng(seed)
    reference, ordinary, strange = drawn(bank, foreign, told, random)
    calls = list(ordinary[: told.window])
    for at in np.flatnonzero(random.random(told.window) < mixture):
        calls[int(at)] = strange[int(random.integers(len(strange)))]
    before: Features = {}
    return list(looking(reference, told, seed).looks(Sample(calls), after=0, before=before))


def drawn(
    bank: Stock, foreign: Sequence[Point], told: argparse.Namespace, random: np.random.Generator
) -> tuple[Sample, Sequence[Point], Sequence[Point]]:
    """(reference, other questions of the same kind, strangers)."""
    places, strange = np.arange(len(bank.points)), foreign
    if not foreign:
        held = np.isin(bank.intents, random.choice(np.unique(bank.intents), 8, replace=False))
        strange = [bank.points[int(at)] for at in np.flatnonzero(held)]
        places = np.flatnonzero(~held)
    order = random.permutation(places)
    points = [bank.points[int(at)] for at in order]
    return Sample(points[: told.reference]), points[told.reference :], strange


def looking(reference: Sample, told: argparse.Namespace, seed: int) -> Looking:
    """As a round of the house makes it."""
    return Looking(
        reference=reference,
        centres=statistics.clusters(reference.halves()[0].inputs, seed=seed),
        window=told.window,
        step=max(5, told.window // 20),
        seed=seed,
    )


def alone(
    screen: Console, bank: Stock, topics: dict[str, Sequence[Point]], told: argparse.Namespace, null: Sequence[Any]
) -> None:
    """What each test by itself finds of 10 % in one window, and of nothing."""
    table = Table(title="Each test alone at 10 %: share of windows with p ≤ 0.01 at any look", title_justify="left")
    names = sorted({name for looks in null for look in looks for name in look.features})
    table.add_column("strangers")
    for name in names:
        table.add_column(name.partition(".")[2], justify="right")
    rows = {"none": null}
    for topic in told.topics.split(","):
        repeats = range(max(told.repeats // 2, 1))
        rows[topic] = [whole(bank, topics.get(topic, ()), 0.1, told, 500 + seed) for seed in repeats]
    for topic, windows in rows.items():
        found = [np.mean([any(each.features[n]["p"] <= ALPHA for each in looks if n in each.features) for looks in windows])
                 for n in names]  # fmt: skip
        table.add_row(topic, *[f"{each:.3f}" for each in found])
    screen.print(table)


def show(screen: Console, rows: Sequence[dict[str, Any]]) -> None:
    """A line for each topic and mixture."""
    table = Table(title="Calls from the first stranger to the alarm", title_justify="left")
    for heading in ("strangers", "mixture", f"found within {WITHIN}", "median", "90th percentile", "mostly by", ""):
        table.add_column(heading, justify="left" if heading in ("strangers", "mostly by", "") else "right")
    for row in rows:
        must = row["mixture"] == 0.1 and row["topic"] != NEAR
        table.add_row(
            row["topic"],
            f"{row['mixture']:.0%}",
            f"{row['within']:.0%}",
            *[f"{row[name]:,.0f}" if row[name] is not None else f"> {LONGEST:,}" for name in ("median", "p90")],
            row["by"],
            verdict(row["within"] == 1) if must else "",
        )
    screen.print(table)


def verdict(reached: bool) -> str:  # noqa: FBT001 - what it is all about
    """In words."""
    return "[green]reached[/]" if reached else "[red]missed[/]"


def read_bank() -> Stock:
    """Both halves of banking77."""
    rows = [json.loads(line) for half in ("train", "test") for line in _open(f"banking77/{half}.jsonl")]
    return Stock(made([row["text"] for row in rows]), np.array([row["category"] for row in rows]))


def read(name: str) -> Sequence[Point]:
    """The questions of another set."""
    path, field = SETS[name]
    return made([json.loads(line)[field] for line in _open(path)])


def made(texts: Sequence[str]) -> Sequence[Point]:
    """Points without answers; vectors are kept in a file beside those of retrieval."""
    vectors, ids = Model().kept(texts), Ids()
    return [
        Point(
            call_id=ids.new(),
            key_id=1,
            input_length=len(text),
            output_length=None,
            language=language(text),
            output_language=None,
            refused=None,
            malformed=None,
            input=vector,
            output=None,
        )
        for text, vector in zip(texts, vectors, strict=True)
    ]


def _open(path: str) -> Sequence[str]:
    found = DATA / path
    if not found.exists():
        raise SystemExit(f"{found} is not there: set LOOPWRIGHT_TEST_DATA to the folder of the data sets")
    return found.read_text(encoding="utf-8").splitlines()


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


if __name__ == "__main__":
    main()
