"""The rest of `/v1`, and what a load balancer asks."""

from __future__ import annotations

import psycopg
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from loopwright import __version__
from loopwright.api import batches, files
from loopwright.api.callers import caller, gone, house, refused, unstorable
from loopwright.api.responses import Responses
from loopwright.app import App
from loopwright.core.errors import BadRequest, LoopwrightError, NotFound, UnknownModel
from loopwright.core.who import Principal
from loopwright.kit import wire_out
from loopwright.kit.nearest import hint
from loopwright.tasks.task import PREFIX


def public(app: App) -> Starlette:
    """`/v1/models` in OpenAI's form, `/healthz` and `/readyz`."""
    open_routes = Starlette(
        routes=[
            Route("/v1/models", _models),
            Route("/v1/models/{name:path}", _model),
            Route("/v1/responses/{response_id}", _response, methods=["GET"]),
            Route("/v1/responses/{response_id}", _delete_response, methods=["DELETE"]),
            *files.ROUTES,
            *batches.ROUTES,
            Route("/healthz", _healthz),
            Route("/readyz", _readyz),
        ],
        exception_handlers={
            LoopwrightError: refused,
            HTTPException: _http,
            ClientDisconnect: gone,
            psycopg.DataError: unstorable,
        },
    )
    open_routes.state.house = app
    return open_routes


def _card(app: App, name: str) -> dict[str, object]:
    created = int(app.started_at.timestamp())
    return {"id": name, "object": "model", "created": created, "owned_by": app.targets[name].provider}


def _cards(app: App, who: Principal) -> dict[str, dict[str, object]]:
    """What a key may call: models, and tasks as `task/NAME`."""
    cards = {name: _card(app, name) for name in app.targets if who.may_call(name)}
    for task in app.workshop.held_tasks.listed(who.project_id):
        # By the variants it may be sent to: as the road decides when it is called.
        asked = {model for variant in task.variants.values() if variant.weight for model in variant.models}
        if who.may_have_done(task.name, asked):
            created = int((task.changed_at or app.started_at).timestamp())
            name = PREFIX + task.name
            cards[name] = {"id": name, "object": "model", "created": created, "owned_by": "task"}
    return cards


async def _models(request: Request) -> Response:
    cards = _cards(house(request), caller(request))
    return JSONResponse({"object": "list", "data": [*cards.values()]})


async def _model(request: Request) -> Response:
    name = request.path_params["name"]
    cards = _cards(house(request), caller(request))
    if name not in cards:
        raise UnknownModel(f"there is no model {name!r}{hint(name, cards)}", param="model")
    return JSONResponse(cards[name])


async def _response(request: Request) -> Response:
    shown = await Responses(house(request).calls).shown(caller(request), request.path_params["response_id"])
    return JSONResponse(shown)


async def _delete_response(request: Request) -> Response:
    app, who, response_id = house(request), caller(request), request.path_params["response_id"]
    call_id = await Responses(app.calls).named(who, response_id)
    await app.forget(project_id=who.project_id, call_id=call_id)
    deleted = {"id": response_id, "object": "response", "deleted": True}
    return JSONResponse(deleted)


async def _healthz(_request: Request) -> Response:
    return JSONResponse({"status": "ok", "version": __version__})


async def _readyz(request: Request) -> Response:
    app = house(request)
    wrong = []
    if app.spool.full:
        wrong.append("the spool is full: see whether the database and the recorder are up")
    sick = [engine.name for engine in app.engines().values() if not engine.healthy]
    if sick:
        wrong.append(f"engines not ready: {', '.join(sick)}")
    body = {"status": "not ready" if wrong else "ready", "reasons": wrong}
    return JSONResponse(body, 503 if wrong else 200)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        wrong: LoopwrightError = BadRequest(
            f"{request.method} is not for {request.url.path}: docs/api.md has the routes"
        )
    else:
        wrong = NotFound(f"there is no {request.method} {request.url.path}: docs/api.md has the routes")
    return JSONResponse(wire_out.error_body(wrong), error.status_code)
