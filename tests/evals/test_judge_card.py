from dataclasses import replace
from typing import Any

import krippendorff
import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from loopwright.core.errors import BadRequest
from loopwright.evals.judge_card import calibrated, card_of, trust
from loopwright.evals.judge_definition import definition_of
from loopwright.evals.observation import Observation

YES_NO = definition_of({"judge": "faithful", "model": "m"})
SCALE = definition_of({"judge": "quality", "model": "m"})
PAIR = definition_of({"judge": "helpful", "model": "m"})


def seen(n: int, human: Any, verdict: str | None, **more: Any) -> Observation:
    labels = human if isinstance(human, tuple) else (human,)
    return Observation(id=str(n), human=labels, verdict=verdict, **more)


def drawn(n: int, right: float, seed: int = 1, share: float = 0.6) -> list[Observation]:
    """A judge that is right on so many."""
    random = np.random.default_rng(seed)
    found = []
    for at in range(n):
        truth = "yes" if random.random() < share else "no"
        other = "no" if truth == "yes" else "yes"
        found.append(seen(at, truth, truth if random.random() < right else other, cost_nano=5, calls=1))
    return found


def test_figures_are_those_of_others() -> None:
    observed = drawn(300, 0.85)
    card = calibrated("x", YES_NO, observed)
    truths, said = [each.truth for each in observed], [each.verdict for each in observed]
    assert card.figures["kappa"].estimate == pytest.approx(cohen_kappa_score(truths, said), abs=1e-9)
    numbers = np.array([[label == "yes" for label in row] for row in (truths, said)], dtype=float)
    assert card.figures["alpha"].estimate == pytest.approx(
        krippendorff.alpha(numbers, level_of_measurement="nominal"), abs=1e-9
    )
    good = [each for each in observed if each.truth == "yes"]
    assert card.positives == len(good)
    assert card.figures["sensitivity"].estimate == pytest.approx(
        sum(each.verdict == "yes" for each in good) / len(good)
    )
    assert card.base_rates["yes"] == pytest.approx(len(good) / 300)
    assert card.constant == "yes"
    assert card.figures["constant_accuracy"].estimate == pytest.approx(len(good) / 300)
    assert card.figures["gain"].estimate == pytest.approx(
        card.figures["accuracy"].estimate - card.figures["constant_accuracy"].estimate
    )
    assert card.cost_nano == 1500
    assert card.absent["flips"]
    assert card.absent["consistency"] == "nothing was asked twice"
    assert card_of(card.as_json()) == card


def test_a_constant_judge_is_seen_through() -> None:
    observed = [replace(each, verdict="yes") for each in drawn(400, 1.0, share=0.9)]
    card = calibrated("x", YES_NO, observed)
    assert card.figures["accuracy"].estimate > 0.85  # which looks well
    assert card.figures["kappa"].estimate == 0
    assert card.figures["specificity"].estimate == 0
    found = trust(card)
    assert not found.trusted
    assert any("always saying 'yes'" in reason for reason in found.reasons)


def test_missing_verdicts_are_counted_apart() -> None:
    observed = [replace(each, verdict=None) if at % 4 == 0 else each for at, each in enumerate(drawn(200, 1.0))]
    card = calibrated("x", YES_NO, observed)
    assert (card.missing, card.verdicts, card.judged) == (50, 200, 150)
    assert card.figures["missing"].estimate == 0.25
    assert card.figures["kappa"].estimate == 1
    assert card.confusion["yes"]["(missing)"] + card.confusion["no"]["(missing)"] == 50
    found = trust(card)
    assert [reason for reason in found.reasons if "cannot be read" in reason]
    nothing = calibrated("x", YES_NO, [replace(each, verdict=None) for each in observed])
    assert "kappa" not in nothing.figures
    assert not trust(nothing).trusted


