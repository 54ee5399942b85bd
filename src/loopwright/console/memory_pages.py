"""The pages of memory: what people corrected, where they contradict each other, and whether showing it helps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from loopwright.app import App
from loopwright.console.asking import whole_of
from loopwright.console.key_ring import by
from loopwright.console.shell import Shell, View, Visit
from loopwright.core.errors import BadRequest
from loopwright.feedback.reading import plain
from loopwright.memory.conflicts import KEEPS, Conflicts, Keep
from loopwright.memory.effect import Effect, effects
from loopwright.memory.shown import conflict_shown, entry_shown, listed

_PAGE: Final = 50
_CLIP: Final = 600
"""Characters of a text in a list."""
_DAYS: Final = 30
_STATES: Final = ("active", "waiting", "disabled", "expired", "superseded")
_WIDTH, _LEFT, _RIGHT, _ROW = 560, 120, 20, 26


class MemoryPages:
    """Everybody sees and keeps the memory of their project; administrators see all."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._app: App = shell.app
        self._memory = shell.app.workshop.memory.memory

    def routes(self) -> list[Route]:
        """The list, one entry, and what can be done."""
        return [
            *self._shell.page("/memory", "memory.html", self._list),
            self._shell.action("/memory/conflicts/{conflict_id:int}", self._decide),
            self._shell.action("/memory/{entry_id}", self._change),
            *self._shell.page("/memory/{entry_id}", "memory_entry.html", self._one),
        ]

    async def _list(self, visit: Visit) -> View:
        asked = {name: visit.asked(name) for name in ("task", "author", "state", "words")}
        if any("\x00" in (text or "") for text in asked.values()):
            raise BadRequest("a filter holds NUL", param="words")
        rows, onward = await listed(
            self._memory, project_id=visit.project_id, before=visit.asked("before"), limit=_PAGE, **asked
        )
        conflicts = await Conflicts(self._memory).list(project_id=visit.project_id)
        days = whole_of(visit.request.query_params, "days", high=3650) or _DAYS
        since = (datetime.now(UTC) - timedelta(days=days - 1)).date()
        found = await effects(self._app.db, project_id=visit.project_id, task=asked["task"], since=since)
        data: dict[str, Any] = {
            "filter": asked,
            "entries": rows,
            "next": onward,
            "conflicts": [conflict_shown(self._memory, each) for each in conflicts],
            "effect": [each.shown() for each in found],
            "days": days,
        }
        names = {project.id: project.name for project in await self._app.projects.list()} if visit.who.admin else {}
        drawn = {
            "states": _STATES,
            "rows": [_row(each) for each in rows],
            "sides": [_sides(each) for each in data["conflicts"]],
            "plots": [_plot(each) for each in found],
            "projects": names,
        }
        return View(data=data, drawn=drawn)

    async def _one(self, visit: Visit) -> View:
        entry = await self._memory.get(visit.request.path_params["entry_id"], project_id=visit.project_id)
        shown, answered = await self._memory.days(entry.id)
        found = await Conflicts(self._memory).list(project_id=entry.project_id, state=None, entry_id=entry.id)
        conflicts = [conflict_shown(self._memory, each) for each in found]
        data: dict[str, Any] = {
            "entry": entry_shown(self._memory, entry), "shown": shown, "answered": answered, "conflicts": conflicts,
        }  # fmt: skip
        return View(data=data, drawn={"row": _row(data["entry"], whole=True), "sides": [_sides(e) for e in conflicts]})

    async def _change(self, visit: Visit, form: dict[str, str]) -> Response:
        entry = await self._memory.get(visit.request.path_params["entry_id"], project_id=visit.project_id)
        act = form.get("act", "")
        expires: datetime | msgspec.UnsetType | None = msgspec.UNSET
        if act == "expire":
            expires = _day(form.get("on", ""))
        elif act not in ("disable", "enable", "delete"):
            raise BadRequest("act: disable, enable, expire or delete", param="act")
        detail = {"act": act, "on": form.get("on", "")} if act == "expire" else {"act": act}
        await self._app.audit.note(by(visit), "memory.change", f"entry {entry.id}", detail, project_id=entry.project_id)
        if act == "delete":
            await self._memory.delete(entry)
            return RedirectResponse("/memory", 303)
        disabled = None if act == "expire" else act == "disable"
        await self._memory.change(entry, disabled=disabled, expires_at=expires)
        return RedirectResponse(f"/memory/{entry.id}", 303)

    async def _decide(self, visit: Visit, form: dict[str, str]) -> Response:
        conflicts = Conflicts(self._memory)
        found = await conflicts.get(visit.request.path_params["conflict_id"], project_id=visit.project_id)
        keep = _keep(form.get("keep", ""))
        scopes = None
        if keep == "scope":
            said = {found.older.id: form.get("older", ""), found.newer.id: form.get("newer", "")}
            scopes = {entry_id: _tags(text) for entry_id, text in said.items() if text.strip()}
        await conflicts.resolve(found, keep, by=visit.who.key_name, scopes=scopes)
        detail = {"keep": keep, "older": found.older.id, "newer": found.newer.id}
        await self._app.audit.note(
            by(visit), "memory.resolve", f"conflict {found.id}", detail, project_id=found.project_id
        )
        return RedirectResponse("/memory#conflicts", 303)


