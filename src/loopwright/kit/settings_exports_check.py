"""What is checked of mirrors beyond the types of their settings."""

from __future__ import annotations

import re
from typing import Final

from loopwright.kit.settings import Settings
from loopwright.kit.settings_read import Reader

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_MOST: Final = 50


def check_exports(settings: Settings, reader: Reader) -> None:
    """Report what cannot be meant."""
    if len(settings.exports) > _MOST:
        reader.report(("exports",), f"holds {len(settings.exports)}; allowed: up to {_MOST}")
    for name, export in settings.exports.items():
        path = ("exports", name)
        if _NAME.fullmatch(name) is None:
            reader.report(path, "not a name; allowed: up to 64 letters, digits, dots, hyphens and underscores")
        if "texts" in export.args:
            reader.report((*path, "args", "texts"), "stands in args; allowed: beside kind")
        tags = [("tag", export.filter.tag or ":"), *(("tags", tag) for tag in export.filter.tags)]
        for key, tag in tags:
            if not tag.partition(":")[1]:
                reader.report((*path, "filter", key), f"found {tag[:80]!r}; allowed: NAME:VALUE")
