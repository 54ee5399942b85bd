"""What is checked of a model with several targets, or with options of a route, beyond the types of its settings."""

from __future__ import annotations

from collections.abc import Mapping

from loopwright.kit.nearest import hint as did_you_mean
from loopwright.kit.settings import ModelSettings, Settings, TargetSettings
from loopwright.kit.settings_read import KeyPath, Reader


def check_route(path: KeyPath, model: ModelSettings, settings: Settings, reader: Reader) -> None:
    """Report what cannot be meant."""
    for at, target in enumerate(model.targets):
        _check_target((*path, "targets", f"[{at}]"), target, settings, reader)
    if model.targets and not any(target.weight for target in model.targets):
        reader.report((*path, "targets"), "every weight is 0; allowed: at least one above 0")
    if model.cascade is not None and len(model.targets) < 2:
        reader.report(
            (*path, "cascade"), "needs at least two targets: the first answers, the others when it will not do"
        )
    if model.cascade is not None and model.hedge is not None:
        reader.report((*path, "hedge"), "stands beside cascade; allowed: one of them")
    if model.engine is not None and model.retries is not None:
        reader.report((*path, "retries"), "an engine of ours is not asked again; allowed: for providers and targets")
    if model.hedge is not None and model.engine is not None:
        reader.report((*path, "hedge"), "an engine of ours is not asked twice; allowed: for providers and targets")


def _check_target(path: KeyPath, target: TargetSettings, settings: Settings, reader: Reader) -> None:
    providers: Mapping[str, object] = settings.providers
    if (target.provider is None) == (target.engine_model is None) and not reader.failed(
        path, "provider", "engine_model"
    ):
        both = "neither" if target.provider is None else "both"
        reader.report(path, f"has {both} of provider and engine_model; allowed: exactly one")
    if target.provider is not None and ("providers", target.provider) not in reader.places:
        known = did_you_mean(target.provider, providers) or "; there are none under `providers`"
        reader.report(
            (*path, "provider"), f"found {reader.found((*path, 'provider'), target.provider)}, no provider{known}"
        )
    if target.engine_model is not None and ("models", target.engine_model) in reader.places:
        named = settings.models.get(target.engine_model)
        if named is not None and named.engine is None:
            found = reader.found((*path, "engine_model"), target.engine_model)
            reader.report((*path, "engine_model"), f"found {found}, a model without an engine; allowed: one with it")
    elif target.engine_model is not None:
        hosted = [name for name, model in settings.models.items() if model.engine is not None]
        found = reader.found((*path, "engine_model"), target.engine_model)
        known = did_you_mean(target.engine_model, hosted) or "; there is none with an `engine`"
        reader.report((*path, "engine_model"), f"found {found}, no model here{known}")
