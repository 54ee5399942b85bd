"""Ids sort by time and never repeat."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.kit.ids import Ids, day_of, floor_of, time_of

MOMENTS = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  (hypothesis wants naive bounds)


def test_an_id_is_a_uuid_of_version_7() -> None:
    made = uuid.UUID(Ids().new())
    assert (made.version, made.variant) == (7, uuid.RFC_4122)


def test_ids_rise_strictly_within_one_nanosecond_and_when_the_clock_steps_back() -> None:
    ids = Ids()
    made = [ids.new(1_700_000_000_000_000_000) for _ in range(10_000)]
    made += [ids.new(1_600_000_000_000_000_000), ids.new()]
    assert made == sorted(set(made))


@given(st.lists(st.integers(min_value=0, max_value=2**60), min_size=2))
def test_ids_sort_as_their_times_do(times: list[int]) -> None:
    ids = Ids()
    made = [ids.new(ns) for ns in sorted(times)]
    assert made == sorted(set(made))


@given(MOMENTS)
def test_the_floor_of_a_moment_is_not_above_any_id_made_in_it(moment: datetime) -> None:
    ns = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
    made = Ids().new(max(ns, 1_000_000))
    assert floor_of(moment) <= made
    assert floor_of(moment + timedelta(milliseconds=2)) > made or ns < 1_000_000


@given(MOMENTS)
def test_an_id_tells_its_millisecond(moment: datetime) -> None:
    assert time_of(floor_of(moment)) == moment.replace(microsecond=moment.microsecond // 1000 * 1000)


@pytest.mark.parametrize("word", ["", "abc", str(uuid.UUID(int=0)), "9f0cd6d8-3a51-4c8e-8b52-0f1c6a8e2d47", "7" * 40])
def test_what_is_no_id_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="is not a call id"):
        time_of(word)


def test_a_moment_before_1970_has_the_smallest_floor() -> None:
    assert floor_of(datetime(1960, 1, 1, tzinfo=UTC)) == floor_of(datetime(1970, 1, 1, tzinfo=UTC))


@given(MOMENTS)
def test_the_day_of_an_id_is_that_of_its_time(moment: datetime) -> None:
    made = floor_of(moment)
    assert day_of(made) == time_of(made).date()
