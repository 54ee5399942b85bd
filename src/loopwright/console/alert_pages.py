"""The pages of alerts: what is wrong, one alert with what explains it, silences, channels."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from loopwright.app import App
from loopwright.calls.query import CallFilter, Point
from loopwright.console import formats
from loopwright.console.charts import Drawn, Line, draw
from loopwright.console.key_ring import by
from loopwright.console.shell import Shell, View, Visit
from loopwright.core.errors import BadRequest
from loopwright.monitoring.alerts import Alert, Alerts
from loopwright.monitoring.alerts_delivery import deliveries, standing, try_channel
from loopwright.monitoring.alerts_shown import alert_shown, channel_shown, explanation_shown, silence_shown
from loopwright.monitoring.alerts_silences import Silences
from loopwright.monitoring.causes import explain, filter_args, moment

_PAGE: Final = 50
_STATES: Final = ("firing", "resolved", "all")
_SECONDS: Final = {"1h": 3_600, "4h": 14_400, "1d": 86_400, "7d": 604_800, "30d": 2_592_000}
_POINTS: Final = 48
_AROUND: Final = dt.timedelta(hours=3)
_LONGEST: Final = dt.timedelta(days=13)
_NAMES: Final = ("source", "rule", "kind")
"""What of an alert a silence is offered for, beside its labels."""


class AlertPages:
    """Everybody sees, acknowledges and silences the alerts of their project; administrators see channels."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._app: App = shell.app
        self._alerts = Alerts(shell.app.db)

    def routes(self) -> list[Route]:
        """The pages, and what people do."""
        return [
            *self._shell.page("/alerts", "alerts.html", self._list),
            self._shell.action("/alerts/silences", self._silence),
            self._shell.action("/alerts/silences/{silence_id:int}/end", self._end),
            self._shell.action("/alerts/channels/{name}/test", self._test, admin=True),
            self._shell.action("/alerts/{alert_id:int}/acknowledge", self._acknowledge),
            self._shell.action("/alerts/{alert_id:int}/resolve", self._resolve),
            *self._shell.page("/alerts/{alert_id:int}", "alert.html", self._one),
        ]

    async def _list(self, visit: Visit) -> View:
        state = visit.asked("state")
        shown = state if state in _STATES else "firing"
        page = await self._alerts.page(
            project_id=visit.project_id,
            state=shown,  # type: ignore[arg-type]
            before=_number(visit.asked("before")),
            limit=_PAGE,
        )
        names = await self._projects()
        silences = await Silences(self._app.db).list(project_id=visit.project_id)
        channels = self._app.settings.monitoring.alerts.channels
        told = await standing(self._app.db, channels) if visit.who.admin else {}
        data = {
            "state": shown,
            "firing": await self._alerts.counts(project_id=visit.project_id),
            "alerts": [alert_shown(each, names) for each in page.alerts],
            "next": page.next,
            "silences": [silence_shown(each, names) for each in silences],
            "channels": [channel_shown(name, each, told[name]) for name, each in channels.items() if name in told],
            "looking": self._app.settings.monitoring.alerts.enabled,
        }
        return View(data=data, drawn={"states": _STATES, "lengths": _SECONDS, "typed": {}, "problem": None})

    async def _one(self, visit: Visit) -> View:
        alert = await self._alerts.get(visit.request.path_params["alert_id"], project_id=visit.project_id)
        found = await explain(self._app.db, alert)
        data = {
            "alert": alert_shown(alert, await self._projects()),
            "explanation": None if found is None else explanation_shown(found),
            "notices": await deliveries(self._app.db, alert_id=alert.id, limit=20),
        }
        offered = {name: getattr(alert, name) for name in _NAMES} | dict(alert.labels)
        chart = await self._chart(alert) if found is not None else None
        return View(data=data, drawn={"chart": chart, "offered": offered, "lengths": _SECONDS})

    async def _chart(self, alert: Alert) -> Drawn | None:
        """What happened around it: from three hours before, of the calls that it speaks of."""
        end = alert.resolved_at or dt.datetime.now(dt.UTC)
        begun = moment(alert.calls.get("since")) or alert.since
        since = max(begun - _AROUND, end - _LONGEST)
        args = filter_args(alert.calls)
        for name in ("outcome", "min_latency_ms", "error_code", "session"):
            args.pop(name, None)
        asked = CallFilter(**{**args, "project_id": alert.project_id, "since": since, "until": end})  # type: ignore[arg-type]
        points = (await self._app.calls.series(asked, points=_POINTS)).points
        return chart_of(alert.kind, points)

    async def _acknowledge(self, visit: Visit, _form: dict[str, str]) -> Response:
        alert_id = visit.request.path_params["alert_id"]
        alert = await self._alerts.acknowledge(alert_id, project_id=visit.project_id, by=visit.who.key_name)
        await self._app.audit.note(by(visit), "alert.acknowledge", f"alert {alert.id}", {}, project_id=alert.project_id)
        return RedirectResponse(f"/alerts/{alert.id}", 303)

    async def _resolve(self, visit: Visit, _form: dict[str, str]) -> Response:
        alert_id = visit.request.path_params["alert_id"]
        alert = await self._alerts.resolve(alert_id, project_id=visit.project_id, by=visit.who.key_name)
        await self._app.audit.note(by(visit), "alert.resolve", f"alert {alert.id}", {}, project_id=alert.project_id)
        return RedirectResponse(f"/alerts/{alert.id}", 303)

    async def _silence(self, visit: Visit, form: dict[str, str]) -> Response:
        try:
            matchers = matchers_of(form)
            whose = None if visit.who.admin and form.get("every") else visit.who.project_id
            made = await Silences(self._app.db).add(
                whose,
                matchers,
                seconds=_SECONDS.get(form.get("length", ""), 3_600),
                reason=form.get("reason", "").strip(),
                by=visit.who.key_name,
            )
        except BadRequest as error:
            view = await self._list(visit)
            drawn = {**view.drawn, "typed": form, "problem": error}
            return self._shell.html(visit, "alerts.html", View(data=view.data, drawn=drawn, status=error.status))
        told = {"matchers": dict(made.matchers), "until": made.ends_at.isoformat()}
        await self._app.audit.note(by(visit), "silence.create", f"silence {made.id}", told, project_id=whose)
        return RedirectResponse("/alerts#silences", 303)

    async def _end(self, visit: Visit, _form: dict[str, str]) -> Response:
        ended = await Silences(self._app.db).end(visit.request.path_params["silence_id"], project_id=visit.project_id)
        await self._app.audit.note(by(visit), "silence.end", f"silence {ended.id}", {}, project_id=ended.project_id)
        return RedirectResponse("/alerts#silences", 303)

    async def _test(self, visit: Visit, _form: dict[str, str]) -> Response:
        name = visit.request.path_params["name"]
        await try_channel(self._app.db, self._app.settings.monitoring.alerts.channels, name)
        await self._app.audit.note(by(visit), "channel.test", f"channel {name}", {})
        return RedirectResponse("/alerts#channels", 303)

    async def _projects(self) -> dict[int, str]:
        return {project.id: project.name for project in await self._app.projects.list()}