def test_trust_is_earned_by_the_low_end_of_kappa_and_enough_labels() -> None:
    assert trust(calibrated("x", YES_NO, drawn(400, 0.95))).trusted
    middling = trust(calibrated("x", YES_NO, drawn(100, 0.84)), 0.6)
    assert not middling.trusted
    assert "low end must reach 0.6" in middling.reasons[0]
    assert trust(calibrated("x", YES_NO, drawn(400, 0.95)), 0.95).reasons[0].endswith("the bar is 0.95")
    few = trust(calibrated("x", YES_NO, drawn(20, 1.0)))
    assert "only 20 labelled" in few.reasons[0]
    none = trust(None)
    assert not none.trusted
    assert "calibrate" in none.reasons[0]


def test_people_who_disagree_settle_nothing() -> None:
    observed = [
        seen(0, ("yes", "no"), "yes"), seen(1, ("yes", "yes", "no"), "yes"), seen(2, (None, "no"), "no"),
        seen(3, (None, None), "no"), seen(4, ("no", "no"), "no"),
    ]  # fmt: skip
    card = calibrated("x", YES_NO, observed)
    assert (card.labelled, card.unsettled) == (3, 2)
    assert card.figures["alpha_people"].n == 3
    assert card.figures["kappa"].n == 3


def test_a_scale_has_a_weighted_kappa() -> None:
    random = np.random.default_rng(2)
    truths = random.integers(1, 6, 200)
    said = np.clip(truths + random.integers(-1, 2, 200), 1, 5)
    card = calibrated("x", SCALE, [seen(n, str(a), str(b)) for n, (a, b) in enumerate(zip(truths, said, strict=True))])
    assert card.figures["kappa_weighted"].estimate == pytest.approx(
        cohen_kappa_score(truths, said, weights="quadratic"), abs=1e-9
    )
    assert card.figures["kappa_weighted"].estimate > card.figures["kappa"].estimate
    assert card.positive == "passed"


def test_a_share_can_be_corrected_for_the_judges_errors() -> None:
    card = calibrated("x", YES_NO, drawn(600, 0.85))
    corrected = card.corrected(0.7, 1000)
    assert corrected is not None
    hit, spared = card.figures["sensitivity"].estimate, card.figures["specificity"].estimate
    assert corrected.estimate == pytest.approx((0.7 + spared - 1) / (hit + spared - 1))
    assert corrected.low < corrected.estimate < corrected.high
    assert calibrated("x", YES_NO, drawn(100, 0.0)).corrected(0.7, 1000) is None
    plain = definition_of({"model": "m", "question": "q", "labels": {"yes": 1, "no": 0}})
    assert calibrated("x", plain, drawn(50, 1.0)).corrected(0.7, 100) is None


def test_flips_agree_with_nobody() -> None:
    observed = [seen(n, "a" if n % 2 else "b", "flip", orders=("a", "b")) for n in range(60)]
    card = calibrated("x", definition_of({"judge": "factuality", "model": "m"}), observed)
    assert card.figures["accuracy"].estimate == 0
    assert card.figures["flips"].estimate == 1
    assert card.figures["kappa"].estimate == 0
    assert card.figures["sensitivity"].estimate == card.figures["specificity"].estimate == 0
    assert card.corrected(0.5, 100) is None
    assert not trust(card).trusted


@pytest.mark.parametrize(
    ("observed", "why"),
    [
        ([], "nothing was observed"),
        ([seen(1, "yes", "yes"), seen(1, "no", "no")], "same id"),
        ([seen(1, "perhaps", "yes")], "perhaps"),
        ([seen(1, "yes", "perhaps")], "no verdict of this judge"),
        ([seen(1, "yes", "flip")], "no verdict of this judge"),
        ([seen(1, "yes", "a", orders=(None, None))], "no verdict of this judge"),
    ],
    ids=["none", "twice", "label", "verdict", "flip", "orders"],
)
def test_what_makes_no_card_is_refused(observed: list[Observation], why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        calibrated("x", YES_NO, observed)
