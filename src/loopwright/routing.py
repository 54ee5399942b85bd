"""Every name that can be called and where it leads: providers opened once each, engines, targets, routes, prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from loopwright.catalog import prices
from loopwright.catalog.models import Catalog
from loopwright.core.chat import Chat
from loopwright.core.money import Price
from loopwright.core.privacy import Place
from loopwright.engines.endpoints import Endpoint
from loopwright.engines.llamacpp_tokens import LlamaCppTokens
from loopwright.gateway.adapted import Adapted
from loopwright.gateway.cascaded import Evaluator
from loopwright.gateway.encoded import Encoded
from loopwright.gateway.gated import Gated
from loopwright.gateway.grounded import PROVIDER as GROUNDED
from loopwright.gateway.grounded import UNASKED
from loopwright.gateway.moderated import house_routes
from loopwright.gateway.redacted import Redacted
from loopwright.gateway.remembered import FREE
from loopwright.gateway.remembered import PROVIDER as REMEMBERED
from loopwright.gateway.route import Route, plain, route, watched
from loopwright.gateway.routed import Target
from loopwright.gateway.structured import Structured
from loopwright.gateway.tallied import PriceOf
from loopwright.kit.plugins import Registry
from loopwright.kit.settings import ModelSettings, ProviderSettings, Settings, TargetSettings, Timeouts
from loopwright.kit.settings_privacy import PrivacySettings
from loopwright.providers.presets import completed
from loopwright.providers.protocol import Provider

_PROVIDERS: Final[Mapping[str, str]] = {
    "anthropic": "loopwright.providers.anthropic:anthropic",
    "bedrock": "loopwright.providers.bedrock:bedrock",
    "gemini": "loopwright.providers.gemini:gemini",
    "openai": "loopwright.providers.openai:OpenAICompatible",
    "scripted": "loopwright.providers.scripted:Scripted",
}
_ENGINE_TIMEOUTS: Final = Timeouts(connect=2.0, first_token=600.0, between_tokens=120.0, total=3600.0)
"""Engines of ours queue what they cannot answer at once, so their first token may be long in coming."""


def opened_routes(
    settings: Settings, catalog: Catalog, engines: Mapping[str, Endpoint]
) -> tuple[dict[str, Route], tuple[Provider, ...]]:
    """Every callable name and where it leads. A provider is opened once, whatever number of models it serves."""
    opened = {name: _open(name, provider) for name, provider in settings.providers.items()}
    local: list[Provider] = []
    models = catalog.configured()
    hosted: dict[str, Target] = {}
    for name, model in models.items():
        endpoint = engines.get(name)
        if model.engine is not None and endpoint is not None:
            local.append(_open(model.engine.kind, _engine_provider(endpoint)))
            price = _engine_price(model, endpoint)
            place = Place(provider=local[-1].name, model=model.model or name, own=True)
            chat = local[-1].chat(place.model)
            chat = Adapted(chat, tuple(endpoint.adapters)) if endpoint.adapters else chat
            chat = Structured(
                inner=Gated(chat, place) if settings.privacy.active else chat,
                schemas=model.schemas or ("grammar" if endpoint.kind == "llamacpp" else "native"),
                tools=model.tools or ("native" if endpoint.supports_tools else "emulated"),
            )
            hosted[name] = _target(chat, place, endpoint, _counted(price, settings, place.provider))
    routes: dict[str, Route] = {}
    for name, model in models.items():
        found: dict[TargetSettings, Target] = {}
        if model.engine is not None:
            alone = hosted.get(name)
        elif model.provider is not None:
            alone = _elsewhere(name, model, settings, opened)
        else:
            alone = None
            for each in model.targets:
                target = (
                    hosted.get(each.engine_model or "")
                    if each.provider is None
                    else _elsewhere(name, _alone(model, each), settings, opened, region=each.region)
                )
                if target is not None:
                    found[each] = target
        made = _route(name, model, alone, found)
        if made is not None:
            routes.update(dict.fromkeys((name, *model.aliases), made))
    for name, judging in house_routes().items():
        routes.setdefault(name, judging)
    return routes, (*opened.values(), *local)


def _alone(model: ModelSettings, target: TargetSettings) -> ModelSettings:
    """A target as the model it would be by itself."""
    return ModelSettings(
        provider=target.provider,
        model=target.model,
        price=target.price,
        operations=model.operations,
        tools=model.tools,
        schemas=model.schemas,
    )


def _route(
    name: str, model: ModelSettings, alone: Target | None, found: Mapping[TargetSettings, Target]
) -> Route | None:
    """None when no target is there: an engine that does not run."""
    if alone is not None:
        return route(name, model, [alone]) if watched(model) else plain(name, alone)
    if not found:
        return None
    cascade = model.cascade if len(found) > 1 else None
    evaluators: dict[str, Evaluator] = {}
    if cascade is not None and cascade.evaluator:
        registry: Registry[Evaluator] = Registry("evaluators")
        evaluators[cascade.evaluator] = registry.find(cascade.evaluator)()
    kept = replace(model, targets=tuple(found), cascade=cascade)
    return route(name, kept, list(found.values()), evaluators=evaluators)


def _elsewhere(
    name: str,
    model: ModelSettings,
    settings: Settings,
    opened: Mapping[str, Provider],
    *,
    region: str | None = None,
) -> Target:
    elsewhere = settings.providers[model.provider or ""]
    provider = opened[model.provider or ""]
    place = Place(
        provider=provider.name,
        model=model.model or name,
        region=region or elsewhere.region,
        own=elsewhere.own,
    )
    chat = provider.chat(place.model)
    chat = Gated(chat, place) if settings.privacy.active else chat
    chat = chat if elsewhere.kind == "openai" else Encoded(chat)
    # Inside what keeps answers to their form: that sees them restored, and what it asks again is searched again.
    chat = Redacted(chat) if settings.privacy.active and not place.own else chat
    schemas = model.schemas or ("asked" if elsewhere.kind == "scripted" else "native")
    chat = Structured(inner=chat, schemas=schemas, tools=model.tools or "native")
    return _target(chat, place, model, _counted(_price(name, model, elsewhere), settings, place.provider))


def _target(chat: Chat, place: Place, able: ModelSettings | Endpoint, price: Price | None) -> Target:
    operations: frozenset[Any] = frozenset(able.operations)
    return Target(
        chat=chat,
        provider=place.provider,
        model=place.model,
        operations=operations,
        price=price,
        adapters=able.adapters if isinstance(able, Endpoint) else {},
        place=place,
    )


def places(routes: Mapping[str, Route]) -> dict[str, tuple[Place, ...]]:
    """Where the targets of each name are."""
    return {name: tuple(target.place for target in each.targets) for name, each in routes.items()}


def prices_of(routes: Mapping[str, Route], privacy: PrivacySettings) -> dict[tuple[str, str, str], Price | None]:
    """By the name that is asked for, the provider, and its own name of the model.

    A model that answers instead, where requests are sensitive, may answer under any name.
    """
    found = {
        (name, target.provider, target.model): target.price for name, each in routes.items() for target in each.targets
    }
    policies = (privacy.default, *privacy.projects.values(), *privacy.models.values())
    for instead in {policy.sensitive.model for policy in policies} & routes.keys():
        for target in routes[instead or ""].targets:
            for name in routes:
                found.setdefault((name, target.provider, target.model), target.price)
    return found


def price_of(known: Mapping[tuple[str, str, str], Price | None]) -> PriceOf:
    """Prices by who answered; what memory answers by itself, or retrieval refuses to, costs nothing."""
    free = {REMEMBERED: FREE, GROUNDED: UNASKED}

    def price(*served: str) -> Price | None:
        name, provider, model = served
        return known.get((name, provider, model)) or free.get(provider)

    return price


def alone(routes: Mapping[str, Route]) -> dict[str, tuple[str, str]]:
    """Names that one target alone answers for, each with its provider and own name of the model."""
    return {
        name: (each.targets[0].provider, each.targets[0].model)
        for name, each in routes.items()
        if len(each.targets) == 1
    }


def dearest(routes: Mapping[str, Route]) -> dict[str, Price]:
    """What a call of each name costs at the most, where it has a price: to reserve by."""
    found: dict[str, Price] = {}
    for name, each in routes.items():
        known = [target.price for target in each.targets if target.price is not None]
        if known:
            found[name] = max(known, key=lambda price: (price.output, price.input, price.second))
    return found


def counters(catalog: Catalog, engines: Mapping[str, Endpoint]) -> dict[str, LlamaCppTokens]:
    """The llama.cpp engines, for they count without generating."""
    counters: dict[str, LlamaCppTokens] = {}
    for name, model in catalog.configured().items():
        endpoint = engines.get(name)
        if endpoint is not None and endpoint.kind == "llamacpp":
            counters.update(dict.fromkeys((name, *model.aliases), LlamaCppTokens(endpoint)))
    return counters


def placed(settings: Settings) -> Settings:
    """The settings with each provider's preset filled in, so that its URL, and by it its prices, are known."""
    return replace(settings, providers={name: completed(name, each) for name, each in settings.providers.items()})


def _open(name: str, settings: ProviderSettings) -> Provider:
    registry: Registry[Provider] = Registry("providers", builtin=_PROVIDERS)
    return registry.find(settings.kind)(name, settings)


def _engine_provider(endpoint: Endpoint) -> ProviderSettings:
    return ProviderSettings(base_url=endpoint.url, api_key=endpoint.secret, timeouts=_ENGINE_TIMEOUTS)


def _price(name: str, model: ModelSettings, provider: ProviderSettings) -> Price | None:
    if model.price is not None:
        return prices.configured(model.price)
    return prices.listed(model.model or name, base_url=provider.base_url)


def _counted(price: Price | None, settings: Settings, provider: str) -> Price | None:
    """As it counts in this process: where batches are asked, they may count a part of it."""
    return None if price is None else price.times(settings.batches.factor_of(provider))


def _engine_price(model: ModelSettings, endpoint: Endpoint) -> Price | None:
    return None if model.price is None else prices.configured(model.price, slots=endpoint.slots)
