"""What models cost: the list bundled with `genai-prices`, overridden by the configuration. Nothing is downloaded."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from importlib.metadata import version
from typing import Any, Final

from loopwright.core.money import Price, per_million
from loopwright.kit.postponed import Postponed
from loopwright.kit.settings import PriceSettings

_list: Final = Postponed("genai_prices")
_types: Final = Postponed("genai_prices.types")
_RATES: Final = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached": "cache_read_mtok",
    "cache_written": "cache_write_mtok",
}


def configured(settings: PriceSettings, *, slots: int = 1) -> Price:
    """The price a configuration names; an engine's hourly cost is shared by its `slots`."""
    as_of = f", as of {settings.as_of}" if settings.as_of else ""
    per_second = Decimal(str(settings.per_hour or 0)) / 3600 / slots
    return Price(
        input=per_million(settings.input),
        output=per_million(settings.output),
        cached=None if settings.cached is None else per_million(settings.cached),
        cache_written=None if settings.cache_written is None else per_million(settings.cache_written),
        request=int(Decimal(str(settings.request)) * 10**12),
        second=int(per_second * 10**12),
        source=f"configuration{as_of}",
    )


def listed(model: str, *, base_url: str | None, now: datetime | None = None) -> Price | None:
    """The bundled price of a provider's model on the day of `now`; None when the list does not know it.

    The provider is known by its URL: the same model costs different money in different places, so a model behind an
    unknown URL has no price rather than somebody else's.
    """
    if base_url is None:
        return None
    try:
        found = _list.calc_price(
            _list.Usage(input_tokens=1, output_tokens=1),
            model_ref=model,
            provider_api_url=base_url,
            genai_request_timestamp=now,
        )
    except (LookupError, ValueError):
        return None
    source = f"genai-prices {version('genai-prices')}: {found.provider.id}/{found.model.id}"
    return _price(found.model_price, source)


def _price(price: Any, source: str) -> Price | None:
    rates = {ours: getattr(price, theirs, None) for ours, theirs in _RATES.items()}
    if rates["input"] is None and rates["output"] is None:
        return None
    starts = sorted(
        {tier.start for rate in rates.values() if isinstance(rate, _types.TieredPrices) for tier in rate.tiers}
    )
    above = tuple((start, _flat(rates, start, source)) for start in starts)
    return _flat(rates, None, source, above)


def _flat(
    rates: dict[str, Any],
    start: int | None,
    source: str,
    above: tuple[tuple[int, Price], ...] = (),
) -> Price:
    at = {name: _rate(rate, start) for name, rate in rates.items()}
    return Price(
        input=at["input"] or 0,
        output=at["output"] or 0,
        cached=at["cached"],
        cache_written=at["cache_written"],
        source=source,
        above=above,
    )


def _rate(rate: Any, start: int | None) -> int | None:
    """Picodollars a token: of the base tier, or of the highest tier that `start` reaches."""
    if rate is None:
        return None
    if not isinstance(rate, _types.TieredPrices):
        return per_million(rate)
    reached = [tier for tier in rate.tiers if start is not None and tier.start <= start]
    return per_million(max(reached, key=lambda tier: tier.start).price if reached else rate.base)
