"""Charts as people name and programs read them: what a group is called, which calls it is, how long before is meant."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from loopwright.calls.charts import Chart, ChartGroup
from loopwright.calls.reading import OTHER
from loopwright.core.errors import BadRequest

Asked = str | list[str]
"""A parameter of a filter; of tags there may be several."""


def back_of(text: str) -> timedelta | None:
    """How long before: `previous` (None: the time just before), or a number of minutes, hours, days or weeks: 90m, 24h, 7d, 4w.

    Raises:
        BadRequest: neither.
    """
    if text == "previous":
        return None
    found = _BACK.fullmatch(text)
    if found is None:
        raise BadRequest(f"compare {text[:40]!r} is neither `previous` nor how long ago: 24h, 7d", param="compare")
    return int(found[1]) * _UNITS[found[2]]


_BACK: Final = re.compile(r"([1-9][0-9]{0,4})([mhdw])")
_UNITS: Final = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def where_of(split: str, name: str | int | None) -> dict[str, str] | None:
    """The parameters that select the calls of a group; None where none do."""
    if name is None or name == "":
        named = split.removeprefix("tag:")
        return None if split in ("key", "operation", "outcome") or "," in named else {"without": split}
    if name == OTHER and (split in ("client", "error_code") or split.startswith("tag:")):
        return None
    if split.startswith("tag:"):
        tag = split.removeprefix("tag:")
        told = f"{tag}:{name}"
        return None if ":" in tag or told != told.strip() or tag != tag.strip() else {"tag": told}
    value = str(name)
    return None if value != value.strip() else {split: value}


def joined(asked: Mapping[str, Asked], where: Mapping[str, Asked]) -> dict[str, Asked]:
    """Parameters that select the calls which pass both `asked` and `where`; of tags all hold."""
    merged = dict(asked)
    for name, value in where.items():
        if name == "without" and merged.get(name):
            merged[name] = f"{merged[name]},{value}"
        elif name == "tag":
            tags = list(dict.fromkeys([*listed(merged.get(name)), *listed(value)]))
            merged[name] = tags if len(tags) > 1 else tags[0]
        elif value:
            merged[name] = value
    return merged


def listed(value: Asked | None) -> list[str]:
    """The values of a parameter that may be given several times."""
    return [value] if isinstance(value, str) else list(value or ())


def label_of(split: str, name: str | int | None, keys: Mapping[int, str]) -> str:
    """What people call a group."""
    if name is None or name == "":
        return f"no {split.removeprefix('tag:').replace('_', ' ')}"
    return keys.get(int(name), f"key {name}") if split == "key" and str(name).isdecimal() else str(name)


def shown(chart: Chart, split: str | None, names: Mapping[int, str]) -> dict[str, Any]:
    """A chart as built-in types. `where` of a group are the parameters that select its calls; None where none do."""

    def group(each: ChartGroup) -> dict[str, Any]:
        values = {name: list(row) for name, row in each.values.items()}
        return {"name": each.name, "requests": each.requests, "totals": dict(each.totals), "values": values}

    return {
        "since": chart.since,
        "until": chart.until,
        "step_seconds": chart.step_seconds,
        "read_since": chart.read_since,
        "split": split,
        "times": list(chart.times),
        "total": group(chart.total),
        "groups": [
            group(each) | {"label": label_of(split or "", each.name, names), "where": where_of(split or "", each.name)}
            for each in chart.groups
        ],
        "rest": None if chart.rest is None else group(chart.rest),
        "others": chart.others,
    }
