from datetime import UTC, datetime, timedelta

import pytest

from loopwright.console.asking import float_of, nano_of, outcome_of, span_of, tag_of, whole_of
from loopwright.console.forms import local_path
from loopwright.core.errors import BadRequest

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_spans() -> None:
    assert span_of({}, default="24h", now=NOW).since == NOW - timedelta(days=1)
    assert span_of({}, default=None, now=NOW).since is None
    given = {"since": "2026-11-20T10:00", "until": "2026-11-20T15:00+02:00", "range": "1h"}
    span = span_of(given, default="1h", now=NOW)
    assert span.name is None
    assert span.since == datetime(2026, 11, 20, 10, tzinfo=UTC)
    assert span.until == datetime(2026, 11, 20, 13, tzinfo=UTC)


@pytest.mark.parametrize(
    ("read", "params", "name"),
    [
        (lambda p: span_of(p, default=None, now=NOW), {"range": "5y"}, "range"),
        (lambda p: span_of(p, default=None, now=NOW), {"since": "yesterday"}, "since"),
        (lambda p: span_of(p, default=None, now=NOW), {"since": "2026-11-21", "until": "2026-11-20"}, "until"),
        (tag_of, {"tag": "novalue"}, "tag"),
        (outcome_of, {"outcome": "fine"}, "outcome"),
        (lambda p: whole_of(p, "key"), {"key": "-1"}, "key"),
        (lambda p: whole_of(p, "key"), {"key": "99999999999"}, "key"),
        (lambda p: float_of(p, "min_latency_ms"), {"min_latency_ms": "nan"}, "min_latency_ms"),
        (lambda p: nano_of(p, "min_cost_usd"), {"min_cost_usd": "Infinity"}, "min_cost_usd"),
    ],
)
def test_wrong_values_are_named(read, params: dict[str, str], name: str) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    with pytest.raises(BadRequest) as raised:
        read(params)
    assert raised.value.param == name


def test_right_values() -> None:
    assert tag_of({"tag": "env:prod:eu"}) == ("env", "prod:eu")
    assert outcome_of({"outcome": "ok"}) == "ok"
    assert nano_of({"min_cost_usd": "0.000001"}, "min_cost_usd") == 1000
    assert float_of({"min_latency_ms": "1.5"}, "min_latency_ms") == 1.5
    assert whole_of({}, "key") is None


@pytest.mark.parametrize(
    "address", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "/a\nb", "", None]
)
def test_nobody_is_sent_elsewhere(address: str | None) -> None:
    assert local_path(address) == "/overview"


def test_a_path_of_ours_stays() -> None:
    assert local_path("/calls?model=a") == "/calls?model=a"
