"""Forecasts: seasons are found, what is unlike them is outside, what is like them is not."""

import math
import random

from loopwright.monitoring.alerts_forecast import DAY, WEEK, forecast


def hours(weeks: int, *, noise: float = 0.1, seed: int = 1) -> dict[int, float]:
    """Traffic of office hours: a fifth at night, half at weekends."""
    rng, found = random.Random(seed), {}
    for hour in range(weeks * WEEK):
        level = 200 * (0.2 if hour % DAY < 7 or hour % DAY > 19 else 1.0) * (0.5 if hour // DAY % 7 >= 5 else 1.0)
        found[hour] = level * math.exp(rng.gauss(0, noise))
    return found


def test_the_hour_of_the_week_is_known() -> None:
    history = hours(5)
    noon = forecast(history, 4 * WEEK + 12, confidence=0.999)
    night = forecast(history, 4 * WEEK + 3, confidence=0.999)
    sunday = forecast(history, 4 * WEEK + 6 * DAY + 12, confidence=0.999)
    assert noon is not None
    assert night is not None
    assert sunday is not None
    assert (noon.basis, noon.hours) == ("week", 4)
    assert 160 < noon.middle < 240
    assert 30 < night.middle < 50
    assert 80 < sunday.middle < 120
    assert noon.high < 2 * noon.middle
    assert night.high < noon.low


def test_few_false_alarms_and_threefold_is_found() -> None:
    history = hours(6, noise=0.2)
    outside = found = looked = 0
    for at in range(4 * WEEK, 6 * WEEK):
        expected = forecast(history, at, confidence=0.999)
        assert expected is not None
        looked += 1
        outside += not expected.low <= history[at] <= expected.high
        found += 3 * history[at] > expected.high
    assert outside / looked <= 0.01
    assert found / looked > 0.9


def test_with_less_it_does_what_it_can() -> None:
    history = hours(1)
    daily = forecast(history, 5 * DAY, confidence=0.99)
    recent = forecast(dict.fromkeys(range(30), 50.0), 30, confidence=0.99)
    assert daily is not None
    assert daily.basis == "day"
    assert recent is not None
    assert recent.basis == "recent"
    assert forecast({0: 1.0, 5: 1.0}, 8, confidence=0.99) is None
    assert forecast({}, 8, confidence=0.99) is None
    # A few calls days ago, imported or tried, are no usual amount.
    assert forecast({0: 20.0, 1: 5.0, 40: 9.0}, 90, confidence=0.99) is None


def test_a_level_that_stays_is_the_new_one() -> None:
    history = {hour: amount * (4 if hour >= 4 * WEEK else 1) for hour, amount in hours(5).items()}
    at = 4 * WEEK + 2 * DAY + 12
    expected = forecast(history, at, confidence=0.999)
    assert expected is not None
    assert expected.low < history[at] < expected.high
