"""What embedding costs before it is done, and what an answer costs in two ways: to the cent."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import BadRequest
from loopwright.core.money import Price, per_million
from loopwright.retrieval.forecast import Forecast, Prompted, price_of


def test_a_million_items_of_250_tokens_at_0_0004_cost_100_dollars() -> None:
    price, source = price_of("0.0004", None)
    made = Forecast(items=1_000_000, tokens=1_000_000 * 250, counted="told", price=price, price_source=source)
    assert made.cost == Decimal(100)
    assert made.shown()["cost_usd"] == "100"
    known, _ = price_of(None, Price(input=per_million("0.4"), output=0, source="list"))
    assert known == price


@given(items=st.integers(0, 10**9), each=st.integers(0, 8_000), price=st.decimals(0, 100, places=6))
def test_money_is_exact(items: int, each: int, price: Decimal) -> None:
    made = Forecast(items=items, tokens=items * each, counted="told", price=price)
    assert made.cost is not None
    assert made.cost * 1_000 == price * items * each
    assert "E" not in made.shown()["cost_usd"].upper()


def test_time_is_at_the_measured_rate_and_what_is_not_known_is_not_said() -> None:
    shown = Forecast(items=10, tokens=2_000, counted="counted", tokens_a_second=400.0).shown()
    assert (shown["seconds"], shown["cost_usd"], shown["price_usd_per_1k"]) == (5.0, None, None)
    assert Forecast(items=1, tokens=1, counted="told").shown()["seconds"] is None


@pytest.mark.parametrize("said", ["-1", "NaN", "Infinity", "cheap", "1e9", "0" * 50])
def test_no_price(said: str) -> None:
    with pytest.raises(BadRequest, match="price"):
        price_of(said, None)


def test_passages_against_everything() -> None:
    price = Price(input=per_million(1), output=per_million(2), cached=per_million("0.1"), source="list")
    base = {"model": "m", "price": price, "estimated": False, "passages": 800, "overhead": 200, "output": 500}
    shown = Prompted(**base, context=8_192, collection=99_800).shown()  # type: ignore[arg-type]
    assert shown["passages"] == {"tokens": 1_000, "cost_usd": "0.002"}
    assert shown["whole"] == {
        "tokens": 100_000, "cost_usd": "0.101", "cached_cost_usd": "0.01118", "needed": 100_500,
    }  # fmt: skip
    assert (shown["fits"], shown["times"]) == (False, 50.5)
    small = Prompted(**base, context=2_000, collection=1_300)  # type: ignore[arg-type]
    assert (small.fits, small.needed) == (True, 2_000)
    unpriced = Prompted(**{**base, "price": None}, context=None, collection=10).shown()  # type: ignore[arg-type]
    assert (unpriced["fits"], unpriced["times"], unpriced["passages"]["cost_usd"]) == (None, None, None)
