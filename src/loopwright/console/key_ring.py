"""The page of keys: who may call, new keys, and the end of old ones. For administrators."""

from __future__ import annotations

from typing import Any

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from loopwright.access.audit import Actor
from loopwright.access.keys import Key
from loopwright.app import App
from loopwright.console.overview import api_base, first_model
from loopwright.console.shell import Shell, View, Visit
from loopwright.console.snippets import first_call
from loopwright.core.errors import BadRequest, Conflict, NotFound, Refused


class KeyRing:
    """Keys are shown by their prefix; a secret only once, on the page that answers its creation."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._app: App = shell.app

    def routes(self) -> list[Route]:
        """The page and its two actions."""
        return [
            *self._shell.page("/keys", "keys.html", self._view, admin=True),
            self._shell.action("/keys", self._create, admin=True),
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
                "made": None,
                "typed": {},
                "problem": None,
                "own": visit.who.key_id,
            },
        )

    async def _create(self, visit: Visit, form: dict[str, str]) -> Response:
        models = tuple(dict.fromkeys(name for name in form.get("models", "").replace(",", " ").split() if name))
        try:
            if form.get("project_new", "").strip():
                project = (await self._app.projects.create(form["project_new"].strip(), by=_by(visit))).name
            else:
                project = form.get("project", "")
            self._check(models)
            key, secret = await self._app.keys.create(
                project,
                form.get("name", "").strip(),
                admin=form.get("admin") == "on",
                models=models or None,
                by=_by(visit),
            )
        except (BadRequest, Conflict, NotFound) as error:
            return await self._again(visit, {"typed": form, "problem": error}, error.status)
        model = models[0] if models else first_model(self._app, visit)
        shown = first_call(api_base(visit), model).replace("$LOOPWRIGHT_API_KEY", secret)
        return await self._again(visit, {"made": {"key": _row(key), "secret": secret, "curl": shown}}, 201)

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
        await self._app.keys.revoke(visit.request.path_params["key_id"], by=_by(visit))
        return RedirectResponse("/keys", 303)


def _by(visit: Visit) -> Actor:
    """Who acts, for the audit log."""
    client = visit.request.client
    return Actor(who=visit.who, origin="unknown" if client is None else client.host)


def _row(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "project": key.project,
        "admin": key.admin,
        "models": None if key.models is None else list(key.models),
        "created_at": key.created_at,
        "revoked_at": key.revoked_at,
    }
