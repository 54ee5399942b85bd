"""The page of routes: what stands behind each name, how every worker sees it, and how it did in the last day."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from loopwright.app import App
from loopwright.calls.query import CallFilter, TargetGroup
from loopwright.console import formats, sparks
from loopwright.console.figures import milliseconds, totals
from loopwright.console.shell import View, Visit
from loopwright.gateway.board import Told, told
from loopwright.gateway.cached import PROVIDER
from loopwright.gateway.route import Route

_WORST: Final = ("open", "half-open", "resting", "doubtful", "demoted", "healthy", "unwatched")
_LOOKS: Final[Mapping[str, str]] = {
    "open": "error",
    "half-open": "warn",
    "resting": "warn",
    "doubtful": "warn",
    "demoted": "warn",
    "healthy": "ok",
    "unwatched": "",
}
_SUMMED: Final = ("attempts", "failures", "in_flight", "queued")


class Roads:
    """Routes with several targets or with options first; then names of one target with nothing between."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, visit: Visit) -> View:
        """Build the page."""
        now = dt.datetime.now(dt.UTC)
        since = now - dt.timedelta(hours=24)
        asked = CallFilter(project_id=visit.project_id, since=since, until=now)
        mine = [each for each in self._app.routes if visit.who.may_call(each.name)]
        names = {name: each.name for each in mine for name in (each.name, *self._aliases(each.name))}
        workers, groups = await asyncio.gather(
            told(self._app.db, UUID(self._app.spool.worker), self._app.routes), self._app.calls.targets(asked, names)
        )
        recorded: dict[str, list[TargetGroup]] = {}
        for group in groups:
            recorded.setdefault(group.model, []).append(group)
        routes = [self._route(each, workers) for each in mine]
        for route in routes:
            _join(route, recorded.get(route["name"], []))
        routes.sort(key=lambda route: (not route["watched"], route["name"]))
        data = {
            "since": since,
            "workers": [worker.process for worker in workers],
            "routes": routes,
        }
        return View(data=data, drawn={"looks": _LOOKS, "sparks": _sparks})

    def _aliases(self, name: str) -> tuple[str, ...]:
        model = self._app.catalog.configured().get(name)
        return () if model is None else model.aliases

    def _route(self, route: Route, workers: Sequence[Told]) -> dict[str, Any]:
        seen = [each for worker in workers for each in worker.routes if each["name"] == route.name]
        together = joined(seen or [route.shown()])
        for shown, target in zip(together["targets"], route.targets, strict=True):
            shown["own"] = target.place.own
            shown["region"] = shown.get("region") or target.place.region
        return {
            "hedge": None,
            "cascade": None,
            **together,
            "aliases": list(self._aliases(route.name)),
            "watched": any(target["state"] != "unwatched" for target in together["targets"]),
        }


def joined(seen: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One route as several workers see it: counts are added up, of states the worst is told, and how many say so."""
    first = seen[0]
    targets = []
    for at, target in enumerate(first["targets"]):
        same = [
            route["targets"][at] for route in seen if at < len(route["targets"]) and _same(route["targets"][at], target)
        ]
        states = Counter(each["state"] for each in same)
        one = {
            **target,
            "state": min(states, key=lambda state: _WORST.index(state) if state in _WORST else 0),
            "states": dict(states),
            **{name: sum(each.get(name) or 0 for each in same) for name in _SUMMED},
        }
        if "failure_share" in target:
            one["failure_share"] = max(each["failure_share"] for each in same)
            one["ready_in_s"] = max(each["ready_in_s"] for each in same)
        targets.append(one)
    out = {**first, "targets": targets, "retries": _sums(route["retries"] for route in seen)}
    if "hedge" in first:
        out["hedge"] = {**first["hedge"], **_sums({n: route["hedge"][n] for n in ("asked", "won")} for route in seen)}
    if "cascade" in first:
        out["cascade"] = _cascade([route["cascade"] for route in seen])
    return out


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two workers mean the same target: one of them may still have an older configuration."""
    return (one["provider"], one["model"]) == (other["provider"], other["model"])


def _sums(of: Iterable[Mapping[str, float]]) -> dict[str, float]:
    found: Counter[str] = Counter()
    for each in of:
        found.update(each)
    return {name: round(number, 1) for name, number in found.items()}


def _cascade(seen: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "kept": sum(each["kept"] for each in seen),
        "escalated": sum(each["escalated"] for each in seen),
        "reasons": _sums(each["reasons"] for each in seen),
        "saved_usd": format(sum(Decimal(each["saved_usd"]) for each in seen), "f"),
        "spent_usd": format(sum(Decimal(each["spent_usd"]) for each in seen), "f"),
    }


def _day(groups: Sequence[TargetGroup]) -> dict[str, Any]:
    """What the day's calls of a route came to that no target can be told of."""
    nobody = [group.counts for group in groups if not group.provider]
    return {
        "requests": sum(group.counts.requests for group in groups),
        "unanswered": sum(counts.errors for counts in nobody),
        "refused": sum(counts.refused for counts in nobody),
        "from_cache": sum(group.counts.requests for group in groups if group.provider == PROVIDER),
    }


def _join(route: dict[str, Any], groups: Sequence[TargetGroup]) -> None:
    """Give a route and its targets what is on record of them; targets that are no longer configured stand apart."""
    route |= _day(groups)
    left = {(group.provider, group.target): group for group in groups if group.provider not in ("", PROVIDER)}
    for target in route["targets"]:
        group = left.pop((target["provider"], target["model"]), None)
        target["day"] = None if group is None else _told_of(group)
    route["former"] = [
        {"provider": group.provider, "model": group.target, "day": _told_of(group)} for group in left.values()
    ]


def _told_of(group: TargetGroup) -> dict[str, Any]:
    return {
        **totals(group),
        "measure": "first token" if group.measure == "ttft" else "whole answer",
        "hours": [
            {
                "at": hour.at,
                "requests": hour.requests,
                "errors": hour.errors,
                "p50": milliseconds(hour.speed.p50),
                "p95": milliseconds(hour.speed.p95),
            }
            for hour in group.hours
        ],
    }


def _sparks(day: Mapping[str, Any]) -> tuple[sparks.Spark, sparks.Spark]:
    """Speed, and answers with errors, of one target."""
    hours = day["hours"]
    speed = sparks.curves(
        f"Time to {day['measure']} by hour" if day["measure"] == "first token" else "Time of whole answers by hour",
        [(name, name, [hour[name] for hour in hours]) for name in ("p95", "p50")],
        formats.millis,
    )
    answers = sparks.bars(
        "Answers by hour",
        [
            ("fine", "main", [hour["requests"] - hour["errors"] for hour in hours]),
            ("failed", "bad", [hour["errors"] for hour in hours]),
        ],
        formats.count,
    )
    return speed, answers
