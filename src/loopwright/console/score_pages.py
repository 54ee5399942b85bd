"""The pages of scores: how good answers are by task, how scoring stands, one score over time and the calls behind it."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast, get_args
from urllib.parse import quote, urlencode

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from loopwright.app import App
from loopwright.console import formats
from loopwright.console.asking import RANGES, float_of, given, span_of, tags_of, whole_of
from loopwright.console.charts import Drawn, Line, draw
from loopwright.console.key_ring import by
from loopwright.console.listing import row_of
from loopwright.console.scored import spark_of
from loopwright.console.shell import Shell, View, Visit, project_asked
from loopwright.core.errors import BadRequest, NotFound
from loopwright.feedback.given import Source
from loopwright.laboratory.handing_on import MOST, Handing
from loopwright.laboratory.quality import quality
from loopwright.monitoring.score_question import Dimension, ScoreFilter, ScoreGroup, ScoreSeries
from loopwright.monitoring.scores import Scores
from loopwright.tasks.task import PREFIX

_POINTS: Final = 48
_CALLS: Final = 40
_SPLITS: Final[tuple[Dimension, ...]] = ("variant", "model", "prompt_version", "target")
_NARROW: Final = (
    "project", "variant", "model", "target", "provider", "operation", "prompt_version", "key", "session", "tag",
)  # fmt: skip
"""Filters beside name, task and source."""
_LOOKS: Final = ("main", "p95", "quiet", "p99", "bad")


class ScorePages:
    """Everybody sees the scores of their project; administrators those of all."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._app: App = shell.app
        self._scores = Scores(shell.app.db)

    def routes(self) -> list[Route]:
        """All scores, one score, and handing its calls on."""
        return [
            *self._shell.page("/scores", "scores.html", self._list),
            *self._shell.page("/scores/one", "score.html", self._one),
            self._shell.action("/scores/calls", self._hand_on),
        ]

    async def _list(self, visit: Visit) -> View:
        asked, span = self._asked(visit, await project_asked(self._app, visit))
        groups, series = await asyncio.gather(
            self._scores.by("task", asked), self._scores.series(asked, points=24, by="task")
        )
        lines = {(each.name, each.source, each.value): each for each in series}
        rows = sorted(groups, key=lambda each: (each.value is None, str(each.value), each.name, each.source))
        standing = [
            await quality(self._app, task, visit.project_id)
            for task in self._app.workshop.held_tasks.listed(visit.project_id)
            if task.monitor is not None and visit.who.may_do(PREFIX + task.name) and asked.task in (None, task.name)
        ]
        trusted = _trusted(standing)
        data: dict[str, Any] = {
            "range": span.name,
            "since": asked.since,
            "until": asked.until,
            "task": asked.task,
            "scores": [
                {"task": each.value, "name": each.name, "source": each.source, **each.figure.shown()}
                | {"trust": trusted.get((each.value, each.name))}
                for each in rows
            ],
            "standing": standing,
        }
        drawn = {
            "ranges": RANGES,
            "sparks": [spark_of(lines.get((each.name, each.source, each.value)), each) for each in rows],
        }
        return View(data=data, drawn=drawn)

    async def _one(self, visit: Visit) -> View:
        asked, span = self._asked(visit, await project_asked(self._app, visit))
        if asked.name is None:
            raise BadRequest("name: say which score", param="name")
        below, label = float_of(visit.request.query_params, "below"), visit.asked("label")
        passed = {"no": False, "yes": True}.get(visit.asked("passed") or "")
        summary, series, found = await asyncio.gather(
            self._scores.summary(asked),
            self._scores.series(asked, points=_POINTS),
            self._scores.calls(asked, below=below, label=label, passed=passed, limit=_CALLS),
        )
        splits = await asyncio.gather(*(self._scores.by(each, asked) for each in _SPLITS))
        calls = await self._app.calls.many([each.call_id for each in found])
        keys = await self._app.keys.list(None if visit.who.admin else visit.who.project, revoked=True)
        names = {key.id: key.name for key in keys}
        data: dict[str, Any] = {
            "range": span.name,
            "since": asked.since,
            "until": asked.until,
            "name": asked.name,
            "task": asked.task,
            "source": asked.source,
            "narrow": given(visit.request.query_params, _NARROW),
            "filter": {"below": below, "label": label, "passed": visit.asked("passed")},
            "scores": [{"source": each.source, **each.figure.shown()} for each in summary],
            "splits": {name: [_shown(each) for each in part] for name, part in zip(_SPLITS, splits, strict=True)},
            "calls": [
                {"value": each.value, "label": each.label, "passed": each.passed, "source": each.source}
                | {"call": row_of(calls[each.call_id].call, names)}
                for each in found
                if each.call_id in calls
            ],
        }
        drawn = {"ranges": RANGES, "charts": _charts(asked.name, series), "problem": None, "most": MOST}
        return View(data=data, drawn=drawn)

    async def _hand_on(self, visit: Visit, form: dict[str, str]) -> Response:
        to, name = form.get("to", ""), form.get("name", "").strip()
        ids = [each for each in form.get("calls", "").split(",") if each][:MOST]
        if not ids or not name:
            raise BadRequest("choose a name, and calls that are shown", param="name")
        # Whose they are, the calls say; an administrator's own project need not be it.
        found = await self._app.calls.many(ids)
        projects = {each.call.project_id for each in found.values()}
        allowed = {each for each in projects if visit.who.admin or each == visit.who.project_id}
        if len(allowed) != 1:
            raise NotFound("these calls are not of one project that this key may see", param="calls")
        [project_id] = allowed
        handing = Handing(self._app, project_id, ids)
        if to == "review":
            review = await handing.to_review(visit.who, name, source={"scores": len(ids)})
            told = {"name": review.name, "items": len(ids)}
            await self._app.audit.note(by(visit), "review.create", review.id, told, project_id=project_id)
            return RedirectResponse(f"/reviews/{review.id}", 303)
        if to != "dataset":
            raise BadRequest(f"to: {to[:40]!r} is neither review nor dataset", param="to")
        version = await handing.to_dataset(visit.who, name)
        noted = {"sha": version.sha, "examples": str(version.count)}
        await self._app.audit.note(by(visit), "dataset.version", version.ref, noted, project_id=project_id)
        whose = {} if project_id == visit.who.project_id else {"project": str(project_id)}
        return RedirectResponse(f"/datasets/{quote(name, safe='')}" + (f"?{urlencode(whose)}" if whose else ""), 303)

    def _asked(self, visit: Visit, project_id: int | None) -> tuple[ScoreFilter, Any]:
        now = dt.datetime.now(dt.UTC)
        span = span_of(visit.request.query_params, default="24h", now=now)
        source = visit.asked("source")
        if source is not None and source not in get_args(Source):
            raise BadRequest(f"source: {source[:40]!r} is none of code, judge, person", param="source")
        asked = ScoreFilter(
            project_id=project_id,
            name=visit.asked("name"),
            source=cast("Source | None", source),
            task=visit.asked("task"),
            variant=visit.asked("variant"),
            model=visit.asked("model"),
            target=visit.asked("target"),
            provider=visit.asked("provider"),
            operation=visit.asked("operation"),
            prompt_version=visit.asked("prompt_version"),
            key_id=whole_of(visit.request.query_params, "key"),
            session=visit.asked("session"),
            tags=tags_of(visit.request.query_params.getlist("tag")),
            since=span.since,
            until=span.until or now,
        )
        return asked, span


