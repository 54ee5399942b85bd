"""Burn rates, bursts and budgets: the arithmetic, against figures of Google's workbook and by simulation."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from loopwright.kit.settings_alerts import ObjectiveSettings
from loopwright.monitoring.objectives import WINDOWS, Budget, Tally, bound_of, burning, burst, wilson_low

NOW = datetime(2026, 11, 21, tzinfo=UTC)
THREE_NINES = ObjectiveSettings(goal=0.999)


def calls(text: str) -> list[tuple[datetime, bool]]:
    return [(NOW + timedelta(seconds=at), each == "x") for at, each in enumerate(text)]


def test_bounds_are_the_workbooks() -> None:
    assert [bound_of(THREE_NINES, each) for each in WINDOWS] == pytest.approx([14.4, 6.0, 1.0])
    # Of a goal of 90 %, 14.4 times the budget would be 144 % of the calls.
    loose = ObjectiveSettings(goal=0.9)
    assert bound_of(loose, WINDOWS[0]) * 0.1 == pytest.approx(0.55)


@pytest.mark.parametrize(
    ("long", "short", "fires"),
    [
        ((1_000, 30), (80, 10), True),
        ((1_000, 30), (80, 0), False),  # it is over
        ((1_000, 12), (80, 10), False),  # not fast enough
        ((2, 1), (2, 1), False),  # one of two at night
        ((4, 4), (4, 4), False),  # fewer than the minimum
        ((6, 6), (6, 6), True),
    ],
    ids=["fast", "over", "slow", "one of two", "four of four", "six of six"],
)
def test_both_windows_and_enough_calls(long: tuple[int, int], short: tuple[int, int], fires: bool) -> None:  # noqa: FBT001
    found = burning(THREE_NINES, WINDOWS[0], Tally(total=long[0], bad=long[1]), Tally(total=short[0], bad=short[1]))
    assert found.fires is fires


@pytest.mark.parametrize(
    ("seen", "fires"),
    [
        ("." * 300 + "xxxxx", True),
        ("xxxxx", True),
        ("xxxx", False),
        ("x.", False),
        ("x.x.x.", False),
        ("xxxxx" + "." * 60, False),
        (("." * 30 + "x") * 10, False),
    ],
    ids=["after good ones", "five", "four", "one of two", "three of six", "over", "now and then"],
)
def test_a_burst_is_told_by_its_calls(seen: str, fires: bool) -> None:  # noqa: FBT001
    assert burst(calls(seen), usual=0.0, goal=0.99, minimum=5).fires is fires


def test_a_burst_begins_with_its_first_bad_call() -> None:
    found = burst(calls("x" + "." * 40 + "xxx.xx"), usual=0.0, goal=0.99, minimum=5)
    assert (found.since, found.calls, found.bad) == (NOW + timedelta(seconds=41), 6, 5)


def test_chance_brings_no_burst() -> None:
    rng = random.Random(1)
    for _ in range(300):
        seen = [(NOW, rng.random() < 0.03) for _ in range(400)]
        assert not burst(seen, usual=0.03, goal=0.99, minimum=5).fires


def test_intervals_and_budgets() -> None:
    assert wilson_low(5, 10, z=1.96) == pytest.approx(0.2366, abs=1e-4)  # Wilson 1927, by the usual tables
    assert wilson_low(0, 0) == 0.0
    kept = Budget(tally=Tally(total=1_000, bad=4), goal=0.99)
    assert kept.attained == pytest.approx(0.996)
    assert kept.left == pytest.approx(0.6)
    assert Budget(tally=Tally(), goal=0.99).left is None
