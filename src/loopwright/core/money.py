"""Money in integers: prices in picodollars a token, costs in nanodollars a call.

1 USD a million tokens = 1e-6 USD a token = 1,000,000 picodollars a token, so every published price is a whole number.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

import msgspec

NANO = 1_000_000_000
_PICO_PER_NANO = 1_000


class Usage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Tokens of one call. `input` includes cached and cache-written tokens, `output` includes reasoning."""

    input: int = 0
    output: int = 0
    cached: int = 0
    """Part of `input` read from the provider's prompt cache."""
    cache_written: int = 0
    """Part of `input` written to the provider's prompt cache."""
    reasoning: int = 0
    """Part of `output` spent on reasoning."""
    estimated: bool = False
    """True when no provider reported it and it was counted here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a model costs, in picodollars. None for cached rates means the plain input rate."""

    input: int
    output: int
    cached: int | None = None
    cache_written: int | None = None
    request: int = 0
    """Added once a call."""
    second: int = 0
    """For each second the engine was busy with the call (local models by configured cost per hour)."""
    source: str = ""
    """Where the price comes from and its date, e.g. `genai-prices 0.2.3` or `loopwright.yaml, as of 2026-11-01`."""
    above: tuple[tuple[int, Price], ...] = ()
    """(input tokens, price) in rising order: the whole call costs the last price whose threshold it exceeds."""

    def cost(self, usage: Usage, *, seconds: float = 0.0) -> int:
        """Nanodollars of one call, rounded half to even once. `seconds` is how long the engine was busy with it."""
        for threshold, price in reversed(self.above) if self.above else ():
            if usage.input > threshold:
                return price.cost(usage, seconds=seconds)
        pico = usage.output * self.output + self.request
        if usage.cached or usage.cache_written:
            cached_rate = self.input if self.cached is None else self.cached
            written_rate = self.input if self.cache_written is None else self.cache_written
            plain = max(usage.input - usage.cached - usage.cache_written, 0)
            pico += plain * self.input + usage.cached * cached_rate + usage.cache_written * written_rate
        else:
            pico += usage.input * self.input
        if self.second:
            pico += round(seconds * self.second)
        nano, rest = divmod(pico, _PICO_PER_NANO)
        half = _PICO_PER_NANO // 2
        return nano + (1 if rest > half or (rest == half and nano % 2) else 0)

    def times(self, factor: Fraction) -> Price:
        """A price of `factor` times this one: every rate rounded half to even to a whole picodollar."""
        if factor == 1:
            return self
        part = {name: _part(getattr(self, name), factor) for name in ("input", "output", "request", "second")}
        return replace(
            self,
            **part,
            cached=None if self.cached is None else _part(self.cached, factor),
            cache_written=None if self.cache_written is None else _part(self.cache_written, factor),
            source=f"{self.source}, times {float(factor):g}",
            above=tuple((threshold, price.times(factor)) for threshold, price in self.above),
        )

    def rates(self) -> dict[str, str]:
        """US dollars a million tokens, a call, and an hour, as decimals; only what is charged."""
        found = {
            "input": self.input,
            "output": self.output,
            "cached": self.cached,
            "cache_written": self.cache_written,
        }
        rates = {name: _decimal(pico, 10**6) for name, pico in found.items() if pico}
        if self.request:
            rates["request"] = _decimal(self.request, 10**12)
        if self.second:
            rates["hour"] = _decimal(self.second * 3600, 10**12)
        return rates

    def __str__(self) -> str:
        units = {"request": "a call", "hour": "an hour of one slot"}
        said = [f"${amount} {units.get(name, f'a million {name} tokens')}" for name, amount in self.rates().items()]
        return f"{', '.join(said) or 'free'} ({self.source})"


def _part(pico: int, factor: Fraction) -> int:
    return round(pico * factor)


def _decimal(pico: int, unit: int) -> str:
    text = f"{Decimal(pico) / unit:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def per_million(usd: str | float | Decimal) -> int:
    """Picodollars a token from US dollars a million tokens.

    Raises:
        ValueError: negative or not a number.
    """
    amount = Decimal(str(usd))
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"a price must be zero or more, not {usd!r}")
    return int((amount * 1_000_000).to_integral_value(ROUND_HALF_EVEN))


def usd(nano: int) -> str:
    """Nanodollars as a decimal dollar string without an exponent, e.g. `0.000123`."""
    if not nano:
        return "0"
    whole, rest = divmod(nano, NANO)
    return f"{whole}.{rest:09d}".rstrip("0").rstrip(".")
