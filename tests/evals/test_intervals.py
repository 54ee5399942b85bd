import numpy as np
import pytest
from scipy import stats

from loopwright.core.errors import BadRequest
from loopwright.evals.statistics import bootstrap_interval, mean_interval, resampled_interval, wilson


def test_the_mean_has_students_interval() -> None:
    values = np.random.default_rng(1).normal(3, 2, 40)
    found = mean_interval(values)
    low, high = stats.t.interval(0.95, 39, values.mean(), stats.sem(values))
    assert (found.estimate, found.low, found.high) == pytest.approx((values.mean(), low, high))
    assert found.n == 40
    assert mean_interval([2.0]).low == mean_interval([2.0]).high == 2.0


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (3, 10), (10, 10), (940, 1000)])
def test_a_share_has_wilsons_interval(hits: int, n: int) -> None:
    found = wilson(hits, n)
    expected = stats.binomtest(hits, n).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_the_bootstrap_is_scipys(method: str) -> None:
    values = np.random.default_rng(2).beta(0.4, 2.5, 120)
    found = bootstrap_interval(values, method="bca" if method == "bca" else "percentile", resamples=4000)
    name = "BCa" if method == "bca" else "percentile"
    expected = stats.bootstrap((values,), np.mean, n_resamples=4000, method=name, rng=5).confidence_interval
    assert found.low == pytest.approx(expected.low, abs=0.003)
    assert found.high == pytest.approx(expected.high, abs=0.003)


def test_any_statistic_of_anything_can_be_resampled() -> None:
    labels = ["x" if n % 3 else "y" for n in range(90)]
    found = resampled_interval(90, lambda chosen: sum(labels[at] == "x" for at in chosen) / len(chosen), resamples=500)
    assert found.estimate == pytest.approx(2 / 3)
    assert found.low < 0.6
    assert found.high > 0.72
    median = bootstrap_interval(np.arange(101.0), lambda values: float(np.median(values)), resamples=300)
    assert median.low < 50 < median.high
    assert bootstrap_interval(np.arange(101.0), seed=1) == bootstrap_interval(np.arange(101.0), seed=1)


def test_what_does_not_vary_has_no_width() -> None:
    found = bootstrap_interval([1.0] * 30)
    assert (found.low, found.estimate, found.high) == (1, 1, 1)
    assert found.method == "bootstrap percentile"


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [float("inf")]], ids=["none", "nan", "infinite"])
def test_what_is_no_number_is_refused(values: list[float]) -> None:
    for ask in (mean_interval, bootstrap_interval):
        with pytest.raises(BadRequest):
            ask(values)


def test_shares_and_levels_out_of_range_are_refused() -> None:
    for hits, n in ((1, 0), (11, 10), (-1, 10)):
        with pytest.raises(BadRequest):
            wilson(hits, n)
    with pytest.raises(BadRequest, match="level"):
        mean_interval([1, 2], level=1.0)
    with pytest.raises(BadRequest, match="statistic"):
        resampled_interval(3, lambda _: float("nan"))
    with pytest.raises(BadRequest, match="none"):
        resampled_interval(0, lambda _: 1.0)