def chart_of(kind: str, points: Sequence[Point]) -> Drawn:
    """What an alert of this kind is about, over time."""
    times = [each.at for each in points]
    if kind in ("spend", "usd", "budget", "cost", "usd_per_request"):
        spent = [each.counts.cost_nano / 1e9 for each in points]
        return draw(
            "cost", "Cost", times, [Line(name="cost", look="main", values=spent)], kind="bars", show=formats.dollars
        )
    if kind in ("tokens", "input_tokens", "output_tokens"):
        lines = [
            Line(name="input", look="quiet", values=[float(each.counts.input_tokens) for each in points]),
            Line(name="output", look="main", values=[float(each.counts.output_tokens) for each in points]),
        ]
        return draw("tokens", "Tokens", times, lines, kind="bars", show=formats.count)
    measure = kind.partition("_p")[0]
    if measure in ("latency", "ttft", "tpot"):
        lines = [
            Line(name=name, look=look, values=[getattr(getattr(each, measure), name) for each in points])
            for name, look in (("p50", "p50"), ("p95", "p95"))
        ]
        return draw(
            "latency",
            measure.upper() if len(measure) == 4 else "Latency",
            times,
            lines,
            kind="lines",
            show=formats.millis,
        )
    failed = [float(each.counts.errors + each.counts.interrupted) for each in points]
    others = [float(each.counts.requests) - bad for each, bad in zip(points, failed, strict=True)]
    lines = [Line(name="failed", look="bad", values=failed), Line(name="others", look="main", values=others)]
    return draw("calls", "Calls", times, lines, kind="bars", show=formats.count)


def matchers_of(form: dict[str, str]) -> dict[str, str]:
    """Labels to patterns, from a text of `label=pattern` parts, or from boxes that name what they hold.

    Raises:
        BadRequest: a part is none.
    """
    found = {name.removeprefix("match:"): value for name, value in form.items() if name.startswith("match:")}
    for part in form.get("matchers", "").replace(",", "\n").splitlines():
        if part.strip():
            name, equals, pattern = (each.strip() for each in part.partition("="))
            if not equals or not name or not pattern:
                raise BadRequest(f"{part.strip()[:80]!r} is no matcher: write label=pattern, as in model=gpt-*")
            found[name] = pattern
    return found


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise BadRequest("before: not the number of an alert", param="before")
    return int(text)
