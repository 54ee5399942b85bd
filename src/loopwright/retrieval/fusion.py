"""Makes one order of several lists of scores. Pure; no weight in it was fitted to any collection.

`hybrid` is the mean of two scores of a chunk, each first put on one scale: 1 for the first of the best candidates of its
list, 0 for the last (Bruch, Gai and Ingber, An Analysis of Fusion Functions for Hybrid Retrieval, 2023, find such a
combination better than reciprocal ranks, in and out of domain). Ranks throw away by how much one list prefers what it
ranks first, and know nothing of a chunk that only the other list found; here every candidate has both scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
_K: Final = 60
"""Of reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009)."""


def scaled(scores: Scores, best: Scores, full: int) -> Scores:
    """`scores` on a scale on which the `best` of a list, highest first, reach from 1 down to 0.

    Who stands behind the last of them is below 0, at most as far as the list is long. A list shorter than `full` holds
    all that speaks to the question at all: what it lacks has nothing, so its scale begins at nothing.
    """
    if not len(best):
        return np.zeros(len(scores))
    high = float(best[0])
    low = float(best[-1]) if len(best) >= full else min(0.0, float(best[-1]))
    if high - low < 1e-9:
        return np.where(scores >= high - 1e-9, 1.0, 0.0)
    return np.maximum((scores - low) / (high - low), -1.0)


def reciprocal(orders: Sequence[Sequence[int]]) -> dict[int, float]:
    """Reciprocal rank fusion of lists of ids, best first: for lists whose scores say nothing of each other."""
    found: dict[int, float] = {}
    for order in orders:
        for rank, each in enumerate(order, start=1):
            found[each] = found.get(each, 0.0) + 1.0 / (_K + rank)
    return found


def diverse(scores: Scores, vectors: NDArray[np.float32], most: int, diversity: float) -> list[int]:
    """Places of `most` of the scored, by maximal marginal relevance (Carbonell and Goldstein, 1998).

    Each next one is best in `(1 - diversity) * score - diversity * likeness`, the score on a scale from 0 to 1 and
    likeness the highest cosine with one chosen before.
    """
    if not len(scores):
        return []
    spread = float(scores.max() - scores.min())
    worth = (scores - scores.min()) / spread if spread > 1e-12 else np.ones(len(scores))
    left = np.ones(len(scores), dtype=np.bool_)
    likeness = np.full(len(scores), -1.0)
    chosen: list[int] = []
    while len(chosen) < min(most, len(scores)):
        value = (1 - diversity) * worth - diversity * np.maximum(likeness, 0.0)
        at = int(np.argmax(np.where(left, value, -np.inf)))
        chosen.append(at)
        left[at] = False
        likeness = np.maximum(likeness, vectors @ vectors[at])
    return chosen
