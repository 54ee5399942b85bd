"""What is checked of receivers of OpenTelemetry beyond the types of their settings."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from loopwright.kit.addresses import is_metadata
from loopwright.kit.settings import Settings
from loopwright.kit.settings_read import Reader

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_HEADER: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")
_MOST: Final = 20


def check_metrics(settings: Settings, reader: Reader) -> None:
    """Report what cannot be meant."""
    here, receivers = ("monitoring", "otlp"), settings.monitoring.otlp
    if len(receivers) > _MOST:
        reader.report(here, f"holds {len(receivers)}; allowed: up to {_MOST}")
    for name, each in receivers.items():
        if _NAME.fullmatch(name) is None:
            reader.report((*here, name), "not a name; allowed: up to 64 letters, digits, dots, hyphens and underscores")
        if not reader.failed((*here, name), "url"):
            problem = _problem(each.url)
            if problem is not None:
                reader.report((*here, name, "url"), problem)
        for header, value in each.headers.items():
            if _HEADER.fullmatch(header) is None or _VALUE.fullmatch(value) is None:
                # The value is a secret, and what stands for a name may be one by mistake.
                reader.report((*here, name, "headers"), "one is no header; allowed: a name and a value of one line")


def _problem(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        fit = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fit = False
    if not fit or not url.isascii() or not url.isprintable() or " " in url or parts.username or parts.query:
        return "not an address; allowed: http://HOST[:PORT][/PATH] or https://…, without a password (see headers)"
    if is_metadata(parts.hostname or ""):
        return "is where a cloud tells a machine its credentials; allowed: a receiver of OpenTelemetry"
    return None
