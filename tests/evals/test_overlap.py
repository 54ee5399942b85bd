from __future__ import annotations

from typing import Any

import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from loopwright.evals.evaluators import make
from loopwright.evals.overlap import rouge_l
from tests.evals.evaluating import found

ANSWERS = [
    ("The cat sat on the mat.", ["The cat was sitting on the mat.", "A cat sat on a mat."]),
    ("It is a guide to action which ensures that the military obeys.", ["It is a guide to action that ensures this."]),
    ("no overlap whatsoever", ["Ganz andere Wörter"]),
    ("short", ["short"]),
]


def test_bleu_and_chrf_are_sacrebleus_for_one_and_for_all() -> None:
    references = [[wanted[0] for _, wanted in ANSWERS], [wanted[-1] for _, wanted in ANSWERS]]
    texts = [text for text, _ in ANSWERS]
    for kind, args, sentence, corpus in (
        ("bleu", {}, sacrebleu.sentence_bleu, sacrebleu.corpus_bleu),
        ("chrf", {"word_order": 2}, sacrebleu.sentence_chrf, sacrebleu.corpus_chrf),
    ):
        more: dict[str, Any] = {"word_order": 2} if kind == "chrf" else {}
        spec = {"kind": kind, "args": args}
        scores = [found(spec, text, [wanted[0], wanted[-1]]) for text, wanted in ANSWERS]
        for score, (text, wanted) in zip(scores, ANSWERS, strict=True):
            theirs = sentence(text, [wanted[0], wanted[-1]], **more).score
            assert score.value == pytest.approx(theirs, abs=1e-9), kind
        made: Any = make(spec)
        assert made.aggregate(scores)[kind] == pytest.approx(corpus(texts, references, **more).score, abs=1e-9)
        assert made.aggregate([]) == {}


@pytest.mark.parametrize("kind", ["rouge1", "rouge2", "rougeL", "rougeLsum"])
@pytest.mark.parametrize("stem", [True, False])
def test_rouge_is_rouge_scores(kind: str, stem: bool) -> None:  # noqa: FBT001 - a parameter of the test
    scorer = RougeScorer([kind], use_stemmer=stem)
    for text, wanted in ANSWERS:
        theirs = scorer.score_multi(wanted, text)[kind]
        score = found({"kind": "rouge", "args": {"type": kind, "stem": stem}}, text, wanted)
        assert score.value == pytest.approx(theirs.fmeasure, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from("abcd"), max_size=90), st.lists(st.sampled_from("abcd"), max_size=90))
def test_rouge_l_is_rouge_scores_whatever_the_words(wanted: list[str], text: list[str]) -> None:
    theirs = RougeScorer(["rougeL"]).score(" ".join(wanted), " ".join(text))["rougeL"]
    ours = rouge_l(wanted, text)
    assert ours["precision"] == pytest.approx(theirs.precision, abs=1e-12)
    assert ours["recall"] == pytest.approx(theirs.recall, abs=1e-12)
    assert ours["f1"] == pytest.approx(theirs.fmeasure, abs=1e-12)


def test_what_is_good_enough_and_which_measure_can_be_said() -> None:
    text, wanted = "the cat", "the cat sat on the mat"
    assert found({"kind": "rouge", "args": {"measure": "precision", "least": 1.0}}, text, wanted).passed is True
    assert found({"kind": "rouge", "args": {"least": 0.9}}, text, wanted).passed is False
    assert found(
        {"kind": "bleu", "args": {"tokens": "char", "lower_case": True}}, "ABCD", "abcd"
    ).value == pytest.approx(100)


def test_nearer_to_right_than_to_wrong() -> None:
    wrong = {"incorrect": ["You grow watermelons in your stomach"]}
    right = ["Nothing happens", "The seeds pass through your digestive system"]
    for by in ("rougeL", "bleu", "chrf"):
        spec = {"kind": "contrast", "args": {"by": by}}
        assert found(spec, "The seeds pass through you", right, metadata=wrong).value == 1.0, by
        assert found(spec, "You grow watermelons", right, metadata=wrong).value == 0.0, by
    assert "metadata.incorrect" in (found("contrast", "x", right).missing or "")
