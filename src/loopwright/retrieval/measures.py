"""How good a ranking of documents is, by judgements of people: precision, recall, nDCG, MRR of each query. Pure.

All are of the first k documents, each counted once. A grade above 0 is relevant. nDCG takes the grade itself as gain, as
trec_eval and BEIR do: DCG@k = Σ gain / log2(rank + 1), divided by that of the best order there could be (Järvelin and
Kekäläinen 2002, TOIS 20:422-446). MRR@k is 1 / rank of the first relevant one (Voorhees 1999, TREC-8), 0 beyond k.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loopwright.core.errors import BadRequest

Floats = NDArray[np.float64]
MEASURES: Final = ("precision", "recall", "ndcg", "mrr")
DEEPEST: Final = 200
"""The largest k."""


def measured(
    ranked: Sequence[Sequence[str]], judged: Sequence[Mapping[str, float]], cutoffs: Sequence[int]
) -> dict[str, Floats]:
    """Every measure at every cutoff, `{"ndcg@10": one value a query, …}`, in the order of the queries.

    Args:
        ranked: for each query the documents that were found, the best first; a repeated one counts where it stands first.
        judged: for each query the grade of each judged document; one with no grade above 0 cannot be measured.
        cutoffs: each from 1 to 200.

    Raises:
        BadRequest: a cutoff is out of range, or a query has nothing relevant.
        ValueError: there are not as many rankings as judgements.
    """
    depths = check_cutoffs(cutoffs)
    pairs = list(zip(ranked, judged, strict=True))
    deepest = depths[-1]
    gains = np.zeros((len(pairs), deepest))
    ideal = np.zeros((len(pairs), deepest))
    relevant = np.zeros(len(pairs))
    for row, (found, grades) in enumerate(pairs):
        best = sorted((grade for grade in grades.values() if grade > 0), reverse=True)
        if not best:
            raise BadRequest(f"query {row + 1} of {len(pairs)} has no relevant document", param="qrels")
        relevant[row] = len(best)
        ideal[row, : len(best)] = best[:deepest]
        order = list(dict.fromkeys(found))[:deepest]
        gains[row, : len(order)] = [max(grades.get(name, 0.0), 0.0) for name in order]
    return _all(gains, ideal, relevant, depths)


def check_cutoffs(cutoffs: Sequence[int]) -> tuple[int, ...]:
    """Cutoffs in rising order, each once.

    Raises:
        BadRequest: there are none, or one is out of range.
    """
    found = tuple(sorted(set(cutoffs)))
    if not found or found[0] < 1 or found[-1] > DEEPEST:
        raise BadRequest(f"cutoffs: whole numbers from 1 to {DEEPEST}", param="cutoffs")
    return found


def _all(gains: Floats, ideal: Floats, relevant: Floats, depths: Sequence[int]) -> dict[str, Floats]:
    hits = np.cumsum(gains > 0, axis=1)
    discounts = 1 / np.log2(np.arange(2, gains.shape[1] + 2))
    gained, possible = np.cumsum(gains * discounts, axis=1), np.cumsum(ideal * discounts, axis=1)
    any_hit = (gains > 0).any(axis=1) if gains.shape[0] else np.zeros(0, dtype=np.bool_)
    first = np.where(any_hit, (gains > 0).argmax(axis=1) + 1, np.inf)
    found: dict[str, Floats] = {}
    for k in depths:
        found[f"precision@{k}"] = hits[:, k - 1] / k
        found[f"recall@{k}"] = hits[:, k - 1] / relevant
        found[f"ndcg@{k}"] = gained[:, k - 1] / possible[:, k - 1]
        found[f"mrr@{k}"] = np.where(first <= k, 1 / first, 0.0)
    return found
