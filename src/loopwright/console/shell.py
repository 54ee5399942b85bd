"""What every page shares: who is asking, the two forms of an answer, security headers, errors as pages."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jinja2
import msgspec
import psycopg
from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from loopwright import __version__
from loopwright.app import App
from loopwright.console import formats
from loopwright.console.assets import Assets
from loopwright.console.assistant import assistant_of
from loopwright.console.forms import check_same_site, form_of, local_path
from loopwright.console.sessions import COOKIE, Sessions, matches
from loopwright.core.errors import LoopwrightError, NotFound, Refused, Unauthenticated
from loopwright.core.who import Principal
from loopwright.kit.db import unfit
from loopwright.kit.wire_out import error_body

_log = logging.getLogger(__name__)
THEMES = ("auto", "light", "dark")
THEME_COOKIE = "loopwright_theme"
_POLICY = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
    # No script may turn text into markup, ours included: a slip in a module cannot become an injection.
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
)
HEADERS: Mapping[str, str] = {
    "content-security-policy": "; ".join(_POLICY),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
"""On every answer of the console but its files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request of somebody signed in."""

    request: Request
    who: Principal
    csrf: str
    """Empty for a caller that came with a key instead of a session; such a caller can only read."""

    @property
    def project_id(self) -> int | None:
        """Whose calls may be seen: None, everybody's, for administrators."""
        return None if self.who.admin else self.who.project_id

    def asked(self, name: str) -> str | None:
        """A query parameter; None when absent or blank."""
        return self.request.query_params.get(name, "").strip() or None


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a page shows."""

    data: Mapping[str, Any]
    """The whole twin: built-in types and datetimes only."""
    drawn: Mapping[str, Any] = field(default_factory=dict)
    """Made from `data` for the eye only (charts, fields as they were typed)."""
    status: int = 200


Build = Callable[[Visit], Awaitable[View]]
Act = Callable[[Visit, dict[str, str]], Awaitable[Response]]


class Shell:
    """Makes routes of pages and actions."""

    def __init__(self, app: App, sessions: Sessions, assets: Assets) -> None:
        self.app = app
        self.sessions = sessions
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters.update(formats.FILTERS)
        self._templates.globals.update(static=assets.base, version=__version__, query=_query)

    def page(self, path: str, template: str, build: Build, *, admin: bool = False) -> list[Route]:
        """A page at `path` and its twin at `path`.json."""

        async def shown(request: Request) -> Response:
            visit = self.visit(request)
            if visit is None:
                return _to_sign_in(request)
            _check_admin(visit, needed=admin)
            return self.html(visit, template, await build(visit))

        name = path.rpartition("{")[2].removesuffix("}") if path.endswith("}") else ""
        last = name if name.isidentifier() else None

        async def dotted(visit: Visit) -> View | None:
            """What a browser asks for by a name that itself ends like a twin's address."""
            if last is None or "text/html" not in visit.request.headers.get("accept", ""):
                return None
            params = visit.request.path_params
            whole = {**params, last: f"{params[last]}.json"}
            try:
                return await build(replace(visit, request=Request({**visit.request.scope, "path_params": whole})))
            except (LoopwrightError, psycopg.DataError):
                return None

        async def twin(request: Request) -> Response:
            visit = self.visit(request) or self._bearer(request)
            if visit is None:
                raise Unauthenticated("sign in at /sign-in, or send a key as `Authorization: Bearer`")
            _check_admin(visit, needed=admin)
            if (named := await dotted(visit)) is not None:
                return self.html(visit, template, named)
            view = await build(visit)
            return Response(msgspec.json.encode(view.data), view.status, media_type="application/json")

        # The twin first: an id at the end of a path would swallow `.json`.
        return [self.route(f"{path}.json", twin, page=False), self.route(path, shown)]

    def action(self, path: str, act: Act, *, admin: bool = False) -> Route:
        """A change: a form of this site, with the session's token."""

        async def done(request: Request) -> Response:
            check_same_site(request.headers, request.url.netloc)
            visit = self.visit(request)
            if visit is None:
                return RedirectResponse("/sign-in", 303)
            form = await form_of(request)
            check_token(visit, form.get("csrf", ""))
            _check_admin(visit, needed=admin)
            return await act(visit, form)

        return self.route(path, done, methods=["POST"])

    def route(
        self,
        path: str,
        endpoint: Callable[[Request], Awaitable[Response]],
        *,
        methods: list[str] | None = None,
        page: bool = True,
    ) -> Route:
        """A route whose errors are answers, and whose answers carry the security headers."""

        async def guarded(request: Request) -> Response:
            try:
                response = await endpoint(request)
            except LoopwrightError as error:
                response = self.failed(request, error, page=page)
            except psycopg.DataError as error:
                response = self.failed(request, unfit(error), page=page)
            except ClientDisconnect:
                response = Response(status_code=400)  # nobody reads it
            except Exception:  # noqa: BLE001 - an edge: a page says so, the log holds the traceback
                _log.exception("the console failed at %s", request.url.path)
                response = self.failed(request, LoopwrightError("the console failed; its log says why"), page=page)
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
            return response

        return Route(path, guarded, methods=methods or ["GET"])

    def visit(self, request: Request) -> Visit | None:
        """Who is signed in; None when nobody is, the session is over or its key revoked. Never asks the database."""
        session = self.sessions.read(request.cookies.get(COOKIE, ""))
        who = None if session is None else self.app.keys.holder(session.key_id)
        return None if session is None or who is None else Visit(request=request, who=who, csrf=session.csrf)

    def html(self, visit: Visit, template: str, view: View) -> Response:
        """Render a page."""
        return self.render(visit.request, template, {"visit": visit, "data": view.data, **view.drawn}, view.status)

    def render(self, request: Request, template: str, context: Mapping[str, Any], status: int = 200) -> Response:
        """Render a template with what the frame of every page needs."""
        theme = request.cookies.get(THEME_COOKIE, "auto")
        visit: Visit | None = context.get("visit")
        frame = {
            "visit": None,
            "path": request.url.path,
            "here": request.url.path + (f"?{request.url.query}" if request.url.query else ""),
            "query_params": request.query_params,
            "theme": theme if theme in THEMES else "auto",
            "helped": visit is not None and assistant_of(self.app, visit.who) is not None,
            "now": dt.datetime.now(dt.UTC),
        }
        text = self._templates.get_template(template).render({**frame, **context})
        return Response(text, status, media_type="text/html")

    def failed(self, request: Request, error: LoopwrightError, *, page: bool) -> Response:
        """An error as a page that says what to do next, or in OpenAI's form for programs."""
        headers = {} if error.retry_after is None else {"retry-after": str(max(1, round(error.retry_after)))}
        if page and "text/html" in request.headers.get("accept", "text/html"):
            response = self.render(request, "error.html", {"visit": self.visit(request), "error": error}, error.status)
        else:
            body = msgspec.json.encode(error_body(error))
            response = Response(body, error.status, media_type="application/json")
        response.headers.update(headers)
        return response

    def _bearer(self, request: Request) -> Visit | None:
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        who = self.app.keys.find(secret.strip()) if scheme.lower() == "bearer" else None
        return None if who is None else Visit(request=request, who=who, csrf="")


