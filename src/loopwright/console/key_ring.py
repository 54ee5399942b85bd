"""The page of keys: who may call what, new keys, new secrets for old ones, and their end. For administrators."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from loopwright.access.audit import Actor
from loopwright.access.keys import OPERATIONS, Key
from loopwright.app import App
from loopwright.console.asking import whole_of
from loopwright.console.overview import api_base, first_model
from loopwright.console.shell import Shell, View, Visit
from loopwright.console.snippets import first_call
from loopwright.core.errors import BadRequest, Conflict, NotFound, Refused

_OVERLAPS: Final[Mapping[str, int]] = {
    "at once": 0,
    "in an hour": 3_600,
    "in a day": 86_400,
    "in a week": 604_800,
    "in 30 days": 2_592_000,
}
"""When the old secret ends, in seconds."""


class KeyRing:
    """Keys are shown by their prefix; a secret only once, on the page that answers its creation."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._app: App = shell.app

    def routes(self) -> list[Route]:
        """The page and its three actions."""
        return [
            *self._shell.page("/keys", "keys.html", self._view, admin=True),
            self._shell.action("/keys", self._create, admin=True),
            self._shell.action("/keys/{key_id:int}/rotate", self._rotate, admin=True),
            self._shell.action("/keys/{key_id:int}/revoke", self._revoke, admin=True),
        ]

    async def _view(self, visit: Visit) -> View:
        keys = await self._app.keys.list(revoked=True)
        projects = await self._app.projects.list()
        live = [key for key in keys if key.revoked_at is None]
        ended = [key for key in keys if key.revoked_at is not None]
        return View(
            data={
                "keys": [_row(key) for key in (*reversed(live), *reversed(ended))],
                "projects": [project.name for project in projects],
            },
            drawn={
                "models": [card["name"] for card in self._app.cards()],
                "operations": OPERATIONS,
                "made": None,
                "typed": {},
                "problem": None,
                "own": visit.who.key_id,
                "overlaps": _OVERLAPS,
            },
        )

    async def _create(self, visit: Visit, form: dict[str, str]) -> Response:
        models = _names(form, "models")
        try:
            if form.get("project_new", "").strip():
                project = (await self._app.projects.create(form["project_new"].strip(), by=by(visit))).name
            else:
                project = form.get("project", "")
            self._check(models)
            key, secret = await self._app.keys.create(
                project,
                form.get("name", "").strip(),
                admin=form.get("admin") == "on",
                models=models or None,
                tasks=_names(form, "tasks") or None,
                operations=_names(form, "operations") or None,
                labels=_names(form, "labels") or None,
                expires_at=_end(form),
                by=by(visit),
            )
        except (BadRequest, Conflict, NotFound) as error:
            return await self._again(visit, {"typed": form, "problem": error}, error.status)
        model = models[0] if models else first_model(self._app, visit)
        shown = first_call(api_base(visit), model).replace("$LOOPWRIGHT_API_KEY", secret)
        return await self._again(visit, {"made": {"key": _row(key), "secret": secret, "curl": shown}}, 201)

    async def _rotate(self, visit: Visit, form: dict[str, str]) -> Response:
        overlap = whole_of(form, "overlap", high=366 * 86_400)
        key, secret = await self._app.keys.rotate(
            visit.request.path_params["key_id"], overlap=timedelta(seconds=overlap or 0), by=by(visit)
        )
        model = key.models[0] if key.models else first_model(self._app, visit)
        shown = first_call(api_base(visit), model).replace("$LOOPWRIGHT_API_KEY", secret)
        return await self._again(visit, {"made": {"key": _row(key), "secret": secret, "curl": shown}}, 200)

    def _check(self, models: tuple[str, ...]) -> None:
        known = {card["name"] for card in self._app.cards()}
        for name in models:
            if name not in known:
                raise BadRequest(f"there is no model {name!r}; there are: {', '.join(sorted(known))}", param="models")

    async def _again(self, visit: Visit, drawn: dict[str, Any], status: int) -> Response:
        view = await self._view(visit)
        return self._shell.html(visit, "keys.html", View(data=view.data, drawn={**view.drawn, **drawn}, status=status))

    async def _revoke(self, visit: Visit, _form: dict[str, str]) -> Response:
        if visit.request.path_params["key_id"] == visit.who.key_id:
            raise Refused("a key cannot revoke itself: sign in with another administrator's key")
        await self._app.keys.revoke(visit.request.path_params["key_id"], by=by(visit))
        return RedirectResponse("/keys", 303)


def by(visit: Visit) -> Actor:
    """Who acts, for the audit log."""
    client = visit.request.client
    return Actor(who=visit.who, origin="unknown" if client is None else client.host)


def _names(form: dict[str, str], field: str) -> tuple[str, ...]:
    """What was typed with blanks or commas between, each once."""
    return tuple(dict.fromkeys(form.get(field, "").replace(",", " ").split()))


def _end(form: dict[str, str]) -> datetime | None:
    """The beginning of the day (UTC) on which the key ends.

    Raises:
        BadRequest: no date.
    """
    typed = form.get("expires", "").strip()
    try:
        return datetime.fromisoformat(typed).replace(tzinfo=UTC) if typed else None
    except ValueError:
        raise BadRequest(f"expires: {typed[:40]!r} is no date; write it like 2027-01-31", param="expires") from None


def _row(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "project": key.project,
        "admin": key.admin,
        **{
            name: None if names is None else list(names)
            for name, names in (
                ("models", key.models),
                ("tasks", key.tasks),
                ("operations", key.operations),
                ("labels", key.labels),
            )
        },
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "overlaps_until": key.overlaps_until,
        "revoked_at": key.revoked_at,
        "state": _state(key),
    }


def _state(key: Key) -> str:
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is not None and key.expires_at <= datetime.now(UTC):
        return "expired"
    return "live"