def _row(entry: dict[str, Any], *, whole: bool = False) -> dict[str, Any]:
    """An entry for the eye."""
    inputs = entry["input"] or {}
    texts = [(name, plain(value)) for name, value in list(inputs.items())[:8]]
    return {
        "entry": entry,
        "inputs": [(name, text if whole else _clipped(text)) for name, text in texts],
        "output": plain(entry["output"]) if whole else _clipped(plain(entry["output"])),
    }


def _sides(found: dict[str, Any]) -> dict[str, Any]:
    return {"conflict": found, "older": _row(found["older"]), "newer": _row(found["newer"])}


def _plot(found: Effect) -> dict[str, Any]:
    """Where the two shares and their intervals lie, in SVG units, from 0 to 1."""

    def x(value: float) -> float:
        return round(_LEFT + value * (_WIDTH - _LEFT - _RIGHT), 1)

    rows = []
    for at, (name, arm) in enumerate((("with memory", found.memory), ("held out", found.held_out))):
        low, high = arm.interval or (None, None)
        rows.append({
            "name": name,
            "y": 16 + _ROW * at,
            "x": None if arm.rate is None else x(arm.rate),
            "low": None if low is None else x(low),
            "high": None if high is None else x(high),
        })  # fmt: skip
    base = 16 + 2 * _ROW - 6
    ticks = [{"at": x(value), "text": f"{value:.0%}"} for value in (0.0, 0.25, 0.5, 0.75, 1.0)]
    return {
        "of": found.shown(), "rows": rows, "ticks": ticks, "base": base, "left": _LEFT, "width": _WIDTH,
        "height": base + 22,
    }  # fmt: skip


def _clipped(text: str) -> str:
    return text if len(text) <= _CLIP else text[:_CLIP] + " …"


def _keep(said: str) -> Keep:
    for keep in KEEPS:
        if said == keep:
            return keep
    raise BadRequest(f"keep: one of {', '.join(KEEPS)}", param="keep")


def _tags(text: str) -> dict[str, str]:
    tags = {}
    for each in text.split(","):
        name, sign, value = each.strip().partition(":")
        if not sign or not name:
            raise BadRequest(f"{each.strip()[:80]!r} is not of the form name:value", param="scopes")
        tags[name.strip()] = value.strip()
    return tags


def _day(text: str) -> datetime | None:
    """The day of a form; None, never, when it is left empty."""
    if not text.strip():
        return None
    try:
        return datetime.fromisoformat(text.strip()).replace(tzinfo=UTC)
    except ValueError:
        raise BadRequest(f"on: {text[:40]!r} is no day, such as 2027-01-31", param="on") from None
