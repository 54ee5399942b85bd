"""The overview: how much, how fast, how dear, how often wrong; by time and by model."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

from loopwright.app import App
from loopwright.calls.query import CallFilter
from loopwright.console.asking import RANGES, span_of
from loopwright.console.figures import charts, totals
from loopwright.console.scored import figures_of
from loopwright.console.shell import View, Visit
from loopwright.console.snippets import first_call
from loopwright.monitoring.score_question import ScoreFilter
from loopwright.tasks.task import PREFIX

_POINTS = 60


class Overview:
    """Everything here comes from roll-ups; no call is read."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, visit: Visit) -> View:
        """Build the page."""
        now = dt.datetime.now(dt.UTC)
        span = span_of(visit.request.query_params, default="24h", now=now)
        asked = CallFilter(
            project_id=visit.project_id, model=visit.asked("model"), since=span.since, until=span.until or now
        )
        which = ScoreFilter(project_id=asked.project_id, model=asked.model, since=asked.since, until=asked.until)
        found, (scores, sparks) = await asyncio.gather(
            self._app.calls.overview(asked, points=_POINTS), figures_of(self._app, which)
        )
        summary = totals(found.summary)
        points = [{"at": point.at, **totals(point)} for point in found.series.points]
        models = [{"name": group.name, **totals(group)} for group in found.groups]
        data: dict[str, Any] = {
            "range": span.name,
            "since": span.since,
            "until": span.until,
            "model": asked.model,
            "summary": summary,
            "series": points,
            "models": models,
            "scores": scores,
        }
        return View(
            data=data,
            drawn={
                "charts": charts(points),
                "sparks": sparks,
                "busiest": max((model["requests"] for model in models), default=1) or 1,
                "ranges": RANGES,
                "curl": first_call(api_base(visit), first_model(self._app, visit)) if not summary["requests"] else "",
            },
        )


def api_base(visit: Visit) -> str:
    """Where the OpenAI dialect answers, as this browser reaches it."""
    return f"{visit.request.url.scheme}://{visit.request.url.netloc}/v1"


def first_model(app: App, visit: Visit) -> str:
    """A model to show in examples: the first that chats and that the key may call."""
    return next((name for name in chat_models(app, visit)), "MODEL")


def chat_models(app: App, visit: Visit) -> list[str]:
    """Models that answer chats and that the key may call."""
    return [card["name"] for card in app.cards() if "chat" in card["operations"] and visit.who.may_call(card["name"])]


def chat_tasks(app: App, visit: Visit) -> list[str]:
    """Tasks that the key may call, as `task/NAME`."""
    found = []
    for task in app.workshop.held_tasks.listed(visit.who.project_id):
        asked = {model for variant in task.variants.values() if variant.weight for model in variant.models}
        if visit.who.may_have_done(task.name, asked):
            found.append(PREFIX + task.name)
    return found
