"""The pages of sessions: the list, and one read as a conversation. What is said in it was written by others."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from starlette.routing import Route

from loopwright.app import App
from loopwright.console.asking import RANGES, span_of
from loopwright.console.prompt_pages import project_of
from loopwright.console.shell import Shell, View, Visit
from loopwright.console.trace_pages import traces_of
from loopwright.telemetry.sessions import SessionRow, Sessions, Turn

_PAGE: Final = 50
_TURNS: Final = 20


class SessionPages:
    """Everybody sees the sessions of their project; administrators see all."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._app: App = shell.app

    def routes(self) -> list[Route]:
        """The list and one session, whose name may be anything."""
        return [
            *self._shell.page("/sessions", "sessions.html", self._list),
            *self._shell.page("/sessions/{session:path}", "session.html", self._one),
        ]

    async def _list(self, visit: Visit) -> View:
        span = span_of(visit.request.query_params, default=None, now=dt.datetime.now(dt.UTC))
        rows, onward = await sessions_of(self._app).page(
            visit.project_id, since=span.since, before=visit.asked("before"), limit=_PAGE
        )
        data = {
            "filter": {"range": visit.asked("range"), "before": visit.asked("before")},
            "sessions": [row.shown() for row in rows],
            "next": onward,
        }
        longest = max((row.busy_us for row in rows), default=1)
        names = {project.id: project.name for project in await self._app.projects.list()} if visit.who.admin else {}
        shown = [{**_row(row), "project": names.get(row.project_id)} for row in rows]
        return View(data=data, drawn={"rows": shown, "ranges": RANGES, "longest": longest or 1})

    async def _one(self, visit: Visit) -> View:
        sessions = sessions_of(self._app)
        named = visit.asked("project") is not None
        project_id = (await project_of(self._app, visit)).id if named else visit.project_id
        row = await sessions.get(project_id, visit.request.path_params["session"])
        turns, earlier = await sessions.turns(row, before=visit.asked("before"), limit=_TURNS)
        data = {"session": row.shown(), "turns": [turn.shown() for turn in turns], "earlier": earlier}
        longest = max((turn.latency_us for turn in turns), default=1)
        return View(
            data=data,
            drawn={
                "row": _row(row),
                "project": visit.asked("project"),
                "drawn": [_turn(turn, longest or 1) for turn in turns],
                "dearest": max((turn.cost_nano or 0 for turn in turns), default=0),
            },
        )


def sessions_of(app: App) -> Sessions:
    """The sessions of the house."""
    return Sessions(app.db, traces_of(app))


def _row(row: SessionRow) -> dict[str, Any]:
    return {**row.shown(), "started_at": row.started_at, "last_at": row.last_at, "ms": row.busy_us / 1000}


def _turn(turn: Turn, longest: int) -> dict[str, Any]:
    used = [{**each.shown(), "ms": None if each.duration_us is None else each.duration_us / 1000} for each in turn.used]
    return {
        **turn.shown(),
        "started_at": turn.started_at,
        "ms": turn.latency_us / 1000,
        "share": turn.latency_us / longest,
        "used": used,
        "address": f"/{'calls' if turn.kind == 'call' else 'traces'}/{turn.id}",
    }
