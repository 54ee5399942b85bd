"""Presets: what is particular about well-known places, as data (`presets.yaml`), put under what the user says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.resources import files
from typing import Any, Final

import msgspec

from loopwright.core.errors import BadRequest, SettingsError
from loopwright.kit.dialects.foreign import PARTICULAR, Sieve
from loopwright.kit.nearest import hint
from loopwright.kit.settings import ProviderSettings
from loopwright.providers.rerank import Words


class Preset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of `presets.yaml`; its head says what each means."""

    kind: str = "openai"
    base_url: str | None = None
    key: str = "authorization: Bearer {key}"
    path: str = "{path}"
    query: str = ""
    include_usage: bool = True
    done_optional: bool = False
    rename: dict[str, str] = {}
    drop: tuple[str, ...] = ()
    refuse: tuple[str, ...] = ()
    accepts: tuple[str, ...] = ()
    rerank: Words = Words()

    def credentials(self, key: str) -> tuple[str, str]:
        """The header that carries `key`."""
        name, _, form = self.key.partition(":")
        return name, form.strip().format(key=key)


def _read() -> dict[str, Preset]:
    return msgspec.yaml.decode(
        files("loopwright.providers").joinpath("presets.yaml").read_bytes(), type=dict[str, Preset]
    )


PRESETS: Final[Mapping[str, Preset]] = _read()
PLAIN: Final = Preset(accepts=tuple(sorted(PARTICULAR)))
"""Any OpenAI-compatible URL: nothing is changed."""


def preset_of(name: str, settings: ProviderSettings) -> Preset:
    """The preset of a provider: the one it names, else its kind's, else, without a URL, the one it is called after.

    Raises:
        SettingsError: there is no such preset.
    """
    named = _named(name, settings)
    if named is None:
        return PLAIN
    if named not in PRESETS:
        raise SettingsError(f"providers.{name}.preset: there is no {named!r}{hint(named, PRESETS)}")
    return PRESETS[named]


def _named(name: str, settings: ProviderSettings) -> str | None:
    if settings.preset is not None:
        return settings.preset
    if settings.kind != "openai":
        return settings.kind if settings.kind in PRESETS else None
    return name if settings.base_url is None and name in PRESETS else None


def completed(name: str, settings: ProviderSettings) -> ProviderSettings:
    """`settings` with the preset they mean, and its kind and URL where the user gave none.

    Raises:
        SettingsError: there is no such preset, or its URL needs a region.
    """
    preset = preset_of(name, settings)
    url = settings.base_url or preset.base_url
    if url is not None and "{region}" in url:
        if not settings.region:
            raise SettingsError(f"providers.{name}.region is missing: the AWS region, e.g. us-east-1")
        url = url.replace("{region}", settings.region)
    kind = preset.kind if settings.kind == "openai" else settings.kind
    named: Any = _named(name, settings)
    return replace(settings, base_url=url, kind=kind, preset=named)


def accepting(name: str, args: Mapping[str, object], preset: Preset) -> Preset:
    """The preset with what `args.accepts` of a provider says of the members that only some upstreams accept.

    Raises:
        SettingsError: there is no such member.
    """
    if "accepts" not in args:
        return preset
    given = args["accepts"]
    members = given if isinstance(given, list) else [given]
    for member in members:
        if member not in PARTICULAR:
            allowed = ", ".join(sorted(PARTICULAR))
            raise SettingsError(f"providers.{name}.args.accepts: {member!r} is none of {allowed}")
    return msgspec.structs.replace(preset, accepts=tuple(members))


Change = Callable[[bytes | None, Mapping[str, Any]], Mapping[str, Any] | None]
"""From a body (as bytes while it is untouched, and parsed) to the changed one; None when nothing is to be changed."""


def changes_for(preset: Preset, who: str) -> Change | None:
    """What `preset` changes in a body; None when it changes nothing. Untouched bodies are only searched for words.

    The change raises BadRequest for what cannot be left out silently.
    """
    words = (*preset.rename, *preset.drop, *preset.refuse)
    refused = PARTICULAR.difference(preset.accepts)
    if not words and not refused:
        return None
    sieve = Sieve(refused)
    marks = tuple(f'"{word}"'.encode() for word in words)

    def change(raw: bytes | None, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
        foreign = bool(refused) and (raw is None or sieve.may_hold(raw))
        if raw is not None and not foreign and not any(mark in raw for mark in marks):
            return None
        found = {word for word in words if word in body}
        if not found and not foreign:
            return None
        for word in preset.refuse:
            if body.get(word) not in (None, False, 0) and not (word == "n" and body["n"] == 1):
                raise BadRequest(f"{word}: {who} has no such thing; leave it out", param=word)
        out = sieve.less(body) if foreign else dict(body)
        for word in (*preset.drop, *preset.refuse):
            out.pop(word, None)
        for old, new in preset.rename.items():
            if old in out:
                value = out.pop(old)
                out.setdefault(new, value)
        return out

    return change
