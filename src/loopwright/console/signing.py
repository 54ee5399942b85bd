"""Signing in and out, and the choice of light or dark."""

from __future__ import annotations

import secrets

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from loopwright.console.forms import check_same_site, form_of, local_path
from loopwright.console.sessions import COOKIE, LIFETIME, Attempts, matches
from loopwright.console.shell import THEME_COOKIE, THEMES, Shell, Visit
from loopwright.core.errors import Busy, Refused

_NONCE = "loopwright_signin"
_YEAR = 31_536_000


class Signing:
    """The door."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._attempts = Attempts()

    def routes(self) -> list[Route]:
        """Sign in, sign out, theme."""
        return [
            self._shell.route("/sign-in", self._form),
            self._shell.route("/sign-in", self._sign_in, methods=["POST"]),
            self._shell.action("/sign-out", self._sign_out),
            self._shell.action("/theme", self._theme),
        ]

    async def _form(self, request: Request) -> Response:
        onward = local_path(request.query_params.get("next"))
        if self._shell.visit(request) is not None:
            return RedirectResponse(onward, 303)
        return self._show(request, onward)

    def _show(self, request: Request, onward: str, problem: str | None = None, status: int = 200) -> Response:
        # Before there is a session, the form's token belongs to a cookie of its own: nobody can be signed in by
        # another site's form.
        nonce = request.cookies.get(_NONCE) or secrets.token_urlsafe(12)
        context = {"csrf": self._shell.sessions.token(nonce), "onward": onward, "problem": problem}
        response = self._shell.render(request, "sign_in.html", context, status)
        response.set_cookie(_NONCE, nonce, httponly=True, samesite="strict", secure=_secure(request), path="/sign-in")
        return response

    async def _sign_in(self, request: Request) -> Response:
        check_same_site(request.headers, request.url.netloc)
        form = await form_of(request)
        onward = local_path(form.get("next"))
        nonce = request.cookies.get(_NONCE, "")
        if not nonce or not matches(form.get("csrf", ""), self._shell.sessions.token(nonce)):
            raise Refused("the sign-in form is out of date, or cookies are off: open /sign-in and try again")
        address = request.client.host if request.client else ""
        try:
            self._attempts.check(address)
        except Busy as error:
            response = self._show(request, onward, error.message, error.status)
            response.headers["retry-after"] = str(round(error.retry_after or 1))
            return response
        who = self._shell.app.keys.find(form.get("key", "").strip())
        if who is None:
            self._attempts.refused(address)
            return self._show(request, onward, "No live key has this secret. Check that you copied all of it.", 401)
        response = RedirectResponse(onward, 303)
        response.set_cookie(
            COOKIE,
            self._shell.sessions.open(who.key_id),
            max_age=LIFETIME,
            httponly=True,
            samesite="strict",
            secure=_secure(request),
        )
        return response

    async def _sign_out(self, visit: Visit, _form: dict[str, str]) -> Response:
        response = RedirectResponse("/sign-in", 303)
        response.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=_secure(visit.request))
        return response

    async def _theme(self, visit: Visit, form: dict[str, str]) -> Response:
        theme = form.get("theme", "")
        response = RedirectResponse(local_path(form.get("back")), 303)
        response.set_cookie(
            THEME_COOKIE,
            theme if theme in THEMES else "auto",
            max_age=_YEAR,
            samesite="strict",
            secure=_secure(visit.request),
        )
        return response


def _secure(request: Request) -> bool:
    return request.url.scheme == "https"
