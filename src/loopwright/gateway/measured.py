"""How many tokens texts are to a model: its own tokenizer counts where it is at hand, else their bytes are divided."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from loopwright.core.errors import LoopwrightError
from loopwright.gateway.passages import sizes

_SECONDS: Final = 1.0
"""That counting may take; later the bytes are divided."""


class Counter(Protocol):
    """Counts exactly, without generating."""

    async def count(self, body: Mapping[str, Any], /) -> int:
        """Tokens of the prompt that a canonical body becomes."""
        ...


@dataclass(frozen=True, slots=True)
class Measured:
    """Counts texts."""

    counters: Mapping[str, Counter]
    """By the names that models answer to."""
    _frames: dict[str, int] = field(default_factory=dict)
    """Tokens of a conversation that says one word, by model."""

    async def __call__(self, model: str, texts: Sequence[str], /) -> Sequence[int]:
        """Tokens of each; rather too many where nobody can count, or not in time."""
        counter = self.counters.get(model)
        if counter is None or not texts:
            return sizes(texts)
        try:
            async with asyncio.timeout(_SECONDS):
                if model not in self._frames:
                    self._frames[model] = await counter.count(_saying("a")) - 1
                counted = await asyncio.gather(*(counter.count(_saying(text)) for text in texts))
        except (LoopwrightError, TimeoutError):
            return sizes(texts)
        return [max(count - self._frames[model], 1) for count in counted]


def _saying(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}