def _trusted(standing: Sequence[Mapping[str, Any]]) -> dict[tuple[Any, str], Mapping[str, Any]]:
    return {
        (told["task"], each["name"]): each["trust"]
        for told in standing
        for each in told["evaluators"]
        if each["trust"] is not None
    }


def _shown(group: ScoreGroup) -> dict[str, Any]:
    return {"value": group.value, "source": group.source, **group.figure.shown()}


def _charts(name: str, series: Sequence[ScoreSeries]) -> list[Drawn]:
    """Of one score by whoever gave it: the share that passed, the mean where it is never negative, words, how many."""
    if not series:
        return []
    times = [point.at for point in series[0].points]
    made = []
    judged = [each for each in series if any(point.figure.passed is not None for point in each.points)]
    if judged:
        lines = [_line(each, at, [point.figure.passed for point in each.points]) for at, each in enumerate(judged)]
        made.append(draw("passed", f"{name}: passed", times, lines, kind="lines", show=formats.percent))
    valued = [each for each in series if any(point.figure.mean is not None for point in each.points)]
    if valued and all((point.figure.mean or 0.0) >= 0 for each in valued for point in each.points):
        lines = [_line(each, at, [point.figure.mean for point in each.points]) for at, each in enumerate(valued)]
        made.append(draw("mean", f"{name}: mean", times, lines, kind="lines", show=_plain))
    words = _words(series)
    if words:
        lines = [
            Line(
                name=word,
                look=_LOOKS[at % len(_LOOKS)],
                values=[
                    sum(
                        each.points[step].figure.labels.get(word, 0.0) * each.points[step].figure.calls
                        for each in series
                    )
                    for step in range(len(times))
                ],
            )
            for at, word in enumerate(words)
        ]
        made.append(draw("words", f"{name}: what it says, in calls", times, lines, kind="bars", show=_whole))
    lines = [_line(each, at, [float(point.figure.scores) for point in each.points]) for at, each in enumerate(series)]
    made.append(draw("scores", "Scores", times, lines, kind="bars", show=_whole))
    return made


def _words(series: Sequence[ScoreSeries]) -> list[str]:
    """The most frequent five."""
    weights: dict[str, float] = {}
    for each in series:
        for point in each.points:
            for word, share in point.figure.labels.items():
                weights[word] = weights.get(word, 0.0) + share * point.figure.calls
    return sorted(weights, key=lambda word: (-weights[word], word))[: len(_LOOKS)]


def _line(series: ScoreSeries, at: int, values: Sequence[float | None]) -> Line:
    return Line(name=f"by {series.source}", look=_LOOKS[at % len(_LOOKS)], values=values)


def _plain(value: float | None) -> str:
    return formats.NOTHING if value is None else f"{value:.3g}"


def _whole(value: float | None) -> str:
    return formats.NOTHING if value is None else f"{value:,.0f}"
