"""The page of the cache: how often answers were given again and what that saved, hits by likeness side by side."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from loopwright.app import App
from loopwright.cache import tally
from loopwright.console import formats
from loopwright.console.asking import call_id_of, tag_of, whole_of
from loopwright.console.charts import Drawn, Line, draw
from loopwright.console.conversation import asked
from loopwright.console.forms import local_path
from loopwright.console.key_ring import by
from loopwright.console.shell import Shell, View, Visit
from loopwright.core.call import CallDetail
from loopwright.core.errors import BadRequest, LoopwrightError
from loopwright.core.money import NANO, usd
from loopwright.gateway.hits import Hit, hit, latest, report_wrong

_DAYS: Final[Mapping[str, int]] = {"7d": 7, "30d": 30, "90d": 90}
_HITS: Final = 10
_CLIPPED: Final = 600
"""Characters of a question that are shown."""
_FORGET: Final = ("session", "tag", "key", "call")


class Echoes:
    """Everybody sees what concerns their project, and may report a hit of it or have its answers forgotten."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._app: App = shell.app

    def routes(self) -> list[Route]:
        """The page and its two actions."""
        return [
            *self._shell.page("/cache", "cache.html", self._view),
            self._shell.action("/cache/hits/{call_id}/wrong", self._wrong),
            self._shell.action("/cache/forget", self._forget),
        ]

    async def _view(self, visit: Visit) -> View:
        name = visit.asked("range") or "30d"
        if name not in _DAYS:
            raise BadRequest(f"range {name!r} is not one of {', '.join(_DAYS)}", param="range")
        model, scope, db = visit.asked("model"), visit.project_id, self._app.db
        now = dt.datetime.now(dt.UTC)
        rows, apart, on_record, raised, hits = await asyncio.gather(
            tally.days(db, scope, _DAYS[name]),
            tally.stored(db, scope),
            self._app.calls.answers_held(scope),
            tally.thresholds(db, scope),
            latest(
                self._app.calls,
                project_id=scope,
                since=now - dt.timedelta(days=_DAYS[name]),
                model=model,
                limit=_HITS,
            ),
        )
        reported = await tally.reported(db, [each.detail.call.id for each in hits])
        names = {project.id: project.name for project in await self._app.projects.list()} if visit.who.admin else {}
        chosen = [row for row in rows if model in (None, row["model"])]
        days = [now.date() - dt.timedelta(days=at) for at in range(_DAYS[name] - 1, -1, -1)]
        series = [{"day": day, **_sum([row for row in chosen if row["day"] == day])} for day in days]
        data: dict[str, Any] = {
            "range": name,
            "model": model,
            "summary": {**_sum(chosen), "entries": on_record + apart[0], "on_record": on_record, "bytes": apart[1]},
            "series": series,
            "models": [
                {"model": each, **_sum([row for row in rows if row["model"] == each])}
                for each in sorted({row["model"] for row in rows})
            ],
            "thresholds": self._thresholds(visit, raised, names),
            "hits": [_row(each, reported) for each in hits],
        }
        drawn = {"charts": _charts(series), "ranges": _DAYS, "problem": None, "typed": {}, "forget": _FORGET}
        return View(data=data, drawn={**drawn, "on": bool(self._app.policies)})

    def _thresholds(
        self, visit: Visit, raised: Sequence[Mapping[str, Any]], names: Mapping[int, str]
    ) -> list[dict[str, Any]]:
        """As configured for each model with hits by likeness, and as reports have made them for a project."""
        configured = {
            policy.model: policy.settings.semantic.threshold
            for policy in self._app.policies.values()
            if policy.settings.semantic is not None and visit.who.may_call(policy.model)
        }
        rows: list[dict[str, Any]] = [
            {
                "model": row["model"],
                "project": names.get(row["project_id"], visit.who.project),
                "configured": configured.get(row["model"]),
                "threshold": max(row["threshold"], configured.get(row["model"], 0.0)),
                "wrong": row["wrong"],
                "changed_at": row["changed_at"],
            }
            for row in raised
        ]
        told = {row["model"] for row in rows}
        rows += [
            {"model": model, "project": None, "configured": at, "threshold": at, "wrong": 0, "changed_at": None}
            for model, at in configured.items()
            if model not in told
        ]
        return sorted(rows, key=lambda row: (row["model"], row["project"] or ""))

    async def _wrong(self, visit: Visit, form: dict[str, str]) -> Response:
        call_id = visit.request.path_params["call_id"]
        found = await hit(self._app.calls, call_id, project_id=visit.project_id)
        policy = self._app.policies.get(found.detail.call.model)
        await report_wrong(found, self._app.cache, policy, by_key=visit.who.key_id)
        return RedirectResponse(local_path(form.get("back"), "/cache"), 303)

    async def _forget(self, visit: Visit, form: dict[str, str]) -> Response:
        what, value = form.get("what", ""), form.get("value", "").strip()
        try:
            named = _named(what, value)
            await self._app.audit.note(
                by(visit), "cache.forget", f"{what} {value}", {}, project_id=visit.who.project_id
            )
            gone = await self._app.cache.forget(project_id=visit.project_id, **named)
        except BadRequest as error:
            return await self._again(visit, form, error)
        return RedirectResponse("/cache?" + urlencode({"forgotten": gone}), 303)

    async def _again(self, visit: Visit, form: dict[str, str], error: LoopwrightError) -> Response:
        view = await self._view(visit)
        drawn = {**view.drawn, "typed": form, "problem": error}
        return self._shell.html(visit, "cache.html", View(data=view.data, drawn=drawn, status=error.status))


