from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from loopwright.console.pace import added_up, onward, projected, runs_out

START = datetime(2026, 11, 1, tzinfo=UTC)
END = START + timedelta(days=30)


def test_a_pace_goes_on() -> None:
    assert projected(100, START, END, START + timedelta(days=10)) == 300
    assert projected(100, START, END, END) == 100
    assert projected(0, START, END, START + timedelta(days=10)) == 0


def test_a_window_that_has_just_begun_tells_nothing() -> None:
    assert projected(100, START, END, START + timedelta(hours=1)) is None
    assert projected(100, START, END, START) is None


def test_when_a_budget_is_used_up() -> None:
    now = START + timedelta(days=10)
    assert runs_out(100, 200, START, now, END) == START + timedelta(days=20)
    assert runs_out(100, 300, START, now, END) is None
    assert runs_out(300, 300, START, now, END) is None
    assert runs_out(0, 0, START, now, END) is None


def test_what_is_to_come_is_no_zero() -> None:
    assert added_up([1, 0, 2, None, None]) == [1, 1, 3, None, None]
    assert onward([1.0, 2.0, None, None], 6.0) == [None, 2.0, 4.0, 6.0]
    assert onward([1.0, 2.0, None, None], None) == [None] * 4
    assert onward([1.0, 2.0], 6.0) == [None, None]
    assert onward([], 6.0) == []


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=40), st.integers(0, 20), st.floats(0, 1e6))
def test_a_line_ahead_has_the_length_of_what_was_spent(past: list[int], ahead: int, whole: float) -> None:
    sums = [None if at is None else at / 1e9 for at in added_up([*past, *([None] * ahead)])]
    line = onward(sums, whole)
    assert len(line) == len(sums)
    known = [at for at in line if at is not None]
    assert known == sorted(known)
