"""The page of budgets: what is spent against each limit, where that leads, and limits set, changed and lifted."""

from __future__ import annotations

import asyncio
import datetime as dt
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from loopwright.access.limits import CONCURRENT, KINDS, MONEY, Kind, Limit, Standing, nano_of
from loopwright.app import App
from loopwright.calls.query import CallFilter
from loopwright.console import formats
from loopwright.console.asking import tag_of, whole_of
from loopwright.console.charts import Drawn, Line, Rule, draw
from loopwright.console.key_ring import by
from loopwright.console.pace import added_up, onward, projected, runs_out
from loopwright.console.shell import Shell, View, Visit
from loopwright.core.errors import BadRequest, LoopwrightError, NotFound
from loopwright.core.money import NANO, usd

_PLOTTED: Final = 4
"""Budgets of the list that have plots: those nearest to their end."""
_SHOWN: Final = 200
_WORDS: Final = {
    "requests_per_minute": "requests a minute",
    "tokens_per_minute": "tokens a minute",
    "concurrent_requests": "requests at once",
    "usd_per_day": "US$ a day",
    "usd_per_month": "US$ a month",
}


class Budgets:
    """Everybody sees the limits of their project; administrators see all and change them."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._app: App = shell.app

    def routes(self) -> list[Route]:
        """The list, the page of one limit, and the two actions."""
        return [
            *self._shell.page("/budgets", "budgets.html", self._list),
            *self._shell.page("/budgets/{limit_id:int}", "budget.html", self._one),
            self._shell.action("/budgets", self._put, admin=True),
            self._shell.action("/budgets/{limit_id:int}/remove", self._remove, admin=True),
        ]

    async def _list(self, visit: Visit) -> View:
        key_id, project = whole_of(visit.request.query_params, "key"), visit.asked("project")
        now = dt.datetime.now(dt.UTC)
        standings = await self._app.limits.standings(project_id=visit.project_id, key_id=key_id)
        if project is not None:
            standings = tuple(each for each in standings if each.limit.project == project)
        ordered = sorted(standings, key=lambda each: (-_share(each), each.limit.id))
        plotted = [each for each in ordered if each.limit.unit == MONEY][:_PLOTTED]
        plots = await asyncio.gather(*(self._plots(each, now) for each in plotted))
        drawn = [(row_of(each, now), charts) for each, (_, charts) in zip(plotted, plots, strict=True)]
        data = {
            "filter": {"key": key_id, "project": project},
            "limits": [row_of(each, now) for each in ordered[:_SHOWN]],
            "not_shown": max(len(ordered) - _SHOWN, 0),
            "plotted": [{"limit": each.limit.id, **series} for each, (series, _) in zip(plotted, plots, strict=True)],
        }
        return View(data=data, drawn={"charts": drawn, **await self._form(visit)})

    async def _one(self, visit: Visit) -> View:
        now = dt.datetime.now(dt.UTC)
        standing = await self._standing(visit)
        series, charts = await self._plots(standing, now) if standing.limit.unit == MONEY else ({}, [])
        data = {"limit": row_of(standing, now), **series}
        return View(data=data, drawn={"charts": charts, "words": _WORDS, "typed": None, "problem": None})

    async def _standing(self, visit: Visit) -> Standing:
        limit_id = visit.request.path_params["limit_id"]
        found = await self._app.limits.standings(project_id=visit.project_id)
        standing = next((each for each in found if each.limit.id == limit_id), None)
        if standing is None:
            raise NotFound(f"there is no limit {limit_id}: it was lifted, or belongs to another project")
        return standing

    async def _form(self, visit: Visit) -> dict[str, Any]:
        """What the form for a new limit offers."""
        drawn: dict[str, Any] = {"words": _WORDS, "typed": {}, "problem": None, "keys": [], "projects": []}
        if visit.who.admin:
            drawn["keys"] = await self._app.keys.list()
            drawn["projects"] = [project.name for project in await self._app.projects.list()]
        return drawn

    async def _put(self, visit: Visit, form: dict[str, str]) -> Response:
        try:
            kind, amount, alert_at = _said(form)
            whose = form.get("whose", "")
            key_id = whole_of({"key": whose.removeprefix("key:")}, "key") if whose.startswith("key:") else None
            limit = await self._app.limits.put(
                kind,
                amount,
                key_id=key_id,
                project=None if key_id is not None else whose.removeprefix("project:"),
                tag=tag_of(form),
                alert_at=alert_at,
                by=by(visit),
            )
        except (BadRequest, NotFound) as error:
            return await self._again(visit, form, error)
        return RedirectResponse(f"/budgets/{limit.id}", 303)

    async def _again(self, visit: Visit, form: dict[str, str], error: LoopwrightError) -> Response:
        view = await self._list(visit)
        drawn = {**view.drawn, "typed": form, "problem": error}
        return self._shell.html(visit, "budgets.html", View(data=view.data, drawn=drawn, status=error.status))

    async def _remove(self, visit: Visit, _form: dict[str, str]) -> Response:
        limit = await self._app.limits.remove(visit.request.path_params["limit_id"], by=by(visit))
        return RedirectResponse("/budgets?" + urlencode({"project": limit.project}), 303)

    async def _plots(self, standing: Standing, now: dt.datetime) -> tuple[dict[str, Any], list[Drawn]]:
        """What a budget's present window and those before have cost."""
        limit = standing.limit
        daily = limit.kind == "usd_per_day"
        spent, within = await asyncio.gather(
            self._app.limits.spent(limit.id, windows=31 if daily else 12), self._within(standing, now)
        )
        series = {
            "windows": [{"starts": starts, "cost_usd": usd(nano)} for starts, nano in spent],
            "within": [{"at": at, "cost_usd": None if nano is None else usd(nano)} for at, nano in within],
        }
        rules = _rules(limit)
        before = draw(
            f"before-{limit.id}",
            "The last 31 days" if daily else "The last 12 months",
            [starts for starts, _ in spent],
            [Line(name="spent", look="main", values=[nano / NANO for _, nano in spent])],
            kind="bars",
            show=_money,
            rules=rules,
        )
        return series, [*self._now(standing, now, within), before]

    async def _within(self, standing: Standing, now: dt.datetime) -> list[tuple[dt.datetime, int | None]]:
        """What each hour of the day or day of the month cost, None for those to come; nothing for a tag."""
        limit = standing.limit
        if limit.tag is not None or standing.starts is None or standing.ends is None:
            return []
        asked = CallFilter(project_id=limit.project_id, key_id=limit.key_id, since=standing.starts, until=standing.ends)
        found = await self._app.calls.series(asked, points=24 if limit.kind == "usd_per_day" else 31)
        return [(point.at, point.counts.cost_nano if point.at <= now else None) for point in found.points]

    def _now(self, standing: Standing, now: dt.datetime, within: list[tuple[dt.datetime, int | None]]) -> list[Drawn]:
        limit = standing.limit
        if not within or standing.starts is None or standing.ends is None:
            return []
        sums = [None if nano is None else nano / NANO for nano in added_up([nano for _, nano in within])]
        whole = projected(standing.used, standing.starts, standing.ends, now)
        return [
            draw(
                f"now-{limit.id}",
                "Today, added up" if limit.kind == "usd_per_day" else "This month, added up",
                [at for at, _ in within],
                [
                    Line(name="spent", look="main", values=sums),
                    Line(
                        name="at this pace", look="ahead", values=onward(sums, None if whole is None else whole / NANO)
                    ),
                ],
                kind="lines",
                show=_money,
                rules=_rules(limit),
            )
        ]


