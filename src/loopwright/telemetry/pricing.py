"""What calls cost that went elsewhere without us: by the prices of the configuration, else by the bundled list."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from loopwright.catalog.prices import listed
from loopwright.core.money import Price
from loopwright.providers.presets import PRESETS

_MOST: Final = 4_000
_DAY_NS: Final = 86_400 * 10**9
_KNOWN: Final[Mapping[str, str]] = {
    "azure": "https://example.openai.azure.com",
    "vertex": "https://aiplatform.googleapis.com",
    "bedrock": "https://bedrock-runtime.us-east-1.amazonaws.com",
}
"""URLs of those whose own differ for each customer, as the price list tells them."""


class Prices:
    """Prices by provider and model. Looked up once a day of calls."""

    __slots__ = ("_configured", "_found")

    def __init__(self, configured: Mapping[tuple[str, str, str], Price | None]) -> None:
        """`configured`: by the name that is asked for, the provider and its name of the model."""
        self._configured = {(provider, model): price for (_, provider, model), price in configured.items()}
        self._found: dict[tuple[str, str, int], Price | None] = {}

    def __call__(self, provider: str, model: str, at_ns: int) -> Price | None:
        """What a call cost on its day; None when nobody knows."""
        if (provider, model) in self._configured:
            return self._configured[provider, model]
        key = provider, model, at_ns // _DAY_NS
        if key not in self._found:
            if len(self._found) >= _MOST:
                self._found.clear()
            self._found[key] = self._listed(provider, model, at_ns)
        return self._found[key]

    def _listed(self, provider: str, model: str, at_ns: int) -> Price | None:
        preset = PRESETS.get(provider)
        url = preset.base_url if preset is not None and preset.base_url else _KNOWN.get(provider)
        return listed(model, base_url=url, now=datetime.fromtimestamp(at_ns / 1e9, UTC))
