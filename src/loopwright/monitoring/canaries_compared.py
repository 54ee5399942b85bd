"""Whether answers of now are answers of then, example by example: by what they say, by meaning, by score.

At the time of the baseline each example was answered several times, so what an unchanged upstream varies by itself is
known. Had nothing changed, the answer of now would be one of those like any other: any of them could have been the new
one. That is tested by exchanging them, in each example by itself, which holds whatever the examples and however varied
the answers (Fisher 1935, section 21).
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from loopwright.evals.statistics import holm

Floats = NDArray[np.float64]
_DRAWS: Final = 9_999
_TOGETHER: Final = 500
_WORDS: Final = re.compile(r"\s+|\w+|[^\w\s]")
_COMPARED: Final = 4_000
"""Words of an answer that are matched one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """One of the three."""

    name: str
    p: float
    effect: float
    unit: str
    holm: float = 1.0

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {"name": self.name, "p": self.p, "holm": self.holm, "effect": self.effect, "unit": self.unit}


def words_changed(baseline: Sequence[Sequence[str]], now: Sequence[str]) -> Test:
    """How many answers are none of those of then, against how many would be by chance: exact (Poisson binomial).

    The effect is the share of examples with a new answer beyond what is expected.
    """
    chances, seen = [], 0
    for then, new in zip(baseline, now, strict=True):
        every = [*then, new]
        chances.append(sum(every.count(each) == 1 for each in every) / len(every))
        seen += new not in then
    n = len(chances)
    tail = np.zeros(n + 1)
    tail[0] = 1.0
    for chance in chances:
        tail[1:] = tail[1:] * (1 - chance) + tail[:-1] * chance
        tail[0] *= 1 - chance
    p = float(min(1.0, tail[seen:].sum())) if n else 1.0
    effect = (seen - sum(chances)) / n if n else 0.0
    return Test(name="words", p=p, effect=effect, unit="share of examples answered anew")


def meaning_moved(vectors: Sequence[NDArray[np.float32]], *, seed: int) -> Test:
    """How far the new answer (the last row of each) lies from the others, by exchanging it with them; one-sided."""
    tables, effects = [], []
    for each in vectors:
        apart = 1.0 - each @ each.T
        mean = apart.sum(axis=1) / max(len(each) - 1, 1)
        tables.append(np.asarray(mean, dtype=np.float64))
        effects.append(float(mean[-1] - mean[:-1].mean()))
    p = _exchanged(tables, seed)
    return Test(name="meaning", p=p, effect=_mean(effects), unit="cosine distance beyond that of answers of then")


def score_moved(scores: Sequence[Sequence[float]], *, seed: int) -> Test:
    """Whether the new answers (the last of each) score better or worse than those of then; two-sided."""
    tables, effects = [], []
    for each in scores:
        values = np.asarray(each, dtype=np.float64)
        others = (values.sum() - values) / max(len(values) - 1, 1)
        tables.append(values - others)
        effects.append(float(values[-1] - values[:-1].mean()))
    p = _exchanged(tables, seed, both=True)
    return Test(name="score", p=p, effect=_mean(effects), unit="difference of mean score")


def corrected(tests: Sequence[Test]) -> list[Test]:
    """With Holm's correction over them."""
    adjusted = holm([each.p for each in tests])
    return [
        Test(name=each.name, p=each.p, effect=each.effect, unit=each.unit, holm=found)
        for each, found in zip(tests, adjusted, strict=True)
    ]


def _exchanged(tables: Sequence[Floats], seed: int, *, both: bool = False) -> float:
    """The sum over examples of what the last of each says, against drawing one of each at random."""
    if not tables or all(float(np.ptp(each)) < 1e-9 for each in tables):
        return 1.0
    random = np.random.default_rng(seed)
    seen = sum(float(each[-1]) for each in tables)
    bound = (abs(seen) if both else seen) - 1e-9
    beyond = done = 0
    while done < _DRAWS:
        count = min(_TOGETHER, _DRAWS - done)
        drawn = np.zeros(count)
        for each in tables:
            drawn += each[random.integers(0, len(each), count)]
        beyond += int(((np.abs(drawn) if both else drawn) >= bound).sum())
        done += count
    return (beyond + 1) / (done + 1)


def difference(before: str, after: str) -> list[tuple[str, str]]:
    """What became of a text, in words: (`same`, `gone` or `come`, text)."""
    one, other = _WORDS.findall(before), _WORDS.findall(after)
    if len(one) > _COMPARED or len(other) > _COMPARED:
        return [("gone", before), ("come", after)]
    found: list[tuple[str, str]] = []
    for what, a, b, c, d in difflib.SequenceMatcher(a=one, b=other, autojunk=False).get_opcodes():
        if what == "equal":
            found.append(("same", "".join(one[a:b])))
            continue
        if b > a:
            found.append(("gone", "".join(one[a:b])))
        if d > c:
            found.append(("come", "".join(other[c:d])))
    return found


def _mean(values: Sequence[float]) -> float:
    found = sum(values) / len(values) if values else 0.0
    return found if math.isfinite(found) else 0.0