def row_of(standing: Standing, now: dt.datetime) -> dict[str, Any]:
    """A limit and how it stands, as built-in types; money in dollars, the rest in whole numbers."""
    limit = standing.limit
    used = standing.in_flight if limit.unit == CONCURRENT else standing.used
    row: dict[str, Any] = {
        "id": limit.id,
        "project": limit.project,
        "key_id": limit.key_id,
        "key": limit.key,
        "tag": None if limit.tag is None else ":".join(limit.tag),
        "kind": limit.kind,
        "unit": "usd" if limit.unit == MONEY else "number",
        "amount": _amount(limit, limit.amount),
        "used": _amount(limit, used),
        "held": _amount(limit, standing.held),
        "share": _share(standing),
        "alert_at": limit.alert_at,
        "state": _state(standing),
        "starts": standing.starts,
        "ends": standing.ends,
        "projected_usd": None,
        "runs_out": None,
        "created_at": limit.created_at,
    }
    if limit.unit == MONEY and standing.starts is not None and standing.ends is not None:
        whole = projected(standing.used, standing.starts, standing.ends, now)
        row["projected_usd"] = None if whole is None else usd(whole)
        row["runs_out"] = runs_out(standing.used, limit.amount, standing.starts, now, standing.ends)
    return row


def _share(standing: Standing) -> float:
    """Of the limit, how much is used; a limit of nothing is used up."""
    limit = standing.limit
    used = standing.in_flight if limit.unit == CONCURRENT else standing.used
    return round(used / limit.amount, 4) if limit.amount else 1.0


def _state(standing: Standing) -> str:
    limit, share = standing.limit, _share(standing)
    if share >= 1:
        return "used up"
    return "alert" if limit.alert_at is not None and share * 100 >= limit.alert_at else "ok"


def _amount(limit: Limit, amount: int) -> str:
    return usd(amount) if limit.unit == MONEY else str(amount)


def _rules(limit: Limit) -> list[Rule]:
    amount = limit.amount / NANO
    rules = [Rule(name="budget", look="hard", value=amount)]
    if limit.alert_at is not None:
        rules.append(Rule(name=f"alert at {limit.alert_at}%", look="soft", value=amount * limit.alert_at / 100))
    return rules


def _money(amount: float | None) -> str:
    return formats.NOTHING if amount is None else formats.dollars(f"{amount:.9f}")


def _said(form: dict[str, str]) -> tuple[Kind, int, int | None]:
    """Kind, amount in its unit, and percent at which to warn, of a form.

    Raises:
        BadRequest: what was typed is none.
    """
    kind = next((each for each in KINDS if each == form.get("kind")), None)
    if kind is None:
        raise BadRequest("choose what to limit", param="kind")
    text = form.get("amount", "").strip()
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or not 0 <= amount < 10**9:
        raise BadRequest(f"the amount {text[:40]!r} is not a number from 0 to a billion", param="amount")
    alert_at = whole_of(form, "alert_at", high=100)
    if kind.startswith("usd"):
        return kind, nano_of(amount), alert_at
    if amount != int(amount):
        raise BadRequest(f"{_WORDS[kind]} are whole numbers", param="amount")
    return kind, int(amount), alert_at
