"""Dashboards: measures of calls over time, zoomed, split, compared; each point opens its calls. Kept by name."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from loopwright.app import App
from loopwright.calls.charted import back_of, shown
from loopwright.calls.charts import Chart, ChartAsk
from loopwright.calls.dashboards import (
    DEFAULT,
    FIELDS,
    MOST_PANELS,
    RANGES,
    TERMS,
    Definition,
    Panel,
    checked,
    panel_of,
)
from loopwright.calls.measures import MEASURES
from loopwright.calls.query import CallFilter
from loopwright.calls.reading import DIMENSIONS, checked_split
from loopwright.console.asking import RANGES as SPANS
from loopwright.console.asking import Span, filter_of, given, span_of
from loopwright.console.panels import TERMS as LATENCY
from loopwright.console.panels import PanelDrawn, panel, terms
from loopwright.console.score_panel import PREFIX, Opens, score_chart, score_charts, score_measure
from loopwright.console.shell import Shell, View, Visit, project_asked
from loopwright.core.errors import BadRequest
from loopwright.monitoring.scores import Scores

_POINTS: Final = 60
_AT_ONCE: Final = 4
"""Charts that are asked for together: each takes a connection."""
_LEAST: Final = dt.timedelta(seconds=10)
_LONGEST: Final = dt.timedelta(days=366)
_BACKS: Final = {"previous": "the time before", "24h": "a day ago", "7d": "a week ago", "4w": "four weeks ago"}
_WORDS: Final = {"error_code": "error code", "prompt_version": "prompt version"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an address asks for."""

    panels: tuple[str, ...]
    span: Span
    split: str | None
    compare: str | None
    filter: Mapping[str, str | list[str]]
    """Parameters of the list of calls, as they were given."""
    named: str | None
    """Of which kept dashboard the address is."""
    project: str | None = None
    """Whose calls, where an administrator asks for those of one."""

    def query(self, **changes: Any) -> str:
        """The address of this dashboard with some of it changed."""
        told: dict[str, Any] = {
            "range": self.span.name,
            "since": None if self.span.name else _iso(self.span.since),
            "until": None if self.span.name else _iso(self.span.until),
            "split": self.split,
            "compare": self.compare,
            "project": self.project,
            **self.filter,
            "show": None if self.panels == DEFAULT.panels else list(self.panels),
            "named": self.named,
        }
        return "?" + _encoded((told | changes).items())

    @property
    def linked(self) -> dict[str, str | list[str]]:
        """The parameters of the list of these calls, but for their times."""
        return {**({} if self.project is None else {"project": self.project}), **self.filter}

    def cleared(self) -> str:
        """The address with every call."""
        return self.query(**dict.fromkeys(self.filter))

    def less(self, place: int) -> str:
        """The address without one of its charts."""
        return self.query(show=[text for at, text in enumerate(self.panels) if at != place])

    def carried(self, changed: Sequence[str]) -> list[tuple[str, str]]:
        """Hidden fields of a form that changes only some of it."""
        pairs = parse_qsl(self.query().lstrip("?"), keep_blank_values=True)
        return [(name, value) for name, value in pairs if name not in changed]

    def definition(self) -> dict[str, Any]:
        """As it is kept."""
        return {
            "panels": list(self.panels),
            "range": self.span.name,
            "split": self.split,
            "compare": self.compare,
            "filter": dict(self.filter),
        }


