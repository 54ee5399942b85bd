"""From what was seen in collections to one order of candidates, each with all that speaks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from loopwright.retrieval.collection import Collection
from loopwright.retrieval.fusion import reciprocal, scaled
from loopwright.retrieval.looking import Seen
from loopwright.retrieval.options import Options

Scores = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(slots=True, kw_only=True)
class Candidate:
    """A chunk that may be what is looked for."""

    chunk: int
    collection: Collection
    score: float
    scores: dict[str, float] = field(default_factory=dict)
    """By stage, and the rank in each."""


def of_question(seen: Sequence[Seen], options: Options) -> list[Candidate]:
    """The candidates of one question over all collections, the best first."""
    words = _scaled([each.words for each in seen], [each.best_words for each in seen], options.candidates)
    dense: list[Scores] = [np.empty(0)] * len(seen)
    models = list(dict.fromkeys(each.collection.embedder for each in seen))
    for model in models:
        # Cosines of different models say nothing of each other.
        alike = [at for at, each in enumerate(seen) if each.collection.embedder == model]
        cosines = [np.nan_to_num(seen[at].dense, nan=-1.0) for at in alike]
        bests = [seen[at].best_dense for at in alike]
        for at, scores in zip(alike, _scaled(cosines, bests, options.candidates), strict=True):
            dense[at] = scores
    found: list[Candidate] = []
    for at, each in enumerate(seen):
        if options.mode == "hybrid":
            scores = options.weight * dense[at] + (1 - options.weight) * words[at]
        elif options.mode == "lexical":
            scores = each.words
        else:
            scores = np.nan_to_num(each.dense, nan=-1.0) if len(models) == 1 else dense[at]
        found += _candidates(each, scores, options)
    found.sort(key=lambda one: (-one.score, one.chunk))
    _rank(found)
    return found


def of_questions(lists: Sequence[list[Candidate]]) -> list[Candidate]:
    """Those of several questions as one order: by reciprocal ranks, each with what its best question said of it."""
    if len(lists) == 1:
        return lists[0]
    worth = reciprocal([[one.chunk for one in each] for each in lists])
    best: dict[int, Candidate] = {}
    for each in lists:
        for one in each:
            held = best.get(one.chunk)
            if held is None or one.scores["fused_rank"] < held.scores["fused_rank"]:
                best[one.chunk] = one
    found = list(best.values())
    for one in found:
        one.score = one.scores["questions"] = worth[one.chunk]
    return sorted(found, key=lambda one: (-one.score, one.chunk))


def limited(candidates: Sequence[Candidate], documents: dict[int, int], most: int) -> list[Candidate]:
    """At most so many of each document, the best ones; 0 is any number."""
    if not most:
        return list(candidates)
    taken: dict[int, int] = {}
    found = []
    for one in candidates:
        document = documents.get(one.chunk, -one.chunk)
        taken[document] = taken.get(document, 0) + 1
        if taken[document] <= most:
            found.append(one)
    return found


def _scaled(scores: Sequence[Scores], bests: Sequence[Scores], most: int) -> list[Scores]:
    pool = np.sort(np.concatenate([np.empty(0), *bests]))[::-1][:most]
    return [scaled(each, pool, most) for each in scores]


def _candidates(seen: Seen, scores: Scores, options: Options) -> list[Candidate]:
    found = []
    for chunk, score, dense, bm25, whole in zip(
        seen.chunks.tolist(), scores.tolist(), seen.dense.tolist(), seen.bm25.tolist(), seen.whole.tolist(), strict=True
    ):
        told: dict[str, float] = {}
        if dense == dense:  # noqa: PLR0124 - not NaN
            told["dense"] = dense
        if options.mode != "dense":
            told |= {"lexical": bm25, "document": whole}
        found.append(Candidate(chunk=chunk, collection=seen.collection, score=score, scores=told | {"fused": score}))
    return found


def _rank(candidates: Sequence[Candidate]) -> None:
    """Write down the rank of each in each stage, from 1; where it says nothing at all, none."""
    for stage in ("dense", "lexical", "fused"):
        having = [one for one in candidates if stage in one.scores and (stage != "lexical" or one.scores[stage] > 0)]
        having.sort(key=lambda one: (-one.scores[stage], one.chunk))
        for rank, one in enumerate(having, start=1):
            one.scores[f"{stage}_rank"] = rank
