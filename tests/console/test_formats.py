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


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(265, 336.4, "265 to 336 Wh"), (0.79, 0.92, "790 to 920 mWh"), (0.0003, 0.0099, "0.3 to 9.9 mWh"), (0.91, 1.06, "910 mWh to 1.06 Wh"), (147, 147, "147 Wh"), (999.9, 12_345e6, "1,000 Wh to 12,300 MWh"), (0, 0, "0 Wh")],
)  # fmt: skip
def test_energy_from_one_amount_to_another(low: float, high: float, text: str) -> None:
    assert formats.energy(low, high) == text


def test_shares_sizes_times() -> None:
    assert [formats.percent(share) for share in (0, 0.0042, 0.125, 1.0)] == ["0%", "0.42%", "12.5%", "100%"]
    assert [formats.size(number) for number in (12, 98_000_000, 3 * 2**30)] == ["12 B", "93.5 MiB", "3 GiB"]
    moment = datetime(2026, 11, 21, 9, 15, 30, tzinfo=UTC)
    assert formats.stamp(moment) == "2026-11-21 09:15:30"
    assert formats.iso(moment) == "2026-11-21T09:15:30Z"
