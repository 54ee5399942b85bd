"""Who asks the management REST, and how its errors read."""

from __future__ import annotations

from typing import Annotated, Any

import psycopg
from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from loopwright.access.audit import Actor
from loopwright.app import App
from loopwright.core.errors import BadRequest, LoopwrightError, NotFound, Refused, Unauthenticated
from loopwright.core.who import Principal
from loopwright.kit import wire_out
from loopwright.kit.db import unfit

_bearer = HTTPBearer(auto_error=False, description="A key made by `loopwright keys create`.")


def house(request: Request) -> App:
    """The App behind this server."""
    app: App = request.app.state.house
    return app


House = Annotated[App, Depends(house)]


def asker(app: House, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> Principal:
    """Who asks.

    Raises:
        Unauthenticated: no key or an unknown one.
    """
    who = app.keys.find(given.credentials) if given is not None else None
    if who is None:
        raise Unauthenticated("this needs a live API key: send it as `Authorization: Bearer lw-…`")
    return who


Asker = Annotated[Principal, Depends(asker)]


def administrator(who: Asker) -> Principal:
    """Who asks, if an administrator.

    Raises:
        Refused: an ordinary key.
    """
    if not who.admin:
        raise Refused(f"key {who.key_name!r} is not an administrator's: use the key in `.loopwright/admin.key`")
    return who


Administrator = Annotated[Principal, Depends(administrator)]


def acting(who: Administrator, request: Request) -> Actor:
    """The administrator who asks, as the audit log names them."""
    return actor(who, request)


Acting = Annotated[Actor, Depends(acting)]


def actor(who: Principal, request: Request) -> Actor:
    """Who asks, and from which address."""
    return Actor(who=who, origin="unknown" if request.client is None else request.client.host)


def scope_of(who: Principal) -> int | None:
    """The project an asker may see; None for all."""
    return None if who.admin else who.project_id


_Project = Annotated[str | None, Query(description="Of this project; only administrators may name another's.")]


async def seen(app: House, who: Asker, *, project: _Project = None) -> int | None:
    """The project whose things are asked for; None is all, which only administrators see.

    Raises:
        NotFound: there is no project of this name, or not for the asker.
    """
    return scope_of(who) if project is None else await owner(app, who, project=project)


async def owner(app: House, who: Asker, *, project: _Project = None) -> int:
    """The project that something is made in: the asker's own, unless an administrator names another.

    Raises:
        NotFound: there is no project of this name, or not for the asker.
    """
    if project is None or project == who.project:
        return who.project_id
    if not who.admin:
        raise NotFound(f"there is no project {project[:80]!r} for key {who.key_name!r}", param="project")
    return (await app.projects.get(project.replace("\x00", ""))).id


Seen = Annotated[int | None, Depends(seen)]
Owner = Annotated[int, Depends(owner)]


def say_errors(api: FastAPI) -> None:
    """Make every error of `api` OpenAI-shaped."""

    async def ours(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, LoopwrightError)
        headers = {} if error.retry_after is None else {"retry-after": str(max(round(error.retry_after), 1))}
        if isinstance(error, Unauthenticated):
            headers["www-authenticate"] = "Bearer"
        return JSONResponse(wire_out.error_body(error), error.status, headers=headers)

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first: dict[str, Any] = dict(error.errors()[0])
        where = [str(part) for part in first["loc"] if part not in {"query", "body", "path"}]
        param = ".".join(where) or None
        if param is None and first["type"] in {"model_attributes_type", "dict_type"}:
            told = "the request: send a JSON object, as `content-type: application/json`"
            return await ours(request, BadRequest(told))
        return await ours(request, BadRequest(f"{param or 'the request'}: {first['msg']}", param=param))

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        if isinstance(error.__cause__, LoopwrightError):  # raised while the body was read
            return await ours(request, error.__cause__)
        if error.status_code == 404:
            return await ours(
                request, NotFound(f"there is no {request.method} {request.url.path}: see /api/openapi.json")
            )
        body = {"error": {"message": error.detail, "type": "invalid_request_error", "code": None, "param": None}}
        return JSONResponse(body, error.status_code, headers=error.headers)

    async def unstorable(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, psycopg.DataError)
        return await ours(request, unfit(error))

    async def unforeseen(request: Request, _error: Exception) -> JSONResponse:
        return await ours(request, LoopwrightError("something failed inside Loopwright: its log says what"))

    api.add_exception_handler(Exception, unforeseen)
    api.add_exception_handler(LoopwrightError, ours)
    api.add_exception_handler(psycopg.DataError, unstorable)
    api.add_exception_handler(RequestValidationError, invalid)
    api.add_exception_handler(HTTPException, http)
