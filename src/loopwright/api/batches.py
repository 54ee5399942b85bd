"""OpenAI's batches under `/v1/batches`. Those of all projects, under `/api/batches`, are in `batch_list.py`."""

from __future__ import annotations

from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from loopwright.api.callers import caller, house
from loopwright.api.files import acting, page, whole_number
from loopwright.api.lines import check_kept
from loopwright.api.spoken import dialects
from loopwright.app import App
from loopwright.batches.files import LONGEST, SHORTEST
from loopwright.core.errors import BadRequest, Refused, TooLarge
from loopwright.core.who import Principal
from loopwright.kit import wire

_BODY: Final = 1_000_000
_MOST: Final = 100


class _Expiry(msgspec.Struct):
    anchor: str
    seconds: int


class _New(msgspec.Struct):
    """What `POST /v1/batches` takes."""

    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: dict[str, str] | None = None
    output_expires_after: _Expiry | None = None


NEW: Final[type] = _New
"""What a body is read as."""
_NEW: Final = msgspec.json.Decoder(_New)


async def _create(request: Request) -> Response:
    app, who = house(request), caller(request, "batches")
    check_kept(app, who)
    new = wire.decoded(_NEW, await _body(request))
    if new.completion_window != "24h":
        raise BadRequest("completion_window: only 24h is allowed", param="completion_window")
    expiry = new.output_expires_after
    if expiry is not None and (expiry.anchor != "created_at" or not SHORTEST <= expiry.seconds <= LONGEST):
        raise BadRequest(
            f"output_expires_after: anchor created_at, and seconds from {SHORTEST} to {LONGEST}",
            param="output_expires_after",
        )
    _check_endpoint(app, who, new.endpoint)
    batch = await app.batches.create(
        who,
        input_file_id=new.input_file_id,
        endpoint=new.endpoint,
        metadata=new.metadata,
        output_seconds=None if expiry is None else expiry.seconds,
    )
    told = {"endpoint": batch.endpoint, "input_file_id": batch.input_file_id}
    await app.audit.note(acting(who, request), "batch.create", batch.id, told, project_id=who.project_id)
    return JSONResponse(batch.shown())


def _check_endpoint(app: App, who: Principal, endpoint: str) -> None:
    dialect = dialects(app).get(endpoint)
    if dialect is not None and not who.may_use(dialect.operation):
        raise Refused(f"key {who.key_name!r} may not use {dialect.operation}, so neither in a batch", param="endpoint")


async def _body(request: Request) -> bytes:
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > _BODY:
            raise TooLarge(f"the request body is over {_BODY:,} bytes: the requests belong into the input file")
        pieces.append(piece)
    return b"".join(pieces)


async def _list(request: Request) -> Response:
    app, who, query = house(request), caller(request, "batches"), request.query_params
    limit = whole_number(query.get("limit"), 20, _MOST)
    found = await app.batches.list(project_id=who.project_id, after=query.get("after") or None, limit=limit + 1)
    return JSONResponse(page([batch.shown() for batch in found], limit))


async def _get(request: Request) -> Response:
    app, who = house(request), caller(request, "batches")
    return JSONResponse((await app.batches.show(request.path_params["batch_id"], project_id=who.project_id)).shown())


async def _cancel(request: Request) -> Response:
    app, who = house(request), caller(request, "batches")
    batch = await app.batches.show(request.path_params["batch_id"], project_id=who.project_id)
    await app.audit.note(acting(who, request), "batch.cancel", batch.id, {}, project_id=batch.project_id)
    return JSONResponse((await app.batches.cancel(batch.id, project_id=who.project_id)).shown())


ROUTES: Final = (
    Route("/v1/batches", _create, methods=["POST"]),
    Route("/v1/batches", _list, methods=["GET"]),
    Route("/v1/batches/{batch_id}", _get, methods=["GET"]),
    Route("/v1/batches/{batch_id}/cancel", _cancel, methods=["POST"]),
)
