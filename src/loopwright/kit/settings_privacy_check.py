"""What is checked of policies of privacy beyond the types of their settings."""

from __future__ import annotations

import re
from typing import Final

from loopwright.kit.nearest import hint as did_you_mean
from loopwright.kit.settings import ModelSettings, Settings
from loopwright.kit.settings_privacy import PolicySettings
from loopwright.kit.settings_read import KeyPath, Reader

_REGION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_WORDS: Final = ("own", "any")
"""Stand among regions and are none."""


def check_privacy(settings: Settings, reader: Reader) -> None:
    """Report what cannot be meant."""
    privacy = settings.privacy
    named: list[tuple[KeyPath, PolicySettings]] = [(("privacy", "default"), privacy.default)]
    named += [(("privacy", "projects", name), policy) for name, policy in privacy.projects.items()]
    named += [(("privacy", "models", name), policy) for name, policy in privacy.models.items()]
    for path, policy in named:
        _check_policy(path, policy, settings, reader)
    words = {word: name for name, model in settings.models.items() for word in (name, *model.aliases)}
    for name in privacy.models:
        if settings.models and name not in words and not name.startswith("task/"):
            reader.report(("privacy", "models", name), f"there is no such model{did_you_mean(name, words)}")
    for name, provider in settings.providers.items():
        _check_region(("providers", name, "region"), provider.region, reader)
    for name, model in settings.models.items():
        for at, target in enumerate(model.targets):
            _check_region(("models", name, "targets", f"[{at}]", "region"), target.region, reader)


def _check_policy(path: KeyPath, policy: PolicySettings, settings: Settings, reader: Reader) -> None:
    here = (*path, "residency")
    residency = policy.residency
    if residency is not None and not residency and not reader.failed(path, "residency"):
        reader.report(here, "found an empty list; allowed: regions, own, or any alone for no limit")
    for at, word in enumerate(residency or ()):
        if not _REGION.fullmatch(word):
            reader.report((*here, f"[{at}]"), f"found {reader.found(here, word)}; allowed: a region such as eu, or own")
    if residency is not None and "any" in residency and len(residency) > 1:
        reader.report(here, "found any among others; allowed: any alone, for no limit")
    model = policy.sensitive.model
    if model is None or not settings.models:
        return
    here = (*path, "sensitive", "model")
    words = {word: each for name, each in settings.models.items() for word in (name, *each.aliases)}
    if model not in words:
        reader.report(here, f"found {reader.found(here, model)}, no model here{did_you_mean(model, words)}")
    elif not _has_own(words[model], settings):
        reader.report(here, f"found {reader.found(here, model)}, which has no target of ours; allowed: one with it")


def _has_own(model: ModelSettings, settings: Settings) -> bool:
    if model.engine is not None:
        return True
    providers = [model.provider, *(target.provider for target in model.targets)]
    ours = any(name is not None and name in settings.providers and settings.providers[name].own for name in providers)
    return ours or any(target.engine_model is not None for target in model.targets)


def _check_region(path: KeyPath, region: str | None, reader: Reader) -> None:
    if region is not None and region.casefold() in _WORDS:
        reader.report(path, f"found {reader.found(path, region)}, a word of policies; allowed: the name of a region")
