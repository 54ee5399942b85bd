from datetime import UTC, datetime

import pytest

from loopwright.console import formats


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999, "999"), (1234, "1,234"), (9999, "9,999"), (56_789, "56.8k"), (999_960, "1M"), (1_234_567, "1.23M"), (2.5, "2.5"), (3e9, "3B")],
)  # fmt: skip
def test_counts(value: float, text: str) -> None:
    assert formats.count(value) == text


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0.42, "0.42 ms"), (12.34, "12.3 ms"), (312.4, "312 ms"), (999.6, "1.00 s"), (1240, "1.24 s"), (12_340, "12.3 s"), (123_000, "2 min 3 s"), (None, formats.NOTHING)],
)  # fmt: skip
def test_durations(ms: float | None, text: str) -> None:
    assert formats.millis(ms) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [(None, "unpriced"), ("0", "$0"), ("0.000000012", "$0.000000012"), ("0.000123456", "$0.000123"), ("0.0456", "$0.0456"), ("0.5", "$0.50"), ("12.346", "$12.35"), ("12345.6", "$12,346")],
)  # fmt: skip
def test_unpriced_is_never_zero(amount: str | None, text: str) -> None:
    assert formats.dollars(amount) == text


def test_shares_sizes_times() -> None:
    assert [formats.percent(share) for share in (0, 0.0042, 0.125, 1.0)] == ["0%", "0.42%", "12.5%", "100%"]
    assert [formats.size(number) for number in (12, 98_000_000, 3 * 2**30)] == ["12 B", "93.5 MiB", "3 GiB"]
    moment = datetime(2026, 11, 21, 9, 15, 30, tzinfo=UTC)
    assert formats.stamp(moment) == "2026-11-21 09:15:30"
    assert formats.iso(moment) == "2026-11-21T09:15:30Z"
