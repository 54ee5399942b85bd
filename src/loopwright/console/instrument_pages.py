"""The page of metrics that programs sent: each with the line of its newest points. Names and units are others'."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.routing import Route

from loopwright.app import App
from loopwright.console.conversation import plain
from loopwright.console.shell import Shell, View, Visit
from loopwright.console.sparks import Spark, curves
from loopwright.core.errors import BadRequest

_SHOWN: Final = 200
_POINTS: Final = 40


class InstrumentPages:
    """Everybody sees the metrics of their project; administrators see all."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._app: App = shell.app

    def routes(self) -> list[Route]:
        """The page and its twin."""
        return self._shell.page("/instruments", "instruments.html", self._view)

    async def _view(self, visit: Visit) -> View:
        name, metrics = visit.asked("name"), self._app.telemetry.metrics
        if "\x00" in (name or ""):
            raise BadRequest("name: no metric has this name", param="name")
        found = await metrics.series(visit.project_id, name=name, limit=_SHOWN + 1)
        newest = await metrics.newest([each.id for each in found[:_SHOWN]], limit=_POINTS)
        rows = [each.shown() | {"recent": [_value(point) for point in newest[each.id]]} for each in found[:_SHOWN]]
        return View(
            data={"name": name, "instruments": rows, "more": len(found) > _SHOWN},
            drawn={"sparks": [_spark(row) for row in rows], "values": [_shown(row["recent"]) for row in rows]},
        )


def _value(point: Mapping[str, Any]) -> float | None:
    """Of a gauge or a sum; of a distribution its mean."""
    value: float | None = point["value"]
    if value is not None and point["count"]:
        value /= point["count"]
    return value if value is not None and math.isfinite(value) else None


def _spark(row: Mapping[str, Any]) -> Spark:
    values: Sequence[float | None] = row["recent"]
    least = min((value for value in values if value is not None), default=0.0)
    line = values if least >= 0 else [None if value is None else value - least for value in values]
    return curves(plain(row["name"])[:_POINTS], [("points", "main", line)], _number)


def _shown(values: Sequence[float | None]) -> str:
    return _number(values[-1] if values else None)


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:,.4g}"
