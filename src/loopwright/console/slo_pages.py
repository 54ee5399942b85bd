"""The page of objectives: how each stands, what is left of its budget, how fast that is used up."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final
from urllib.parse import urlencode

from starlette.routing import Route

from loopwright.app import App
from loopwright.console import formats
from loopwright.console.shell import Shell, View, Visit
from loopwright.console.sparks import Spark, bars
from loopwright.core.errors import NotFound
from loopwright.monitoring.alerts_round import objectives_of
from loopwright.monitoring.objectives_standing import Standing, objective_shown, standing_shown, standings

_DAY: Final = dt.timedelta(days=1)


class SloPages:
    """Everybody sees how the objectives of their project stand."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._app: App = shell.app

    def routes(self) -> list[Route]:
        """The page."""
        return self._shell.page("/slos", "slos.html", self._list)

    async def _list(self, visit: Visit) -> View:
        objectives = dict(objectives_of(self._app.settings))
        chosen = visit.asked("objective")
        if chosen is not None:
            if chosen not in objectives:
                raise NotFound(f"there is no objective {chosen[:80]!r}", param="objective")
            objectives = {chosen: objectives[chosen]}
        now = dt.datetime.now(dt.UTC)
        names = {project.id: project.name for project in await self._app.projects.list()}
        found = await standings(self._app.db, objectives, project_id=visit.project_id, now=now)
        rows = [standing_shown(each, objectives[each.objective], names.get(each.project_id), now) for each in found]
        data = {
            "objective": chosen,
            "objectives": [objective_shown(name, each) for name, each in objectives.items()],
            "standings": rows,
            "configured": bool(self._app.settings.monitoring.objectives),
        }
        drawn: dict[str, Any] = {
            "sparks": [spark_of(each, objectives[each.objective].days, now) for each in found],
            "queries": [urlencode(row["bad_calls"]) for row in rows],
        }
        return View(data=data, drawn=drawn)


def spark_of(standing: Standing, days: int, now: dt.datetime) -> Spark:
    """The share of bad calls of each day of the period."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    known = {at: tally.share if tally.total else None for at, tally in standing.days}
    values = [known.get(today - _DAY * back) for back in range(days - 1, -1, -1)]
    return bars("Share of bad calls by day", [("bad", "bad", values)], formats.percent)
