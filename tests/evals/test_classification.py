from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from loopwright.core.score import Score
from loopwright.evals.classification import figures
from loopwright.evals.evaluators import make
from tests.evals.evaluating import found

LABELS = ["billing", "refund", "other", "never"]


@pytest.mark.parametrize("seed", range(5))
def test_the_figures_are_those_of_scikit_learn(seed: int) -> None:
    drawn = random.Random(seed)
    truth = [drawn.choice(LABELS[:3]) for _ in range(200)]
    given = [drawn.choice([one, one, *LABELS, "unread"]) for one in truth]
    ours = figures(
        Counter(zip(truth, [None if g == "unread" else g for g in given], strict=True)), LABELS, positive="refund"
    )
    assert ours["accuracy"] == pytest.approx(accuracy_score(truth, given), abs=1e-12)
    for average in ("micro", "macro", "weighted"):
        theirs = precision_recall_fscore_support(truth, given, labels=LABELS, average=average, zero_division=0)
        for name, value in zip(("precision", "recall", "f1"), theirs[:3], strict=True):
            assert ours[f"{name}_{average}"] == pytest.approx(value, abs=1e-12), (name, average)
    theirs = precision_recall_fscore_support(truth, given, labels=["refund"], zero_division=0)
    for name, value in zip(("precision", "recall", "f1"), theirs[:3], strict=True):
        assert ours[name] == pytest.approx(value[0], abs=1e-12)


def test_scores_carry_what_the_figures_need() -> None:
    spec = {"kind": "classification", "args": {"labels": ["positive", "negative"], "positive": "positive"}}
    answers = [
        ("It is Positive.", "positive"),
        ("negative", "positive"),
        ("Negative, surely", "negative"),
        ("hm", "negative"),
    ]
    scores = [found(spec, text, expected) for text, expected in answers]
    assert [score.value for score in scores] == [1.0, 0.0, 1.0, 0.0]
    assert [score.label for score in scores] == ["positive", "negative", "negative", "unread"]
    made: Any = make(spec)
    ours = made.aggregate([*scores, Score(name="classification", value=None, missing="raised")])
    assert ours["accuracy"] == 0.5
    assert (ours["precision"], ours["recall"]) == (1.0, 0.5)
    assert made.aggregate([]) == {}


def test_without_labels_the_answer_is_the_label() -> None:
    assert found("classification", " 'Refund.' ", "refund").value == 1.0
    assert found("classification", "1", 1).value == 1.0
    scores = [found("classification", text, "a") for text in ("a", "b")]
    made: Any = make("classification")
    assert made.aggregate(scores)["f1_macro"] == pytest.approx((2 / 3) / 2)


def test_a_label_nobody_knows_is_missing() -> None:
    spec = {"kind": "classification", "args": {"labels": ["a", "b"]}}
    assert "none of args.labels" in (found(spec, "a", "c").missing or "")
    assert "no label" in (found(spec, "a", {"x": 1}).missing or "")
    kept = {"kind": "classification", "args": {"labels": ["a", "b"], "unread": "missing"}}
    assert found(kept, "hm", "a").value is None
