from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from loopwright.console.charts import HEIGHT, WIDTH, Drawn, Line, draw
from loopwright.console.formats import count

START = datetime(2026, 11, 21, tzinfo=UTC)


def drawn(*rows: Sequence[float | None], kind: str = "lines") -> Drawn:
    times = [START + timedelta(minutes=5 * at) for at in range(len(rows[0]))]
    lines = [Line(name=f"line {at}", look="main", values=row) for at, row in enumerate(rows)]
    return draw("c", "Things", times, lines, kind="bars" if kind == "bars" else "lines", show=count)


def test_a_gap_is_no_zero() -> None:
    chart = drawn([1, 2, None, 3, None, 4, 5])
    assert chart.paths[0].count("M") == 3
    assert len(chart.dots[0]) == 1
    assert [row[0] for row in chart.rows] == ["1", "2", "–", "3", "–", "4", "5"]  # noqa: RUF001


def test_bars_are_stacked() -> None:
    chart = drawn([10, 0], [5, 5], kind="bars")
    assert chart.paths[0].count("M") == 1
    assert chart.paths[1].count("M") == 2
    assert chart.y[-1].text == "15"


def test_one_error_among_a_million_is_seen() -> None:
    chart = drawn([1_000_000], [1], kind="bars")
    assert "v-1.0" in chart.paths[1]


def test_it_says_what_it_shows() -> None:
    chart = drawn([1, 9, 4], [None, None, None])
    assert chart.says == "Things over time. line 0: latest 4, highest 9."
    assert drawn([None]).says.endswith("No values in this time.")
    assert drawn([0, 0]).empty


@given(st.lists(st.none() | st.floats(min_value=0, max_value=1e12), min_size=1, max_size=80))
def test_everything_stays_inside(values: list[float | None]) -> None:
    chart = drawn(values)
    for path in chart.paths:
        for point in path.replace("M", " M").replace("L", " M").split(" M")[1:]:
            x, y = point.split()
            assert 0 <= float(x) <= WIDTH
            assert 0 <= float(y) <= HEIGHT
    assert 2 <= len(chart.y) <= 8
    assert len(chart.rows) == len(values)
