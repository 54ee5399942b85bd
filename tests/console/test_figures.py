from datetime import UTC, datetime, timedelta
from typing import Any

from loopwright.calls.query import Counts, Point, Spread
from loopwright.console.figures import charts, milliseconds, totals

NOTHING = Spread(p50=None, p95=None, p99=None)
START = datetime(2026, 11, 21, tzinfo=UTC)


def point(at: int = 0, **counts: int) -> dict[str, Any]:
    spread = Spread(p50=1000.0, p95=2000.0, p99=3000.0) if counts else NOTHING
    step = Point(
        at=START + timedelta(minutes=5 * at), counts=Counts(**counts), latency=spread, ttft=spread, tpot=NOTHING
    )
    return {"at": step.at, **totals(step)}


def test_unpriced_calls_are_no_zero() -> None:
    assert point(requests=3, unpriced=3)["cost_usd"] is None
    # A refused call costs nothing; beside unpriced ones that is still no cost to tell.
    assert point(requests=4, refused=1, unpriced=3)["cost_usd"] is None
    assert point(requests=4, unpriced=3, cost_nano=1_500)["cost_usd"] == "0.0000015"
    assert point(requests=4)["cost_usd"] == "0"
    assert point()["cost_usd"] is None


def test_rates_and_units() -> None:
    some = point(requests=10, errors=1, interrupted=1)
    assert some["error_rate"] == 0.2
    assert some["ttft_ms"] == {"p50": 1.0, "p95": 2.0, "p99": 3.0}
    assert point()["error_rate"] is None
    assert milliseconds(1234.5678) == 1.235


def test_charts_show_what_the_series_says() -> None:
    points = [point(0, requests=10, errors=2, refused=3, cost_nano=10**9), point(1), point(2, requests=1, unpriced=1)]
    drawn = {chart.id: chart for chart in charts(points)}
    assert list(drawn) == ["requests", "errors", "ttft", "tpot", "tokens", "cost"]
    assert drawn["requests"].rows == [["5", "3", "2"], ["0", "0", "0"], ["1", "0", "0"]]
    assert [row[0] for row in drawn["errors"].rows] == ["20%", "\N{EN DASH}", "0%"]
    assert [row[0] for row in drawn["cost"].rows] == ["$1.00", "\N{EN DASH}", "\N{EN DASH}"]
    assert drawn["tpot"].empty