def _named(what: str, value: str) -> dict[str, Any]:
    """What `Cache.forget` takes.

    Raises:
        BadRequest: nothing is named, or not what it should be.
    """
    if what not in _FORGET or not value:
        raise BadRequest("say whose answers to forget: a session, a tag, the number of a key, or a call", param="value")
    if what == "tag":
        return {"tag": tag_of({"tag": value})}
    if what == "key":
        return {"key_id": whole_of({"key": value}, "key")}
    return {"session": value} if what == "session" else {"call_id": call_id_of({"call": value}, "call")}


def _sum(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts of some days and models together."""
    total = {name: sum(row[name] for row in rows) for name in ("hits", "semantic", "misses", "saved_nano", "unpriced")}
    given = total["hits"] + total["semantic"]
    looked = given + total["misses"]
    return {
        "hits": total["hits"],
        "semantic_hits": total["semantic"],
        "misses": total["misses"],
        "hit_rate": given / looked if looked else None,
        "saved_usd": usd(total["saved_nano"]),
        "unpriced_hits": total["unpriced"],
    }


def _charts(series: Sequence[Mapping[str, Any]]) -> list[Drawn]:
    times = [dt.datetime.combine(point["day"], dt.time(), dt.UTC) for point in series]

    def line(name: str, look: str, field: str) -> Line:
        return Line(name=name, look=look, values=[point[field] for point in series])

    saved = [float(point["saved_usd"]) for point in series]
    return [
        draw(
            "lookups",
            "Look-ups",
            times,
            [
                line("exact", "main", "hits"),
                line("by likeness", "p95", "semantic_hits"),
                line("missed", "quiet", "misses"),
            ],
            kind="bars",
            show=formats.count,
        ),
        draw(
            "hit-rate",
            "Hit rate",
            times,
            [line("hit rate", "main", "hit_rate")],
            kind="lines",
            show=formats.percent,
        ),
        draw("saved", "Saved", times, [Line(name="saved", look="main", values=saved)], kind="bars", show=_money),
    ]


def _money(amount: float | None) -> str:
    return formats.NOTHING if amount is None else formats.dollars(f"{round(amount * NANO) / NANO:.9f}")


def _row(found: Hit, reported: set[str]) -> dict[str, Any]:
    call = found.detail.call
    return {
        "call_id": call.id,
        "started_at": call.started_at,
        "model": call.model,
        "matched_call_id": found.matched_id,
        "matched_at": None if found.matched is None else found.matched.call.started_at,
        "similarity": found.similarity,
        "saved_usd": found.saved_usd,
        "asked": _question(found.detail),
        "matched": None if found.matched is None else _question(found.matched),
        "reported": call.id in reported,
    }


def _question(detail: CallDetail) -> str | None:
    """The last thing that was asked, which is what likeness compares; None when it is not kept."""
    turns = [turn["text"] for turn in asked(detail.call.operation, detail.request) if turn["role"] == "user"]
    if not turns:
        return None
    text: str = turns[-1]
    return text if len(text) <= _CLIPPED else text[:_CLIPPED] + "…"
