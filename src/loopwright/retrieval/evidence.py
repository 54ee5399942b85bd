"""How much what a search found speaks to its question: two figures of the best candidates, weighed as was fitted.

The figures are the highest cosine, and the highest BM25 for each word of the question. A logistic model of them, fitted
to questions whose passage is there and to the same questions without it, says how likely the answer is in what was
found. Pure; knows no tables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from loopwright.core.passage import Passage
from loopwright.retrieval.options import MODES, Mode

Figures = NDArray[np.float64]
"""Of questions: [questions, 2], the cosine and the BM25 of a word."""
_WORD: Final = re.compile(r"\w{3,}")
_OF: Final[Mapping[Mode, tuple[int, ...]]] = {"hybrid": (0, 1), "dense": (0,), "lexical": (1,)}
_ROUNDS: Final = 50
_RIDGE: Final = 1.0
"""Of the logistic fit, on figures of unit spread: few questions do not make it sure of itself."""
LEAST: Final = 10
"""Questions of each kind that a fit needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What evidence is made of in one mode."""

    weights: tuple[float, float]
    """Of the cosine and of the BM25 of a word."""
    bias: float
    threshold: float
    """Evidence, 0 to 1, below which the documents are taken to say nothing."""
    missed: float
    """Share of the questions with an answer that fall below it."""
    passed: float
    """Share of the questions without one that do not: they are about the same things."""
    astray: float | None = None
    """Share of questions of other fields that do not; None is not known."""

    def value(self, cosine: float, word: float) -> float:
        """Evidence, 0 to 1."""
        logit = self.bias + self.weights[0] * cosine + self.weights[1] * word
        return float(1.0 / (1.0 + np.exp(-np.clip(logit, -40, 40))))

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "weights": [round(each, 6) for each in self.weights],
            "bias": round(self.bias, 6),
            "threshold": round(self.threshold, 6),
            "missed": round(self.missed, 4),
            "passed": round(self.passed, 4),
            "astray": None if self.astray is None else round(self.astray, 4),
        }


def fit_of(said: Mapping[str, Any]) -> Fit:
    """From how it is stored."""
    dense, lexical = said["weights"]
    return Fit(
        weights=(dense, lexical),
        bias=said["bias"],
        threshold=said["threshold"],
        missed=said["missed"],
        passed=said["passed"],
        astray=said.get("astray"),
    )


GENERIC: Final = Fit(weights=(20.0, 0.0), bias=-6.8, threshold=0.5, missed=0.05, passed=0.06)
"""For collections of the default embedder that are too small to be calibrated: a cosine of 0.34. Measured on xquad, where
5 % of questions fall below it whose passage is there, and 94 % of questions of other fields do: see docs/grounding.md."""


def figures(question: str, passages: Sequence[Passage]) -> tuple[float, float]:
    """The two figures of what was found for a question; 0 where there is none."""
    cosine = max((each.scores.get("dense", 0.0) for each in passages), default=0.0)
    lexical = max((each.scores.get("lexical", 0.0) for each in passages), default=0.0)
    return cosine, lexical / max(len({*_WORD.findall(question.lower())}), 1)


def fitted(
    answered: Figures, unanswered: Figures, elsewhere: Figures | None = None, *, miss: float = 0.05
) -> dict[str, Fit]:
    """What evidence is made of, by mode.

    Args:
        answered: figures of questions whose passage is there.
        unanswered: of questions whose passage is not.
        elsewhere: of questions of other fields, which weigh as much as those.
        miss: share of the answered that may fall below the threshold.

    Raises:
        ValueError: there are fewer than LEAST of either.
    """
    if min(len(answered), len(unanswered)) < LEAST:
        raise ValueError(f"{len(answered)} answered and {len(unanswered)} unanswered questions are too few: {LEAST}")
    far = np.zeros((0, 2)) if elsewhere is None else elsewhere
    return {mode: _fit((answered, unanswered, far), _OF[mode], miss) for mode in MODES}


def _fit(kinds: tuple[Figures, Figures, Figures], columns: Sequence[int], miss: float) -> Fit:
    answered, unanswered, elsewhere = kinds
    weights, bias = _logistic(kinds, columns)
    if len(columns) > 1 and min(weights[at] for at in columns) <= 0:
        # More of either cannot be less evidence: the one that says so is noise here.
        best = max(columns, key=lambda at: float(weights[at]))
        weights, bias = _logistic(kinds, (best,))
    made = Fit(weights=(float(weights[0]), float(weights[1])), bias=bias, threshold=0.0, missed=0.0, passed=0.0)
    there = np.array([made.value(*row) for row in answered])
    missing = np.array([made.value(*row) for row in unanswered])
    far = np.array([made.value(*row) for row in elsewhere])
    threshold = float(np.quantile(there, miss))
    return Fit(
        weights=made.weights,
        bias=bias,
        threshold=threshold,
        missed=float(np.mean(there < threshold)),
        passed=float(np.mean(missing >= threshold)),
        astray=float(np.mean(far >= threshold)) if len(far) else None,
    )


def _logistic(kinds: tuple[Figures, Figures, Figures], columns: Sequence[int]) -> tuple[Figures, float]:
    """Ridge logistic regression by Newton's method on some of the figures; with and without an answer weigh the same."""
    rows = np.concatenate(kinds)[:, list(columns)]
    answered, without = len(kinds[0]), [len(kind) for kind in kinds[1:] if len(kind)]
    said = np.concatenate([np.ones(answered), np.zeros(sum(without))])
    parts = [np.full(answered, 0.5 / answered), *(np.full(count, 0.5 / len(without) / count) for count in without)]
    share = np.concatenate(parts) * len(rows)
    middle, spread = rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-9)
    design = np.column_stack([np.ones(len(rows)), (rows - middle) / spread])
    ridge = np.diag([1e-6, *[_RIDGE] * len(columns)])
    found = np.zeros(design.shape[1])
    for _ in range(_ROUNDS):
        chance = 1.0 / (1.0 + np.exp(-np.clip(design @ found, -30, 30)))
        slope = design.T @ (share * (said - chance)) - ridge @ found
        curve = (design * (share * chance * (1 - chance))[:, None]).T @ design + ridge
        step = np.linalg.solve(curve, slope)
        found += step
        if float(np.abs(step).max()) < 1e-8:
            break
    weights = np.zeros(2)
    weights[list(columns)] = found[1:] / spread
    return weights, float(found[0] - (found[1:] * middle / spread).sum())
