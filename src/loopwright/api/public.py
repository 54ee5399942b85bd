"""The rest of `/v1`, and what a load balancer asks."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from loopwright import __version__
from loopwright.api.responses import Responses
from loopwright.app import App
from loopwright.core.errors import BadRequest, LoopwrightError, NotFound, Unauthenticated, UnknownModel
from loopwright.core.who import Principal
from loopwright.kit import wire_out
from loopwright.kit.nearest import hint


def public(app: App) -> Starlette:
    """`/v1/models` in OpenAI's form, `/healthz` and `/readyz`."""
    open_routes = Starlette(
        routes=[
            Route("/v1/models", _models),
            Route("/v1/models/{name:path}", _model),
            Route("/v1/responses/{response_id}", _response, methods=["GET"]),
            Route("/v1/responses/{response_id}", _delete_response, methods=["DELETE"]),
            Route("/healthz", _healthz),
            Route("/readyz", _readyz),
        ],
        exception_handlers={LoopwrightError: _ours, HTTPException: _http},
    )
    open_routes.state.house = app
    return open_routes


def _house(request: Request) -> App:
    app: App = request.app.state.house
    return app


def _who(request: Request) -> Principal:
    given = request.headers.get("authorization")
    scheme, _, secret = ("bearer", "", request.headers.get("x-api-key", "")) if given is None else given.partition(" ")
    found = _house(request).keys.find(secret.strip()) if scheme.lower() == "bearer" else None
    if found is None:
        raise Unauthenticated("this needs a live API key: send it as `Authorization: Bearer lw-…`")
    return found


def _card(app: App, name: str) -> dict[str, object]:
    created = int(app.started_at.timestamp())
    return {"id": name, "object": "model", "created": created, "owned_by": app.targets[name].provider}


async def _models(request: Request) -> Response:
    app, who = _house(request), _who(request)
    return JSONResponse({"object": "list", "data": [_card(app, name) for name in app.targets if who.may_call(name)]})


async def _model(request: Request) -> Response:
    app, who, name = _house(request), _who(request), request.path_params["name"]
    allowed = [known for known in app.targets if who.may_call(known)]
    if name not in allowed:
        raise UnknownModel(f"there is no model {name!r}{hint(name, allowed)}", param="model")
    return JSONResponse(_card(app, name))


async def _response(request: Request) -> Response:
    shown = await Responses(_house(request).calls).shown(_who(request), request.path_params["response_id"])
    return JSONResponse(shown)


async def _delete_response(request: Request) -> Response:
    app, who, response_id = _house(request), _who(request), request.path_params["response_id"]
    call_id = await Responses(app.calls).named(who, response_id)
    await app.forget(project_id=who.project_id, call_id=call_id)
    deleted = {"id": response_id, "object": "response", "deleted": True}
    return JSONResponse(deleted)


async def _healthz(_request: Request) -> Response:
    return JSONResponse({"status": "ok", "version": __version__})


async def _readyz(request: Request) -> Response:
    app = _house(request)
    wrong = []
    if app.spool.full:
        wrong.append("the spool is full: see whether the database and the recorder are up")
    sick = [engine.name for engine in app.engines().values() if not engine.healthy]
    if sick:
        wrong.append(f"engines not ready: {', '.join(sick)}")
    body = {"status": "not ready" if wrong else "ready", "reasons": wrong}
    return JSONResponse(body, 503 if wrong else 200)


async def _ours(_request: Request, error: Exception) -> Response:
    assert isinstance(error, LoopwrightError)
    return JSONResponse(wire_out.error_body(error), error.status)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        wrong: LoopwrightError = BadRequest(
            f"{request.method} is not for {request.url.path}: docs/api.md has the routes"
        )
    else:
        wrong = NotFound(f"there is no {request.method} {request.url.path}: docs/api.md has the routes")
    return JSONResponse(wire_out.error_body(wrong), error.status_code)
