"""How many tokens a prompt is to each model, and what it costs to send. Counted by the engine where one counts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from loopwright.core.errors import LoopwrightError
from loopwright.core.money import Price, Usage, usd

_BYTES_A_TOKEN: Final = 4
_A_MESSAGE: Final = 4
"""Tokens that a chat template adds to each message, about."""
_MOST: Final = 50


class Counter(Protocol):
    """Counts as a model does."""

    async def count(self, body: Mapping[str, Any]) -> int:
        """Tokens of the prompt that a chat body becomes."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """A model to weigh with."""

    model: str
    price: Price | None
    """None is unpriced."""
    counter: Counter | None
    """None: nobody counts for it here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """What a prompt is to one model."""

    model: str
    tokens: int
    estimated: bool
    """Nobody counted: four bytes are taken for a token."""
    cost_nano: int | None
    """Nanodollars of sending it once, without the answer; None is unpriced."""
    price_source: str | None

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "model": self.model,
            "tokens": self.tokens,
            "estimated": self.estimated,
            "input_cost_usd": None if self.cost_nano is None else usd(self.cost_nano),
            "price_source": self.price_source,
        }


async def weigh(messages: Sequence[Mapping[str, Any]], scales: Sequence[Scale]) -> list[Weight]:
    """What `messages` are to each model, in the order of `scales`; at most 50 of them."""
    return list(await asyncio.gather(*(_one(messages, scale) for scale in scales[:_MOST])))


async def _one(messages: Sequence[Mapping[str, Any]], scale: Scale) -> Weight:
    counted: int | None = None
    if scale.counter is not None:
        try:
            counted = await scale.counter.count({"model": scale.model, "messages": list(messages)})
        except LoopwrightError:
            counted = None  # an engine that starts, or a form its template does not take: then it is estimated
    tokens = estimate(messages) if counted is None else counted
    price = scale.price
    return Weight(
        model=scale.model,
        tokens=tokens,
        estimated=counted is None,
        cost_nano=None if price is None else price.cost(Usage(input=tokens)),
        price_source=None if price is None else price.source,
    )


def estimate(messages: Sequence[Mapping[str, Any]]) -> int:
    """Tokens of messages, at four bytes each and four a message."""
    size = sum(len(_text(message.get("content")).encode("utf-8", "replace")) for message in messages)
    return max(size // _BYTES_A_TOKEN, 1) + _A_MESSAGE * len(messages)


def _text(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, default=str)
