"""The statistics of drift: they find what moved, and nothing where nothing did."""

import numpy as np
import pytest
from scipy import stats

from loopwright.monitoring import drift_statistics as statistics
from loopwright.monitoring.drift_statistics import Bet, Vectors


def cloud(count: int, seed: int, *, towards: int = 0, spread: float = 0.2, dimensions: int = 16) -> Vectors:
    """Unit vectors about one direction."""
    random = np.random.default_rng(seed)
    centre = np.zeros(dimensions)
    centre[towards] = 1.0
    found = centre + random.normal(0, spread, (count, dimensions))
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), dtype=np.float32)


def test_a_bet_wins_on_strangers_and_hardly_ever_by_chance() -> None:
    alarms, delays = 0, []
    for seed in range(120):
        every = cloud(500, seed)
        known = statistics.strangeness_within(every[:300])
        bet = Bet(known, window=200, step=10, seed=seed)
        alarms += min(bet.add(each) for each in statistics.strangeness(every[:300], every[300:]).tolist()) <= 0.05
        if seed < 20:
            mixed = every[300:].copy()
            mixed[::10] = cloud(20, seed + 1_000, towards=5, spread=0.1)
            bet = Bet(known, window=200, step=10, seed=seed)
            found = [bet.add(each) for each in statistics.strangeness(every[:300], mixed).tolist()]
            delays.append(next((at for at, p in enumerate(found) if p <= 0.01), 999))
    # 5 % of 120 windows are 6; a bet errs less often than it may.
    assert alarms <= 6
    assert float(np.median(delays)) < 120


def test_a_bet_that_is_made_again_comes_to_the_same() -> None:
    known = np.array([0.1, 0.1, 0.1, 0.2])
    one, other = (Bet(known, window=20, step=5, seed=3) for _ in range(2))
    values = [0.1, 0.2, 0.1, 0.9, 0.1]
    assert [one.add(each) for each in values] == [other.add(each) for each in values]


def test_strangers_are_counted_beyond_what_is_known_to_lie_there() -> None:
    known = np.linspace(0, 1, 1_001)
    bound, share = statistics.strangers(known, np.array([0.5] * 90 + [2.0] * 10))
    assert bound == pytest.approx(0.99)
    assert share == pytest.approx(0.09)
    assert statistics.strangers(known, np.array([]))[1] == 0.0


def test_meaning_moves_with_its_distribution_only() -> None:
    same = statistics.moved(cloud(150, 1), cloud(150, 2), seed=0)
    other = statistics.moved(cloud(150, 1), cloud(150, 3, towards=1), seed=0)
    assert same.p > 0.05
    assert other.p == pytest.approx(1e-4)
    assert other.effect > 0.3 > same.effect


def test_p_values_of_permutation_are_uniform_where_nothing_moved() -> None:
    found = [statistics.moved(cloud(40, seed), cloud(30, seed + 500), seed=seed).p for seed in range(60)]
    assert stats.kstest(found, "uniform").pvalue > 0.001


def test_counts_of_categories_are_tested_and_their_index_is_as_defined() -> None:
    assert statistics.shares([50, 50], [50, 50], seed=0).p > 0.5
    found = statistics.shares([80, 20, 0], [20, 60, 20], seed=0)
    assert found.p == pytest.approx(1e-4)
    one, other = np.array([80, 20]), np.array([60, 40])
    shares = ((one + 0.5) / 101, (other + 0.5) / 101)
    assert statistics.stability(one, other) == pytest.approx(
        float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())
    )
    assert statistics.shares([], [], seed=0).p == 1.0
    assert statistics.shares([0, 0], [1, 2], seed=0).p == 1.0


def test_numbers_and_rates_agree_with_scipy() -> None:
    found = statistics.shifted([1, 2, 3, 4, 5], [4, 5, 6, 7, 8])
    reference = stats.mannwhitneyu([4, 5, 6, 7, 8], [1, 2, 3, 4, 5], alternative="two-sided")
    assert found.p == pytest.approx(float(reference.pvalue))
    assert found.effect == pytest.approx(0.84)
    assert statistics.shifted([1, 1, 1], [1, 1, 1]).p == 1.0
    told = statistics.rate([False] * 90 + [True] * 10, [False] * 50 + [True] * 50)
    assert told.effect == pytest.approx(0.4)
    assert told.p < 1e-6
    assert statistics.rate([], [True]).p == 1.0


def test_groups_of_like_vectors_are_found() -> None:
    vectors = np.concatenate([cloud(60, 1, towards=0, spread=0.05), cloud(60, 2, towards=3, spread=0.05)])
    own = statistics.nearest(statistics.clusters(vectors, seed=0, most=2), vectors)
    assert len(set(own[:60].tolist())) == len(set(own[60:].tolist())) == 1
    assert own[0] != own[-1]


def test_a_look_has_its_part_of_the_level_of_all() -> None:
    assert statistics.spent(0.002) == pytest.approx(0.01)
    assert statistics.spent(0.9) == 1.0