async def project_asked(app: App, visit: Visit, named: str | None = None) -> int | None:
    """The project whose calls are shown, by `project` of the query or by `named`; None is all of them.

    Raises:
        NotFound: there is none of this name, or not for who asks: only administrators may name another's.
    """
    named = named or visit.asked("project")
    if named is None or named == visit.who.project:
        return visit.project_id if named is None else visit.who.project_id
    if not visit.who.admin:
        raise NotFound(f"there is no project {named[:80]!r} for key {visit.who.key_name!r}", param="project")
    return (await app.projects.get(named.replace("\x00", ""))).id


def check_token(visit: Visit, given: str) -> None:
    """Refuse a change without the session's token.

    Raises:
        Refused: the token is missing or another session's.
    """
    if not matches(given, visit.csrf):
        raise Refused("the form is out of date (its token is not this session's): reload the page and send it again")


def _check_admin(visit: Visit, *, needed: bool) -> None:
    if needed and not visit.who.admin:
        raise Refused(f"key {visit.who.key_name!r} is not an administrator's: sign in with an admin key to see this")


def _to_sign_in(request: Request) -> Response:
    if request.headers.get("sec-fetch-site") == "cross-site":
        # A strict cookie is not sent when a link of another site brings somebody here. Coming again from our own
        # page it is, and who is not signed in is then sent to sign in.
        return Response(
            '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0"><title>Loopwright</title>',
            media_type="text/html",
        )
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse("/sign-in?" + urlencode({"next": local_path(here)}), 303)


def _query(params: Mapping[str, str], **changes: object) -> str:
    """A query string: `params` with some set, or removed where None. What is there several times stays so."""
    several = {name: params.getlist(name) for name in params} if isinstance(params, QueryParams) else dict(params)
    merged: dict[str, object] = {**several, **changes}
    return "?" + urlencode({name: value for name, value in merged.items() if value not in (None, "")}, doseq=True)