class DashboardPages:
    """Everybody sees the calls of their project; administrators those of all, or of one."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._app: App = shell.app

    def routes(self) -> list[Route]:
        """The page, and keeping and forgetting one."""
        return [
            *self._shell.page("/dashboards", "dashboards.html", self._view),
            self._shell.action("/dashboards", self._keep),
            self._shell.action("/dashboards/forget", self._forget),
        ]

    async def _view(self, visit: Visit) -> View:
        now = dt.datetime.now(dt.UTC)
        asked = asked_of(visit, now)
        project_id = await project_asked(self._app, visit)
        since, until = asked.span.since, asked.span.until or now
        assert since is not None
        which = filter_of(
            visit.request.query_params, Span(name=asked.span.name, since=since, until=until), project_id=project_id
        )
        keys = {
            key.id: key.name
            for key in await self._app.keys.list(None if visit.who.admin else visit.who.project, revoked=True)
        }
        drawn, told = await self._panels(asked, which, keys)
        kept = await self._app.calls.dashboards.list(project_id)
        data: dict[str, Any] = {
            **asked.definition(),
            "since": since,
            "until": until,
            "named": asked.named,
            "project": asked.project,
            "panels": told,
            "kept": [
                {"name": each.name, "address": address_of(each.definition, each.name, asked.project)} for each in kept
            ],
        }
        length = until - since
        return View(
            data=data,
            drawn={
                "asked": asked,
                "drawn": drawn,
                "empty": not any(each["requests"] for each in told),
                "ranges": RANGES,
                "dimensions": [(name, _WORDS.get(name, name)) for name in DIMENSIONS],
                "tags": await self._app.calls.tag_names(project_id),
                "measures": {
                    TERMS: "Latency and its terms",
                    **{name: each.title for name, each in MEASURES.items()},
                    **{PREFIX + name: f"Score {name}" for name in await Scores(self._app.db).names(project_id)},
                },
                "backs": _BACKS,
                "keys": keys,
                "projects": [each.name for each in await self._app.projects.list()] if visit.who.admin else [],
                "fields": [name for name in FIELDS if name not in ("min_cost_usd", "min_latency_ms")],
                "words": _WORDS,
                "earlier": asked.query(range=None, since=_iso(since - length / 2), until=_iso(until - length / 2)),
                "later": asked.query(range=None, since=_iso(since + length / 2), until=_iso(until + length / 2))
                if until + length / 2 <= now + length / 4
                else None,
                "wider": asked.query(
                    range=None, since=_iso(since - length / 2), until=_iso(min(until + length / 2, max(now, until)))
                )
                if length * 2 <= _LONGEST
                else None,
                "zoom": asked.query(range=None, since=None, until=None),
                "most": MOST_PANELS,
            },
        )

    async def _panels(
        self, asked: Asked, which: CallFilter, keys: Mapping[int, str]
    ) -> tuple[list[PanelDrawn], list[dict[str, Any]]]:
        gate = asyncio.Semaphore(_AT_ONCE)
        back = None if asked.compare is None else back_of(asked.compare)

        async def charts(each: Panel) -> tuple[Chart, Chart | None, Opens | None]:
            async with gate:
                calls, split = self._app.calls, each.split or asked.split
                if each.measure == TERMS:
                    return await calls.chart(ChartAsk(filter=which, measures=LATENCY, points=_POINTS)), None, None
                if each.measure.startswith(PREFIX):
                    if asked.compare is not None:
                        return await score_charts(self._app.db, which, each.measure, split, _POINTS, back=back)
                    chart, opens = await score_chart(self._app.db, which, each.measure, split, _POINTS)
                    return chart, None, opens
                ask = ChartAsk(filter=which, measures=(each.measure,), split=split, points=_POINTS)
                if asked.compare is None:
                    return await calls.chart(ask), None, None
                return *await calls.compared(ask, back), None

        panels = [panel_of(text) for text in asked.panels]
        found = await asyncio.gather(*(charts(each) for each in panels))
        drawn, told = [], []
        for number, (text, each, (now, before, opens)) in enumerate(zip(asked.panels, panels, found, strict=True)):
            split = None if each.measure == TERMS else each.split or asked.split
            if each.measure == TERMS:
                drawn.append(terms(number, text, now, asked.linked))
            else:
                scored = score_measure(each.measure) if each.measure.startswith(PREFIX) else None
                drawn.append(
                    panel(
                        number, text, (now, before), asked.linked, measure=each.measure, split=split, names=keys, found=scored,
                        opens=opens,
                    )
                )  # fmt: skip
            told.append(
                {
                    "panel": text,
                    "requests": now.total.requests,
                    **shown(now, split, keys),
                    "before": None if before is None else shown(before, split, keys),
                }
            )
        return drawn, told

    async def _keep(self, visit: Visit, form: dict[str, str]) -> Response:
        asked = asked_of(visit, dt.datetime.now(dt.UTC), form.get("query", ""))
        project_id = await project_asked(self._app, visit, asked.project) or visit.who.project_id
        kept = await self._app.calls.dashboards.put(
            project_id, form.get("name", ""), checked(asked.definition()), by=visit.who.key_name
        )
        return RedirectResponse(address_of(kept.definition, kept.name, asked.project), 303)

    async def _forget(self, visit: Visit, form: dict[str, str]) -> Response:
        project_id = await project_asked(self._app, visit, form.get("project")) or visit.who.project_id
        await self._app.calls.dashboards.delete(project_id, form.get("name", ""))
        return RedirectResponse("/dashboards", 303)


def asked_of(visit: Visit, now: dt.datetime, query: str | None = None) -> Asked:
    """What the query asks for.

    Raises:
        BadRequest: something that cannot be shown.
    """
    params = visit.request.query_params if query is None else type(visit.request.query_params)(query.lstrip("?"))
    span = span_of(params, default="24h", now=now)
    if span.name is None:
        until = min(span.until or now, now + dt.timedelta(days=1))
        since = span.since or until - SPANS["24h"]
        if until - since > _LONGEST:
            raise BadRequest("a dashboard shows at most a year", param="since")
        # Zoomed in too far there is nothing between two points.
        span = Span(name=None, since=since, until=max(until, since + _LEAST))
    panels = tuple(text for text in params.getlist("show") if text)
    compare = params.get("compare", "").strip() or None
    if compare is not None:
        back_of(compare)
    asked = Asked(
        panels=panels or DEFAULT.panels,
        span=span,
        split=checked_split(params.get("split", "").strip() or None),
        compare=compare,
        filter=given(params, FIELDS),
        named=params.get("named", "").strip()[:100] or None,
        project=params.get("project", "").strip() or None,
    )
    checked(asked.definition())
    return asked


def address_of(definition: Definition, name: str, project: str | None = None) -> str:
    """Where a kept dashboard is shown."""
    told: dict[str, Any] = {
        "named": name,
        "range": definition.range,
        "split": definition.split,
        "compare": definition.compare,
        "project": project,
        **definition.filter,
        "show": list(definition.panels),
    }
    return "/dashboards?" + _encoded(told.items())


def _encoded(pairs: Iterable[tuple[str, Any]]) -> str:
    return urlencode({name: value for name, value in pairs if value not in (None, "", [])}, doseq=True)


def _iso(moment: dt.datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")
