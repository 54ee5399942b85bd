from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.money import NANO, Price, Usage, per_million, usd

tokens = st.integers(0, 10_000_000)
rate = st.integers(0, 10**9)


@given(tokens, tokens, rate, rate)
def test_a_cost_is_the_exact_sum_rounded_once(given_in: int, out: int, price_in: int, price_out: int) -> None:
    exact = (Decimal(given_in) * price_in + Decimal(out) * price_out) / 1000
    cost = Price(input=price_in, output=price_out).cost(Usage(input=given_in, output=out))
    assert cost == int(exact.to_integral_value(ROUND_HALF_EVEN))


@given(tokens, st.integers(0, 100), rate, rate)
def test_cached_tokens_are_part_of_the_input_and_never_added(
    given_in: int, share: int, plain: int, cached: int
) -> None:
    usage = Usage(input=given_in, cached=given_in * share // 100)
    cost = Price(input=plain, output=0, cached=cached).cost(usage)
    low, high = sorted((given_in * plain, given_in * cached))
    assert low / 1000 - 1 <= cost <= high / 1000 + 1


@given(tokens, tokens, rate, rate, st.integers(0, 100))
def test_part_of_a_price_is_that_part_of_each_rate(
    given_in: int, out: int, price_in: int, price_out: int, percent: int
) -> None:
    price = Price(input=price_in, output=price_out, source="list")
    factor = Fraction(percent, 100)
    cost = price.times(factor).cost(Usage(input=given_in, output=out))
    exact = (given_in * price_in + out * price_out) * factor / 1000
    # Each rate is at most half a picodollar off, and the sum is rounded once.
    assert abs(cost - exact) <= Fraction(given_in + out, 2000) + Fraction(1, 2)


@given(tokens, tokens, st.integers(0, 10**6), st.integers(0, 10**6))
def test_half_of_published_prices_is_exact_to_the_nanodollar(
    given_in: int, out: int, price_in: int, price_out: int
) -> None:
    # Published prices are multiples of a tenth of a cent a million tokens: 1000 picodollars a token.
    price = Price(input=price_in * 1000, output=price_out * 1000)
    usage = Usage(input=given_in, output=out)
    assert price.times(Fraction("0.5")).cost(usage) == round(Fraction(given_in * price_in + out * price_out, 2))
    assert price.times(Fraction(1)) is price


def test_part_of_a_price_with_tiers_is_a_price_with_tiers() -> None:
    price = Price(input=3, output=0, cached=5, above=((9, Price(input=7, output=0)),), source="list")
    part = price.times(Fraction(1, 2))
    assert (part.input, part.cached, part.cache_written) == (2, 2, None)
    assert part.above == ((9, Price(input=4, output=0, source=", times 0.5")),)
    assert part.source == "list, times 0.5"


def test_reasoning_is_part_of_the_output() -> None:
    price = Price(input=0, output=1000)
    assert price.cost(Usage(output=10, reasoning=9)) == price.cost(Usage(output=10)) == 10


def test_cached_without_a_rate_of_its_own_costs_the_plain_rate() -> None:
    assert Price(input=2000, output=0).cost(Usage(input=10, cached=10)) == 20


def test_a_long_prompt_costs_the_higher_tier_as_a_whole() -> None:
    price = Price(input=1000, output=0, above=((200_000, Price(input=2000, output=0)),))
    assert price.cost(Usage(input=200_000)) == 200_000
    assert price.cost(Usage(input=200_001)) == 400_002


def test_an_engine_costs_its_time() -> None:
    hour = Price(input=0, output=0, second=int(Decimal("0.36") / 3600 * 10**12))
    assert hour.cost(Usage(output=5), seconds=10.0) == NANO // 1000


@given(st.decimals(0, 10_000, places=6))
def test_published_prices_are_whole_numbers(amount: Decimal) -> None:
    assert per_million(amount) == int(amount * 1_000_000)


@pytest.mark.parametrize("wrong", ["-1", "nan", "inf", "-0.01"])
def test_a_price_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="zero or more"):
        per_million(wrong)


@given(st.integers(0, 10**15))
def test_dollars_read_back_exactly_and_without_an_exponent(nano: int) -> None:
    text = usd(nano)
    assert "e" not in text.lower()
    assert Decimal(text) * NANO == nano


def test_a_price_reads_as_people_quote_it() -> None:
    price = Price(input=150_000, output=600_000, cached=75_000, source="list")
    assert price.rates() == {"input": "0.15", "output": "0.6", "cached": "0.075"}
    assert str(price).startswith("$0.15 a million input tokens, $0.6 a million output tokens")
    assert str(price).endswith("(list)")
    assert str(Price(input=0, output=0, source="mine")) == "free (mine)"
    assert Price(input=0, output=0, second=10**8).rates() == {"hour": "0.36"}
