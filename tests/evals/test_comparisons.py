import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from loopwright.core.errors import BadRequest
from loopwright.evals.statistics import discordant, holm, mcnemar, paired_bootstrap, permutation_test, tango


def drawn(gained: int, lost: int, n: int) -> tuple[list[int], list[int]]:
    both = n - gained - lost
    return [1] * gained + [0] * lost + [1] * both, [0] * gained + [1] * lost + [1] * both


@pytest.mark.parametrize(("gained", "lost"), [(12, 3), (3, 12), (1, 0), (7, 7), (0, 0)])
def test_mcnemar_exact_is_the_binomial_test(gained: int, lost: int) -> None:
    found = mcnemar(*drawn(gained, lost, 40), method="exact")
    expected = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert found.p == pytest.approx(expected)
    assert found.estimate == (gained - lost) / 40


def test_mid_p_takes_half_of_what_was_seen() -> None:
    """Fagerland et al. 2013, table 1: airway hyper-responsiveness, 7 and 1 of 21 discordant."""
    exact, middle = (mcnemar(*drawn(1, 7, 21), method=method) for method in ("exact", "mid-p"))
    assert exact.p == pytest.approx(0.0703, abs=1e-4)
    assert middle.p == pytest.approx(0.0391, abs=1e-4)
    assert mcnemar(*drawn(5, 5, 30)).p == pytest.approx(1 - math.comb(10, 5) / 2**10)


def test_tango_is_the_score_interval() -> None:
    """Against the same found by maximising the likelihood numerically; and airway hyper-responsiveness again."""

    def score(gained: int, lost: int, n: int, delta: float) -> float:
        def loss(share: float) -> float:
            other, rest = share + delta, 1 - 2 * share - delta
            return -(gained * math.log(other) + lost * math.log(share) + (n - gained - lost) * math.log(rest))

        lower, upper = max(0.0, -delta) + 1e-9, (1 - delta) / 2 - 1e-9
        share = optimize.minimize_scalar(loss, bounds=(lower, upper), method="bounded", options={"xatol": 1e-12}).x
        return float((gained - lost - n * delta) / math.sqrt(n * (2 * share + delta * (1 - delta))))

    for gained, lost, n in ((9, 4, 60), (1, 7, 21), (30, 33, 100)):
        found = tango(gained, lost, n)
        assert score(gained, lost, n, found.low) == pytest.approx(1.959964, abs=1e-4)
        assert score(gained, lost, n, found.high) == pytest.approx(-1.959964, abs=1e-4)
    hyper = tango(1, 7, 21)
    assert (hyper.low, hyper.high) == pytest.approx((-0.517, -0.026), abs=5e-4)


@settings(deadline=None)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 60))
def test_tango_stays_in_its_range_and_turns_with_its_sides(gained: int, lost: int, rest: int) -> None:
    n = gained + lost + rest
    found, turned = tango(gained, lost, n), tango(lost, gained, n)
    assert -1 <= found.low <= found.estimate <= found.high <= 1
    assert (found.low, found.high) == pytest.approx((-turned.high, -turned.low), abs=1e-9)
    assert found.high > found.low


def test_a_permutation_test_counts_all_swaps_of_few() -> None:
    first, second = [3.0, 5.0, 2.5, 4.0, 6.0], [2.0, 3.0, 3.0, 1.0, 4.0]
    differences = np.subtract(first, second)
    sums = [abs(sum(sign * each for sign, each in zip(signs, differences, strict=True)))
            for signs in itertools.product((1, -1), repeat=5)]  # fmt: skip
    expected = np.mean([each >= abs(differences.sum()) - 1e-9 for each in sums])
    found = permutation_test(first, second)
    assert found.p == pytest.approx(expected)
    assert found.method == "permutation exact"
    assert permutation_test([1.0, 2.0], [1.0, 2.0]).p == 1.0


def test_a_permutation_test_of_many_is_drawn_and_never_zero() -> None:
    random = np.random.default_rng(3)
    second = random.normal(0, 1, 80)
    apart = permutation_test(second + 2, second, resamples=999)
    assert apart.p == pytest.approx(1 / 1000)
    first = second + random.normal(0.1, 1, 80)
    assert permutation_test(first, second).p == pytest.approx(stats.ttest_rel(first, second).pvalue, abs=0.03)


def test_paired_bootstrap_agrees_with_the_t_test_on_many() -> None:
    random = np.random.default_rng(4)
    second = random.normal(0, 1, 400)
    first = second + random.normal(0.08, 0.8, 400)
    found, expected = paired_bootstrap(first, second, resamples=4000), stats.ttest_rel(first, second)
    low, high = expected.confidence_interval()
    assert found.p == pytest.approx(expected.pvalue, abs=0.02)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.01)
    assert found.estimate == pytest.approx(float((first - second).mean()))


def test_holm_is_as_published() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    with pytest.raises(BadRequest):
        holm([1.5])


def test_what_does_not_pair_is_refused() -> None:
    with pytest.raises(BadRequest, match="pair"):
        paired_bootstrap([1, 2], [1])
    with pytest.raises(BadRequest, match="only 0 and 1"):
        mcnemar([0.5, 1], [0, 1])
    with pytest.raises(BadRequest, match="only 0 and 1"):
        discordant([2.0], [1.0])
