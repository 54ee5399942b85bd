"""What embedding will cost, before it is done; and what an answer costs from passages against everything in the prompt. Pure.

Money is exact: prices are decimals of US dollars for 1,000 tokens, or picodollars a token as the catalog has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from loopwright.core.errors import BadRequest
from loopwright.core.money import Price, Usage, usd

ITEMS: Final = 10**12
_PICO: Final = 10**12
_DEAREST: Final = Decimal(1_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What embedding so many pieces takes."""

    items: int
    tokens: int
    """Of all of them together."""
    counted: str
    """How the tokens came to be known: `told`, `counted`, `scaled from a sample`, `estimated`."""
    embedder: str | None = None
    price: Decimal | None = None
    """US dollars for 1,000 tokens; None is not known."""
    price_source: str = ""
    tokens_a_second: float | None = None
    """As measured; None was not."""

    @property
    def cost(self) -> Decimal | None:
        """US dollars, exactly; None without a price."""
        return None if self.price is None else self.price * self.tokens / 1_000

    @property
    def seconds(self) -> float | None:
        """At the measured rate."""
        return self.tokens / self.tokens_a_second if self.tokens_a_second else None

    def shown(self) -> dict[str, Any]:
        """As JSON; money as decimal texts."""
        return {
            "items": self.items,
            "tokens": self.tokens,
            "counted": self.counted,
            "embedder": self.embedder,
            "price_usd_per_1k": None if self.price is None else plain_decimal(self.price),
            "price_source": self.price_source,
            "cost_usd": None if self.cost is None else plain_decimal(self.cost),
            "tokens_a_second": None if self.tokens_a_second is None else round(self.tokens_a_second, 1),
            "seconds": None if self.seconds is None else round(self.seconds, 1),
        }


def price_of(said: str | None, known: Price | None) -> tuple[Decimal | None, str]:
    """US dollars for 1,000 tokens and where that is from: what is said, else what is known of the model.

    Raises:
        BadRequest: what is said is no price.
    """
    if said is None:
        if known is None:
            return None, ""
        return Decimal(known.input) * 1_000 / _PICO, known.source
    try:
        price = Decimal(said)
    except InvalidOperation:
        price = Decimal(-1)
    if not price.is_finite() or not 0 <= price <= _DEAREST or len(said) > 40:
        raise BadRequest(f"price: US dollars for 1,000 tokens, not {said[:40]!r}", param="price")
    return price, "told"


def plain_decimal(amount: Decimal) -> str:
    """Without an exponent and without zeros that say nothing."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompted:
    """An answer asked of one model in two ways: from passages, and with the whole collection in the prompt."""

    model: str
    price: Price | None
    context: int | None
    """Tokens of its window; None is not known."""
    estimated: bool
    """Nobody counts for it here: four bytes are taken for a token."""
    passages: int
    """Tokens of the passages of one answer."""
    collection: int
    """Tokens of all documents."""
    overhead: int
    """Tokens of instructions and question."""
    output: int

    @property
    def fits(self) -> bool | None:
        """Whether everything goes into the window; None is not known."""
        return None if self.context is None else self.needed <= self.context

    @property
    def needed(self) -> int:
        """Tokens of the window that everything takes."""
        return self.collection + self.overhead + self.output

    def shown(self) -> dict[str, Any]:
        """As JSON; costs in US dollars as decimal texts, None without a price."""
        few = Usage(input=self.passages + self.overhead, output=self.output)
        every = Usage(input=self.collection + self.overhead, output=self.output)
        again = Usage(input=every.input, output=self.output, cached=self.collection)
        costs = {name: self._cost(usage) for name, usage in (("few", few), ("every", every), ("again", again))}
        cached = self.price is not None and self.price.cached is not None
        times = None if not costs["few"] or costs["every"] is None else round(costs["every"] / costs["few"], 1)
        return {
            "model": self.model,
            "estimated": self.estimated,
            "context": self.context,
            "fits": self.fits,
            "passages": {"tokens": few.input, "cost_usd": _usd(costs["few"])},
            "whole": {
                "tokens": every.input,
                "cost_usd": _usd(costs["every"]),
                "cached_cost_usd": _usd(costs["again"]) if cached else None,
                "needed": self.needed,
            },
            "times": times,
            "price_source": None if self.price is None else self.price.source,
        }

    def _cost(self, usage: Usage) -> int | None:
        return None if self.price is None else self.price.cost(usage)


def _usd(nano: int | None) -> str | None:
    return None if nano is None else usd(nano)
