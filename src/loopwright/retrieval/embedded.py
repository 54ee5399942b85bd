"""What of a chunk is embedded, and who embeds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from loopwright.core.errors import BadRequest, LoopwrightError, Refused, UpstreamRefused
from loopwright.retrieval.collection import Collection

_ABOVE: Final = 300
"""Characters of title and headings that go before a chunk's text."""
_OURS: Final = frozenset({400, 413, 422})
"""Answers of an upstream that speak of what it was asked, not of how it is."""
BYTES_A_TOKEN: Final = 4
"""Where nobody knows the tokenizer."""


class Embeds(Protocol):
    """Asks a model for vectors of texts of a collection, under the policy of its project."""

    async def __call__(self, collection: Collection, model: str, texts: list[str], /) -> list[list[float]]:
        """One vector of unit length for each, in order.

        Raises:
            LoopwrightError: see `blames`.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """How a model counts."""

    count: Callable[[str], int]
    most: int | None = None
    """Of a text that it reads whole; None is not known."""

    def room(self, wanted: int) -> int:
        """Tokens a piece may have where `wanted` are: some are left for what goes before it."""
        return wanted if self.most is None else max(min(wanted, self.most - 2 - _ABOVE // BYTES_A_TOKEN), 16)


TokensOf = Callable[[str], Tokens]
"""How a model of this name counts."""


def by_bytes(_model: str) -> Tokens:
    """A `TokensOf` that guesses."""
    return Tokens(count=lambda text: -(-len(text.encode("utf-8", "replace")) // BYTES_A_TOKEN))


def embeddable(title: str, heading: str, text: str) -> str:
    """What stands for a chunk before the model: its text under its headings, and the title where that says more."""
    named = heading if not title or title in heading else f"{title} > {heading}" if heading else title
    above = named[-_ABOVE:]
    return f"{above}\n{text}" if above and not text.lstrip("# ").startswith(above) else text


def blames(error: LoopwrightError) -> bool:
    """Whether it says that the texts are at fault: the same will be said of them tomorrow. Else asking again helps."""
    if isinstance(error, UpstreamRefused):
        return error.upstream_status in _OURS
    return isinstance(error, BadRequest | Refused)
