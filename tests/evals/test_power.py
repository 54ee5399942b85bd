import numpy as np
import pytest

from loopwright.core.errors import BadRequest
from loopwright.evals.power import widest_half_width
from loopwright.evals.statistics import examples_needed, minimum_detectable_effect, wilson


def test_both_are_each_others_inverse() -> None:
    for kind, effect in (("binary", 0.04), ("binary", 0.2), ("score", 0.15)):
        n = examples_needed(effect, kind="binary" if kind == "binary" else "score", discordance=0.3, deviation=0.8)
        assert n is not None
        seen = [
            minimum_detectable_effect(
                count, kind="binary" if kind == "binary" else "score", discordance=0.3, deviation=0.8
            )
            for count in (n, n - 1)
        ]
        assert seen[0] <= effect <= seen[1] + 1e-9


def test_figures_are_those_of_the_books() -> None:
    # Cohen 1988: d = 0.5 in pairs takes 32 by the normal approximation (34 by t)
    assert examples_needed(0.5, kind="score", deviation=1.0) == 32
    # Connor 1987: discordance 0.3, difference 0.1
    assert examples_needed(0.1, discordance=0.3) == pytest.approx(228, abs=1)


def test_a_difference_of_that_size_is_seen_as_often_as_told() -> None:
    random, n = np.random.default_rng(5), 400
    effect = minimum_detectable_effect(n, kind="score", deviation=1.0)
    means = random.normal(effect, 1, (2000, n)).mean(axis=1)
    assert np.mean(means > 1.96 / np.sqrt(n)) == pytest.approx(0.8, abs=0.03)


def test_no_number_shows_nothing() -> None:
    assert examples_needed(0.0) is None
    assert examples_needed(1e-9) is None
    assert examples_needed(0.5, discordance=0.25) == 2
    assert minimum_detectable_effect(1, discordance=0.1) <= 0.1


@pytest.mark.parametrize(
    "wrong", [{"n": 0}, {"n": 5, "alpha": 0.0}, {"n": 5, "power": 1.0}, {"n": 5, "discordance": 0.0},
              {"n": 5, "kind": "score", "deviation": -1.0}],
    ids=["n", "alpha", "power", "discordance", "deviation"],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadRequest):
        minimum_detectable_effect(**wrong)  # type: ignore[arg-type]


def test_no_interval_of_a_share_is_wider_than_told_before() -> None:
    for n in (1, 10, 61, 400):
        widths = [(found.high - found.low) / 2 for found in (wilson(k, n) for k in range(n + 1))]
        assert max(widths) <= widest_half_width(n) + 1e-12
        if n % 2 == 0:
            assert max(widths) == pytest.approx(widest_half_width(n))
    with pytest.raises(BadRequest):
        widest_half_width(0)
