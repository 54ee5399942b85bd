"""A look at a window of calls against the reference: every feature tested, all of them corrected together.

The p-value of a feature holds over all looks of its window (see `drift_statistics`), and Holm's correction over the
features; so a window of calls like those of the reference is called moved with probability alpha at most, all in all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np

from loopwright.evals.statistics import holm
from loopwright.monitoring import drift_statistics as statistics
from loopwright.monitoring.drift_sample import Point, Sample
from loopwright.monitoring.drift_statistics import LOOKS, Bet, Floats, Tested, Vectors

Scores = Mapping[str, Mapping[str, float]]
"""By name and call."""
Features = dict[str, dict[str, Any]]
EFFECTS: Final[Mapping[str, str]] = {
    "strangers": "share of calls unlike any before",
    "meaning": "discrepancy of meaning (MMD)",
    "topics": "population stability index",
    "length": "Cliff's delta",
    "language": "population stability index",
    "refusals": "difference of shares",
    "format": "difference of shares",
}
"""What the effect of a feature is."""
_LEAST: Final = 20
"""Calls on each side that a test takes at least."""
_CATEGORIES: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What is known after so many calls of a window."""

    calls: int
    features: Features
    """Of each: `p` (over all looks of the window), `holm`, `effect`, and what else its kind tells."""

    def moved(self, alpha: float) -> list[str]:
        """Features that moved, the surest first."""
        found = [(each["holm"], name) for name, each in self.features.items() if each["holm"] <= alpha]
        return [name for _, name in sorted(found)]


@dataclass(slots=True, kw_only=True)
class Looking:
    """Looks at one window after the other; what is known of the reference is worked out once."""

    reference: Sample
    centres: Vectors | None
    window: int
    step: int
    seed: int
    scores: Scores = field(default_factory=dict)
    """Of calls of the reference and of the window."""
    _known: dict[str, Floats] = field(default_factory=dict)

    def looks(self, current: Sample, *, after: int, before: Features) -> Iterator[Look]:
        """A look every `step` calls beyond `after`; `before` is what the last look said."""
        bets = {name: self._bet(name, current) for name in ("input", "output")}
        last = before
        for calls in range(self.step, len(current) + 1, self.step):
            if calls > after:
                look = self._look(current.first(calls), bets, last)
                last = look.features
                yield look

    def _look(self, current: Sample, bets: Mapping[str, Sequence[float]], before: Features) -> Look:
        calls = len(current)
        due = any(calls - self.step < part * self.window <= calls for part in LOOKS)
        found: Features = {}
        for name, values in bets.items():
            vectors = current.inputs if name == "input" else current.outputs
            if len(vectors) and name in self._known:
                strange = statistics.strangeness(self._vectors(name), vectors)
                bound, share = statistics.strangers(self._known[name], strange)
                found[f"{name}.strangers"] = {"p": values[len(vectors) - 1], "effect": share, "bound": bound}
        for name, test in self._tests(current):
            earlier = before.get(name, {})
            if not due:
                # Between its looks a test keeps what it said.
                if earlier:
                    found[name] = {key: value for key, value in earlier.items() if key != "holm"}
                continue
            tested = test()
            p = min(statistics.spent(tested.p), float(earlier.get("p", 1.0)))
            found[name] = {"p": p, "effect": tested.effect, "once": tested.p}
        for name, adjusted in zip(found, holm([each["p"] for each in found.values()]), strict=True):
            found[name]["holm"] = adjusted
        return Look(calls=calls, features=found)

    def _bet(self, name: str, current: Sample) -> list[float]:
        vectors = current.inputs if name == "input" else current.outputs
        reference = self._vectors(name)
        if len(reference) < _LEAST or not len(vectors):
            return []
        if name not in self._known:
            self._known[name] = statistics.strangeness_within(reference)
        bet = Bet(self._known[name], window=self.window, step=self.step, seed=self.seed)
        return [bet.add(float(each)) for each in statistics.strangeness(reference, vectors)]

    def _vectors(self, name: str) -> Vectors:
        return self.reference.inputs if name == "input" else self.reference.outputs

    # ---- the tests of one look ----

    def _tests(self, current: Sample) -> Iterator[tuple[str, Callable[[], Tested]]]:
        then, now, seed = self.reference.points, current.points, self.seed + len(current)
        for name in ("input", "output"):
            one, other = self._vectors(name), current.inputs if name == "input" else current.outputs
            if len(one) >= _LEAST and len(other) >= _LEAST:
                yield f"{name}.meaning", partial(statistics.moved, one, other, seed=seed)
            for kind, value in (("length", _length), ("language", _language)):
                first = [found for each in then if (found := value(each, name)) is not None]
                second = [found for each in now if (found := value(each, name)) is not None]
                if len(first) >= _LEAST and len(second) >= _LEAST:
                    yield f"{name}.{kind}", partial(_plain, kind, first, second, seed)
        if self.centres is not None and min(len(current), len(self.reference.halves()[1])) >= _LEAST:
            yield "input.topics", partial(self._topics, current, seed)
        for kind, flag in (("refusals", "refused"), ("format", "malformed")):
            had = [getattr(each, flag) for each in then if getattr(each, flag) is not None]
            have = [getattr(each, flag) for each in now if getattr(each, flag) is not None]
            if len(had) >= _LEAST and len(have) >= _LEAST:
                yield f"output.{kind}", partial(statistics.rate, had, have)
        for name, by_call in self.scores.items():
            earlier = [by_call[each.call_id] for each in then if each.call_id in by_call]
            later = [by_call[each.call_id] for each in now if each.call_id in by_call]
            if len(earlier) >= _LEAST and len(later) >= _LEAST:
                yield f"score.{name}", partial(statistics.shifted, earlier, later)

    def _topics(self, current: Sample, seed: int) -> Tested:
        """Groups were made of one half of the reference: the other is held against the window."""
        assert self.centres is not None
        count = len(self.centres)
        then = np.bincount(statistics.nearest(self.centres, self.reference.halves()[1].inputs), minlength=count)
        now = np.bincount(statistics.nearest(self.centres, current.inputs), minlength=count)
        return statistics.shares(then.tolist(), now.tolist(), seed=seed)


def _plain(kind: str, then: Sequence[Any], now: Sequence[Any], seed: int) -> Tested:
    if kind == "length":
        return statistics.shifted(then, now)
    both = Counter(then) + Counter(now)
    names = [name for name, _ in both.most_common(_CATEGORIES)]
    return statistics.shares(counted(then, names), counted(now, names), seed=seed)


def counted(values: Sequence[Any], names: Sequence[Any]) -> list[int]:
    """How many of each name; the last is all others."""
    found = Counter(values)
    known = [found[name] for name in names]
    return [*known, len(values) - sum(known)]


def _length(point: Point, side: str) -> int | None:
    return point.input_length if side == "input" else point.output_length


def _language(point: Point, side: str) -> str | None:
    return point.language if side == "input" else point.output_language
