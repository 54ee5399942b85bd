"""Energy and CO2 of answers: factors for models elsewhere (EcoLogits), the grid that engines of ours draw from.

For models elsewhere nobody publishes what an answer takes. EcoLogits (https://ecologits.ai, MPL-2.0) models it from
what is known of a model's size, of servers and of the grid: a low and a high figure, both affine in the tokens of the
answer, so that a sum over calls needs their number and tokens only. Its figures for CO2 hold a share of making the servers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from loopwright.kit.postponed import Postponed
from loopwright.kit.settings import ProviderSettings

_impacts: Final = Postponed("ecologits.tracers.utils")
_models: Final = Postponed("ecologits.model_repository")
_mixes: Final = Postponed("ecologits.electricity_mix_repository")
_FEW: Final = 100
_MANY: Final = 1_100
"""Tokens of answer: two points tell a line."""
_NAMES: Final[Mapping[str, str]] = {
    "openai": "openai", "azure": "openai", "azure-v1": "openai", "azure.ai.openai": "openai", "az.ai.openai": "openai",
    "anthropic": "anthropic", "aws.bedrock": "", "bedrock": "",
    "mistral": "mistralai", "mistralai": "mistralai", "mistral_ai": "mistralai",
    "gemini": "google_genai", "google": "google_genai", "gcp.gemini": "google_genai", "gcp.vertex_ai": "google_genai",
    "gcp.gen_ai": "google_genai", "vertex_ai": "google_genai", "google_genai": "google_genai",
    "cohere": "cohere", "huggingface": "huggingface_hub", "huggingface_hub": "huggingface_hub",
}  # fmt: skip
"""Providers as presets, kinds and OpenTelemetry call them, and as EcoLogits does; empty is told by the model's name."""
_MAKERS: Final = {"anthropic": "anthropic", "mistral": "mistralai", "cohere": "cohere", "openai": "openai"}
"""Of models that others host, as their names begin: `anthropic.claude…`, `eu.anthropic.claude…`, `openai/gpt…`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """What some answers took, between two figures that are as likely."""

    wh_low: float = 0.0
    """Watt-hours."""
    wh_high: float = 0.0
    g_low: float = 0.0
    """Grams of CO2 equivalent."""
    g_high: float = 0.0

    def __add__(self, other: Energy) -> Energy:
        """Of both."""
        return Energy(
            wh_low=self.wh_low + other.wh_low,
            wh_high=self.wh_high + other.wh_high,
            g_low=self.g_low + other.g_low,
            g_high=self.g_high + other.g_high,
        )

    def times(self, share: float) -> Energy:
        """A part of it, or several times of it."""
        return Energy(
            wh_low=self.wh_low * share,
            wh_high=self.wh_high * share,
            g_low=self.g_low * share,
            g_high=self.g_high * share,
        )

    def shown(self) -> dict[str, Any]:
        """For programs."""
        return {"wh": {"low": self.wh_low, "high": self.wh_high}, "co2e_g": {"low": self.g_low, "high": self.g_high}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """What one model takes: for each call, and for each token of its answer."""

    call: Energy
    token: Energy
    precise: bool
    """Whether its maker has told how it is built; otherwise that is estimated as well."""

    def of(self, calls: int, tokens: int) -> Energy:
        """What so many calls with so many tokens of answer in all took."""
        return self.call.times(calls) + self.token.times(tokens)


def maker_of(provider: str, model: str, providers: Mapping[str, ProviderSettings]) -> tuple[str, str] | None:
    """Provider and model as EcoLogits calls them; None where it knows no such provider."""
    known = providers.get(provider)
    if known is not None:
        if known.own:
            return None
        provider = known.preset or known.kind
    name = _NAMES.get(provider.lower())
    if name:
        return name, model.removeprefix("models/")
    if name is None and known is not None and "/" not in model:
        return None
    parts = model.replace("/", ".", 1).split(".")
    for place, part in enumerate(parts[:2]):
        if part in _MAKERS:
            return _MAKERS[part], model[len(".".join(parts[: place + 1])) + 1 :]
    return None


@lru_cache(maxsize=1024)
def factor(provider: str, model: str) -> Factor | None:
    """What EcoLogits says of a model, by its own names; None where it knows none. The first time takes a second: in a thread.

    The grid is that of the provider's data centres, as EcoLogits has it.
    """
    if provider not in _impacts.PROVIDER_CONFIG_MAP or (found := _found(provider, model)) is None:
        return None
    few, many = (_estimate(provider, found.name, tokens) for tokens in (_FEW, _MANY))
    token = (many + few.times(-1)).times(1 / (_MANY - _FEW))
    return Factor(
        call=_floored(few + token.times(-_FEW)),
        token=token,
        precise=not any("not-released" in str(each.code) for each in found.warnings or ()),
    )


def _found(provider: str, model: str) -> Any:
    """A model, or the one it is a dated version of: `gpt-4o-mini-2024-07-18` of `gpt-4o-mini`."""
    name = model
    while name:
        found = _models.models.find_model(provider=provider, model_name=name)
        if found is not None:
            return found
        rest, dash, tail = name.rpartition("-")
        if not dash or not (tail.isdigit() or tail == "latest"):
            return None
        name = rest
    return None


def _floored(energy: Energy) -> Energy:
    """What rounding has made less than nothing is nothing."""
    return Energy(
        wh_low=max(energy.wh_low, 0.0),
        wh_high=max(energy.wh_high, 0.0),
        g_low=max(energy.g_low, 0.0),
        g_high=max(energy.g_high, 0.0),
    )


def _estimate(provider: str, model: str, tokens: int) -> Energy:
    # Without an end to the latency its model of it holds: ours is of the gateway's whole road.
    told = _impacts.llm_impacts(provider, model, tokens, math.inf)
    wh, grams = _ends(told.energy.value), _ends(told.gwp.value)
    return Energy(wh_low=wh[0] * 1000, wh_high=wh[1] * 1000, g_low=grams[0] * 1000, g_high=grams[1] * 1000)


def _ends(value: Any) -> tuple[float, float]:
    return (float(getattr(value, "min", value)), float(getattr(value, "max", value)))


@lru_cache(maxsize=64)
def grid(zone: str) -> float | None:
    """Grams of CO2 equivalent of a kilowatt-hour in a zone (ISO 3166-1 alpha-3, or `WOR`), by EcoLogits' table; None unknown."""
    found = _mixes.electricity_mixes.find_electricity_mix(zone=zone)
    return None if found is None else found.gwp * 1000
