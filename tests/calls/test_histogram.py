import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.calls.histogram import Histogram, bins_of, merged, quantiles, unpacked

ERROR = 2 ** (1 / 64) - 1 + 1e-9
"""Half a bucket at scale 5: 1.09 %."""
values = st.lists(st.floats(1e-3, 1e12), min_size=1, max_size=200)
shares = st.sampled_from([0.0, 0.25, 0.5, 0.9, 0.95, 0.99, 1.0])


@given(values, shares)
def test_quantiles_are_within_their_bound(numbers: list[float], share: float) -> None:
    exact = float(np.quantile(numbers, share, method="lower"))
    found = Histogram.of(numbers).quantile(share)
    assert found is not None
    assert abs(found / exact - 1) <= ERROR


@given(values, shares)
def test_the_two_ways_to_ask_agree(numbers: list[float], share: float) -> None:
    histogram = Histogram.of(numbers)
    stored = np.array(numbers)
    (packed,) = merged(np.zeros(len(numbers), np.int64), bins_of(stored), np.ones(len(numbers), np.int64), 1)
    exact = float(np.quantile(numbers, share, method="lower"))
    (found,) = quantiles(packed, [share])
    assert found is not None
    assert abs(found / exact - 1) <= ERROR
    assert Histogram.from_bytes(packed).total == histogram.total == len(numbers)


@given(values, values)
def test_merging_is_counting_together(ones: list[float], others: list[float]) -> None:
    together, one = Histogram.of(ones + others), Histogram.of(ones)
    one.merge(Histogram.of(others))
    assert one.counts == together.counts
    laid = Histogram.of(ones).to_bytes() + Histogram.of(others).to_bytes()
    assert quantiles(laid, [0.5, 0.99]) == [together.quantile(0.5), together.quantile(0.99)]


@given(st.lists(st.lists(st.floats(0, 1e9), max_size=20), min_size=1, max_size=8))
def test_many_groups_merge_at_once(groups: list[list[float]]) -> None:
    stored = [Histogram.of(group).to_bytes() for group in groups]
    assert merged(*unpacked(stored), len(groups)) == stored
    assert [Histogram.from_bytes(data).total for data in stored] == [len(group) for group in groups]


@pytest.mark.parametrize("value", [0.0, -3.0])
def test_zero_and_less_have_a_bucket_of_their_own(value: float) -> None:
    histogram = Histogram.of([value, 10.0])
    assert histogram.quantile(0.0) == 0.0
    assert histogram.quantile(1.0) == pytest.approx(10, rel=ERROR)


def test_nothing_counted_has_no_quantile() -> None:
    assert Histogram().quantile(0.5) is None
    assert quantiles(b"", [0.5, 0.9]) == [None, None]


def test_extremes_do_not_overflow() -> None:
    for value in (5e-324, 1.7e308):
        assert math.isfinite(Histogram.of([value]).quantile(0.5) or 0.0)


def test_buckets_are_opentelemetrys() -> None:
    # Metrics data model: (base^i, base^(i+1)], base = 2^(2^-scale); powers of two are exact.
    assert bins_of([1.0, 2.0, 4.0, 0.5]).tolist() == [-1, 31, 63, -33]
