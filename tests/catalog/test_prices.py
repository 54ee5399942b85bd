from datetime import UTC, datetime

import pytest
from genai_prices import Usage as ListUsage
from genai_prices import calc_price
from hypothesis import given
from hypothesis import strategies as st

from loopwright.catalog.prices import configured, listed
from loopwright.core.money import NANO, Usage
from loopwright.kit.settings import PriceSettings

NOW = datetime(2026, 11, 1, tzinfo=UTC)
KNOWN = [
    ("gpt-4o-mini", "https://api.openai.com/v1", "openai"),
    ("gpt-4o", "https://api.openai.com/v1", "openai"),
    ("llama-3.1-8b-instant", "https://api.groq.com/openai/v1", "groq"),
    ("gemini-2.5-pro", "https://generativelanguage.googleapis.com/v1beta/openai", "google"),
]


@pytest.mark.parametrize(("model", "url", "provider"), KNOWN)
@given(given_in=st.integers(0, 500_000), out=st.integers(0, 50_000), share=st.integers(0, 100))
def test_our_cost_is_the_lists_own(model: str, url: str, provider: str, given_in: int, out: int, share: int) -> None:
    price = listed(model, base_url=url, now=NOW)
    assert price is not None
    cached = given_in * share // 100 if price.cached is not None else 0
    theirs = calc_price(
        ListUsage(input_tokens=given_in, output_tokens=out, cache_read_tokens=cached),
        model_ref=model,
        provider_id=provider,
        genai_request_timestamp=NOW,
    ).total_price
    ours = price.cost(Usage(input=given_in, output=out, cached=cached))
    assert abs(ours - theirs * NANO) <= 1


def test_a_price_says_where_it_comes_from() -> None:
    price = listed("gpt-4o-mini", base_url="https://api.openai.com/v1", now=NOW)
    assert price is not None
    assert price.source.startswith("genai-prices ")
    assert price.source.endswith("openai/gpt-4o-mini")


@pytest.mark.parametrize(
    ("model", "url"),
    [("gpt-4o-mini", "http://127.0.0.1:9/v1"), ("no-such-model", "https://api.openai.com/v1"), ("gpt-4o-mini", None)],
)
def test_what_nobody_knows_has_no_price_rather_than_somebody_elses(model: str, url: str | None) -> None:
    assert listed(model, base_url=url, now=NOW) is None


def test_a_configured_price_is_taken_as_it_stands() -> None:
    price = configured(PriceSettings(input=0.15, output=0.6, cached=0.075, as_of="2026-11-01"))
    assert price.cost(Usage(input=1_000_000, output=1_000_000)) == 750_000_000
    assert price.source == "configuration, as of 2026-11-01"


def test_an_hourly_cost_is_shared_by_the_slots() -> None:
    price = configured(PriceSettings(per_hour=3.6), slots=4)
    assert price.cost(Usage(), seconds=4.0) == NANO // 1000
