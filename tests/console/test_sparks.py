import re
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from loopwright.console.formats import count
from loopwright.console.sparks import HEIGHT, WIDTH, bars, curves


def test_a_gap_is_no_zero() -> None:
    [(look, path)] = curves("Speed", [("p50", "p50", [1, None, 2, 3])], count).paths
    assert look == "stroke p50"
    assert path.count("M") == 2
    assert path.count("h2") == 1


def test_one_error_among_thousands_is_seen() -> None:
    drawn = bars("Answers", [("fine", "main", [5000, 0]), ("failed", "bad", [1, 0])], count)
    assert "v-1.0" in drawn.paths[1][1]
    assert drawn.says == "Answers: fine latest 0, highest 5,000; failed latest 0, highest 1"


def test_nothing_is_said_to_be_nothing() -> None:
    assert curves("Speed", [("p50", "p50", [None, None])], count).says == "Speed: nothing in this time"
    assert bars("Answers", [("fine", "main", [0, 0])], count).paths == [("fill main", "")]


@given(st.lists(st.none() | st.floats(0, 1e9), min_size=1, max_size=60))
def test_lines_stay_inside(values: Sequence[float | None]) -> None:
    [(_, path)] = curves("Speed", [("p50", "p50", values)], count).paths
    for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", path):
        assert 0 <= float(x) <= WIDTH
        assert 0 <= float(y) <= HEIGHT
