import numpy as np
import pytest

from loopwright.core.errors import BadRequest
from loopwright.evals.statistics import prediction_powered, rogan_gladen, wilson


def test_rogan_and_gladens_estimate() -> None:
    found = rogan_gladen(0.35, 500, sensitivity=0.9, positives=60, specificity=0.8, negatives=140)
    assert found is not None
    assert found.estimate == pytest.approx((0.35 + 0.8 - 1) / 0.7)
    assert found.low < found.estimate < found.high
    plain = wilson(175, 500)
    assert found.high - found.low > plain.high - plain.low  # it knows that sensitivity and specificity are estimates


def test_its_interval_holds_the_truth_and_the_plain_one_does_not() -> None:
    random, truth, held, plain = np.random.default_rng(8), 0.3, 0, 0
    for _ in range(400):
        good = int(random.binomial(200, truth))
        share = random.binomial(500, truth * 0.9 + (1 - truth) * 0.2) / 500
        found = rogan_gladen(
            share, 500, sensitivity=random.binomial(good, 0.9) / good, positives=good,
            specificity=random.binomial(200 - good, 0.8) / (200 - good), negatives=200 - good,
        )  # fmt: skip
        assert found is not None
        held += found.low <= truth <= found.high
        bare = wilson(share * 500, 500)
        plain += bare.low <= truth <= bare.high
    assert held / 400 > 0.92
    assert plain / 400 < 0.05


def test_a_judge_at_chance_tells_nothing() -> None:
    assert rogan_gladen(0.5, 100, sensitivity=0.5, positives=20, specificity=0.5, negatives=20) is None
    assert rogan_gladen(0.5, 100, sensitivity=0.2, positives=20, specificity=0.3, negatives=20) is None
    perfect = rogan_gladen(1.0, 100, sensitivity=1.0, positives=50, specificity=1.0, negatives=50)
    assert perfect is not None
    assert perfect.estimate == perfect.high == 1.0


@pytest.mark.parametrize(("kappa", "narrower"), [(0.9, True), (0.0, False)])
def test_prediction_powered_inference_gains_from_a_good_judge_only(kappa: float, narrower: bool) -> None:  # noqa: FBT001
    random, held, widths, alone = np.random.default_rng(9), 0, [], []
    for _ in range(300):
        labels = random.random(2100) < 0.6
        verdicts = np.where(random.random(2100) < kappa, labels, random.random(2100) < 0.6)
        found = prediction_powered(labels[:100], verdicts[:100], verdicts[100:])
        held += found.low <= 0.6 <= found.high
        widths.append(found.high - found.low)
        bare = wilson(float(labels[:100].sum()), 100)
        alone.append(bare.high - bare.low)
    assert held / 300 > 0.9
    assert (np.mean(widths) < 0.6 * np.mean(alone)) == narrower
    assert np.mean(widths) < 1.1 * np.mean(alone)  # a useless judge does no harm


def test_a_judge_that_is_biased_is_corrected() -> None:
    labels = np.array([1.0, 0.0] * 50)
    verdicts = labels * 0.5 + 0.5  # passes everything at least by half
    found = prediction_powered(labels, verdicts, np.tile(verdicts, 10))
    assert found.estimate == pytest.approx(0.5, abs=0.01)


def test_counts_out_of_range_are_refused() -> None:
    with pytest.raises(BadRequest):
        rogan_gladen(0.5, 0, sensitivity=0.9, positives=1, specificity=0.9, negatives=1)
    with pytest.raises(BadRequest):
        rogan_gladen(1.5, 10, sensitivity=0.9, positives=1, specificity=0.9, negatives=1)
    with pytest.raises(BadRequest, match="pair"):
        prediction_powered([1, 0], [1, 0, 1], [1])
    with pytest.raises(BadRequest):
        prediction_powered([1], [1], [1])
