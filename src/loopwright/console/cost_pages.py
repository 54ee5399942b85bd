"""The page of costs: by any dimension, over time, what was saved and wasted, energy and CO2, where the month is going."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from starlette.routing import Route

from loopwright.app import App
from loopwright.calls.charted import Asked, label_of, where_of
from loopwright.calls.charts import ChartAsk
from loopwright.calls.reading import checked_split
from loopwright.console import formats
from loopwright.console.asking import RANGES, Span, filter_of, given, span_of
from loopwright.console.panels import calls_of, moment, panel
from loopwright.console.shell import Shell, View, Visit
from loopwright.monitoring.expenses import Accounts

_BY: Final = {
    "model": "Model", "task": "Task", "variant": "Variant", "prompt_version": "Prompt version", "key": "Key",
    "provider": "Provider", "target": "Target", "operation": "Operation", "client": "Program", "session": "Session",
}  # fmt: skip
_POINTS: Final = 48
_SHOWN: Final = 200
_FIELDS: Final = ("model", "task", "variant", "key", "provider", "target", "tag")
"""Filters of the query that the page carries on."""


class CostPages:
    """Everybody sees what their project's calls cost; administrators see all."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._app: App = shell.app

    def routes(self) -> list[Route]:
        """The page and its twin."""
        return self._shell.page("/cost", "cost.html", self._view)

    async def _view(self, visit: Visit) -> View:
        now = dt.datetime.now(dt.UTC)
        params = visit.request.query_params
        span = span_of(params, default="7d", now=now)
        whole = Span(name=span.name, since=span.since or now - RANGES["7d"], until=span.until or now)
        asked = filter_of(params, whole, project_id=visit.project_id)
        by = visit.asked("by") or "model"
        checked_split(by)
        project = None if visit.who.admin else visit.who.project
        told, chart, keys, tags = await asyncio.gather(
            Accounts(self._app.db, self._app.calls, self._app.settings).of(asked, by, now=now),
            self._app.calls.chart(ChartAsk(filter=asked, measures=("cost",), split=by, points=_POINTS)),
            self._app.keys.list(project, revoked=True),
            self._app.calls.tag_names(visit.project_id),
        )
        names = {key.id: key.name for key in keys}
        data = {"range": span.name, "filter": given(params, _FIELDS), **told.shown()}
        groups = data["groups"]
        data["groups"] = [{**group, "label": label_of(by, group["name"], names)} for group in groups[:_SHOWN]]
        data["not_shown"] = max(len(groups) - _SHOWN, 0)
        chosen = given(params, _FIELDS)
        drawn = panel(0, f"cost@{by}", (chart, None), chosen, measure="cost", split=by, names=names)
        return View(
            data=data,
            drawn={
                "panel": drawn,
                "ranges": RANGES,
                "dimensions": _BY,
                "tags": tags,
                "chosen": chosen,
                "keys": names,
                "address": _address(by, span, chosen),
                "zoom": "?" + urlencode({"show": f"cost@{by}", **chosen}, doseq=True),
                "calls": [_calls(by, group["name"], chosen, whole) for group in data["groups"]],
                "dearest": max((_dollars(group) for group in data["groups"]), default=0.0),
                "shares": [_dollars(group) for group in data["groups"]],
            },
        )


def _address(by: str, span: Span, chosen: Mapping[str, Asked]) -> dict[str, Any]:
    """What a link of the page carries on."""
    ends = {"since": formats.iso(span.since), "until": formats.iso(span.until)} if span.name is None else {}
    return {"by": by, "range": span.name, **ends, **chosen}


def _calls(by: str, name: str | int | None, chosen: Mapping[str, Asked], span: Span) -> str | None:
    """The query of the list of calls of a group; None where none selects them."""
    where = where_of(by, name)
    if where is None or span.since is None or span.until is None:
        return None
    return calls_of(chosen, where) + "&" + urlencode({"since": moment(span.since), "until": moment(span.until)})


def _dollars(group: Mapping[str, Any]) -> float:
    return float(group["cost_usd"] or 0)
