"""Which of the corrections near a question are shown: the newest of those that contradict, unlike each other, in a budget.

Pure. Maximal marginal relevance is Carbonell and Goldstein's (1998).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loopwright.memory.entry import SAME, Entry, Lesson

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """An entry like a question."""

    entry: Entry
    similarity: float
    """Cosine of the two inputs."""
    vector: Vector
    """Of unit length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """One that the task can be shown."""

    near: Near
    lesson: Lesson
    tokens: int
    """That showing it takes, rather too many."""


def choose(found: Sequence[Fit], *, k: int, tokens: int, diversity: float) -> list[Fit]:
    """What is shown, the nearest last.

    Args:
        found: all that may be shown.
        k: at most so many.
        tokens: of all of them together, at most.
        diversity: 0 takes the nearest, however alike; 1 looks only for what is unlike those taken.
    """
    if not found:
        return []
    ranked = sorted(found, key=lambda each: _rank(each.near.entry), reverse=True)
    vectors = np.stack([fit.near.vector for fit in ranked])
    # Not `@`: BLAS would share this among threads, and waking them takes longer than all of it.
    alike = np.einsum("ik,jk->ij", vectors, vectors)
    kept = _newest(ranked, alike.tolist())
    left, alike = [ranked[at] for at in kept], alike[np.ix_(kept, kept)]
    worth = np.array([fit.near.similarity for fit in left])
    nearest_taken = np.zeros(len(left))
    chosen: list[int] = []
    open_ = np.ones(len(left), dtype=bool)
    while len(chosen) < k and open_.any():
        scores = (1 - diversity) * worth - diversity * nearest_taken if chosen else worth
        at = int(np.argmax(np.where(open_, scores, -np.inf)))
        open_[at] = False
        if left[at].tokens > tokens:
            continue
        tokens -= left[at].tokens
        chosen.append(at)
        nearest_taken = np.maximum(nearest_taken, alike[at])
    return [left[at] for at in sorted(chosen, key=lambda at: (left[at].near.similarity, left[at].near.entry.id))]


def _newest(ranked: Sequence[Fit], alike: Sequence[Sequence[float]]) -> list[int]:
    """Which are not contradicted, or said again, by one that ranks higher: newer, or kept to calls like this one."""
    kept: list[int] = []
    for at, fit in enumerate(ranked):
        row, entry = alike[at], fit.near.entry
        if not any(_yields(entry, ranked[other].near.entry, row[other]) for other in kept):
            kept.append(at)
    return kept


def newest_of(entries: Sequence[Entry]) -> Entry | None:
    """Of entries of the very same inputs, the one that counts."""
    return max(entries, key=_rank, default=None)


def _yields(one: Entry, to: Entry, alike: float) -> bool:
    if one.output_sha == to.output_sha:
        return one.sha == to.sha
    return (alike >= SAME or one.sha == to.sha) and to.id not in one.beside


def _rank(entry: Entry) -> tuple[bool, str]:
    return bool(entry.scope), entry.id  # ids rise with time
