"""Cost against quality: points inside the plot, the front through those that nobody beats."""

from hypothesis import given
from hypothesis import strategies as st

from loopwright.console.scatter import scattered


def point(name: str, cost: float, quality: float, *, on_front: bool = True) -> dict[str, object]:
    return {
        "target": name, "cost_usd": cost, "latency_s": 1.0, "quality": quality,
        "low": quality - 0.1, "high": quality + 0.1, "on_front": on_front,
    }  # fmt: skip


def test_nothing_is_no_plot() -> None:
    assert scattered(None) is None
    assert scattered({"evaluator": "right", "points": []}) is None


def test_the_front_passes_by_whom_it_must() -> None:
    points = [point("dear", 3.0, 0.9), point("worse", 2.0, 0.4, on_front=False), point("cheap", 1.0, 0.5)]
    plot = scattered({"evaluator": "right", "points": points})
    assert plot is not None
    cheap, worse, dear = plot.marks
    assert plot.front == f"M{cheap.x} {cheap.y}L{dear.x} {dear.y}"
    assert cheap.x < worse.x < dear.x
    assert dear.y < cheap.y < worse.y
    assert "worse: 0.4 at $2.00 an answer" in plot.says


@given(
    st.lists(
        st.tuples(st.floats(0, 1e6), st.floats(-1e6, 1e6), st.booleans()),
        min_size=1,
        max_size=8,
    )
)
def test_every_point_is_inside(given: list[tuple[float, float, bool]]) -> None:
    points = [point(f"t{at}", cost, quality, on_front=front) for at, (cost, quality, front) in enumerate(given)]
    plot = scattered({"evaluator": "right", "points": points})
    assert plot is not None
    for mark in plot.marks:
        assert plot.left - 0.2 <= mark.x <= plot.right + 0.2
        assert 0 <= mark.high <= mark.y <= mark.low <= plot.base + 0.2
