"""What is checked of objectives, rules and channels beyond the types of their settings."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from loopwright.kit.addresses import is_metadata
from loopwright.kit.settings import Settings
from loopwright.kit.settings_alerts import ChannelSettings, ObjectiveSettings, RuleSettings
from loopwright.kit.settings_read import KeyPath, Reader

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_ADDRESS: Final = re.compile(r"[^@\s<>,;]{1,64}@[^@\s<>,;]{1,255}")
_MOST: Final = 200


def check_alerts(settings: Settings, reader: Reader) -> None:
    """Report what cannot be meant."""
    here: KeyPath = ("monitoring", "objectives")
    for name, objective in settings.monitoring.objectives.items():
        _check_name((*here, name), name, reader)
        _check_objective((*here, name), objective, reader)
    alerts, here = settings.monitoring.alerts, ("monitoring", "alerts")
    for name, rule in alerts.rules.items():
        _check_name((*here, "rules", name), name, reader)
        _check_rule((*here, "rules", name), rule, reader)
    for name, channel in alerts.channels.items():
        _check_name((*here, "channels", name), name, reader)
        _check_channel((*here, "channels", name), channel, reader)
    if alerts.url is not None and not _is_http(alerts.url):
        reader.report((*here, "url"), f"found {reader.found((*here, 'url'), alerts.url)}; allowed: https://HOST[:PORT]")
    for which, many in (
        (("monitoring", "objectives"), settings.monitoring.objectives),
        ((*here, "rules"), alerts.rules),
        ((*here, "channels"), alerts.channels),
    ):
        if len(many) > _MOST:
            reader.report(which, f"holds {len(many)}; allowed: up to {_MOST}")


def _check_name(path: KeyPath, name: str, reader: Reader) -> None:
    if _NAME.fullmatch(name) is None:
        reader.report(path, "not a name; allowed: up to 64 letters, digits, dots, hyphens and underscores")


def _check_objective(path: KeyPath, objective: ObjectiveSettings, reader: Reader) -> None:
    kind = objective.kind
    needed = {"latency": "under", "ttft": "under", "tpot": "under", "cost": "usd", "quality": "score"}.get(kind)
    for name in ("under", "usd", "score"):
        given = getattr(objective, name) is not None
        if name == needed and not given and not reader.failed(path, name):
            reader.report(path, f"{name} is missing; kind {kind} needs it")
        elif given and name != needed:
            reader.report((*path, name), f"stands beside kind {kind}; allowed: with another kind")
    if objective.at_least is not None and kind != "quality":
        reader.report((*path, "at_least"), f"stands beside kind {kind}; allowed: with quality")
    if objective.usd == 0:
        reader.report((*path, "usd"), "found 0; allowed: more than nothing")


def _check_rule(path: KeyPath, rule: RuleSettings, reader: Reader) -> None:
    if (rule.above is None) == (rule.below is None) and not reader.failed(path, "above", "below"):
        both = "both of above and below" if rule.above is not None else "neither of above and below"
        reader.report(path, f"has {both}; allowed: exactly one")


def _check_channel(path: KeyPath, channel: ChannelSettings, reader: Reader) -> None:
    if channel.kind == "email":
        _check_email(path, channel, reader)
    elif channel.url is None:
        if not reader.failed(path, "url"):
            reader.report(path, f"url is missing; a {channel.kind} needs it")
    elif not _is_http(channel.url):
        reader.report((*path, "url"), "not an address (it is not shown); allowed: https://HOST[:PORT]/PATH")
    elif not channel.link_local and is_metadata(urlsplit(channel.url).hostname or ""):
        reader.report((*path, "url"), "is where a cloud tells a machine its credentials: `link_local: true` allows it")
    if channel.kind != "webhook" and channel.secret is not None:
        reader.report((*path, "secret"), f"stands beside kind {channel.kind}; allowed: with webhook")


def _check_email(path: KeyPath, channel: ChannelSettings, reader: Reader) -> None:
    for name, given in (("host", channel.host), ("sender", channel.sender), ("to", channel.to or None)):
        if given is None and not reader.failed(path, name):
            reader.report(path, f"{name} is missing; an e-mail needs it")
    places: list[tuple[KeyPath, str]] = [((*path, "to", f"[{at}]"), each) for at, each in enumerate(channel.to)]
    if channel.sender is not None:
        places.append(((*path, "sender"), channel.sender))
    for place, address in places:
        if _ADDRESS.fullmatch(address) is None:
            reader.report(place, f"found {reader.found(place, address)}; allowed: name@example.com")
    if channel.user is not None and channel.security == "none":
        reader.report((*path, "security"), "found none beside a user, whose password all could read; allowed: tls")


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and " " not in url
    except ValueError:
        return False
