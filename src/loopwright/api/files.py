"""OpenAI's files: `/v1/files`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO, Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from loopwright.access.audit import Actor
from loopwright.api.callers import caller, house
from loopwright.api.lines import check_kept
from loopwright.batches.files import NewFile
from loopwright.core.errors import BadRequest
from loopwright.core.who import Principal
from loopwright.kit.multipart import Form, receive

_PIECE: Final = 1 << 18
_MOST: Final = 10_000


def whole_number(given: str | None, default: int, most: int, param: str = "limit") -> int:
    """A number of a query.

    Raises:
        BadRequest: it is none from 1 to `most`.
    """
    if given is None or given == "":
        return default
    if not given.isascii() or not given.isdigit() or len(given) > 9 or not 1 <= int(given) <= most:
        raise BadRequest(f"{param}: a whole number from 1 to {most}", param=param)
    return int(given)


def acting(who: Principal, request: Request) -> Actor:
    """Who asks, and from which address, as the audit log names them."""
    return Actor(who=who, origin="unknown" if request.client is None else request.client.host)


async def _create(request: Request) -> Response:
    app, who = house(request), caller(request, "files")
    check_kept(app, who)
    files = app.batches.files
    room = await files.room(who.project_id)
    form = await receive(request, files.blobs, limit=room, patience=app.settings.server.body_timeout)
    if form.filename is None:
        raise BadRequest("file: is required", param="file")
    try:
        seconds = _seconds(form)
    except BadRequest:
        await files.drop(form.blob)
        raise
    made = await files.add(
        NewFile(
            project_id=who.project_id,
            key_id=who.key_id,
            filename=form.filename,
            purpose=form.fields.get("purpose", ""),
            bytes=form.size,
            blob=form.blob,
            seconds=seconds,
        )
    )
    return JSONResponse(made.shown())


def _seconds(form: Form) -> int | None:
    """What `expires_after` says."""
    given = form.fields.get("expires_after[seconds]")
    anchor = form.fields.get("expires_after[anchor]")
    if given is None and anchor is None:
        return None
    if anchor != "created_at":
        raise BadRequest("expires_after.anchor: only created_at is allowed", param="expires_after")
    return whole_number(given, 0, 10**9, "expires_after.seconds")


async def _list(request: Request) -> Response:
    app, who, query = house(request), caller(request, "files"), request.query_params
    order = query.get("order", "desc")
    if order not in {"asc", "desc"}:
        raise BadRequest("order: asc or desc", param="order")
    limit = whole_number(query.get("limit"), _MOST, _MOST)
    found = await app.batches.files.list(
        who.project_id,
        purpose=query.get("purpose") or None,
        after=query.get("after") or None,
        limit=limit + 1,
        order="asc" if order == "asc" else "desc",
    )
    return JSONResponse(page([file.shown() for file in found], limit))


def page(shown: list[dict[str, Any]], limit: int) -> dict[str, Any]:
    """A page in OpenAI's form; `shown` has one more than `limit` when there are more."""
    data = shown[:limit]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": len(shown) > limit,
    }


async def _get(request: Request) -> Response:
    app, who = house(request), caller(request, "files")
    return JSONResponse(
        (await app.batches.files.get(request.path_params["file_id"], project_id=who.project_id)).shown()
    )


async def _delete(request: Request) -> Response:
    app, who = house(request), caller(request, "files")
    file = await app.batches.files.get(request.path_params["file_id"], project_id=who.project_id)
    told = {"purpose": file.purpose, "bytes": file.bytes}
    await app.audit.note(acting(who, request), "file.delete", file.id, told, project_id=who.project_id)
    await app.batches.files.delete(file.id, project_id=who.project_id)
    return JSONResponse({"id": file.id, "object": "file", "deleted": True})


async def _content(request: Request) -> Response:
    app, who = house(request), caller(request, "files")
    file = await app.batches.files.get(request.path_params["file_id"], project_id=who.project_id)
    opened = await app.batches.files.open(file)
    # Whatever a client uploaded, no browser may take it for a page of this house.
    headers = {
        "content-length": str(file.bytes),
        "content-disposition": _attachment(file.filename),
        "x-content-type-options": "nosniff",
        "content-security-policy": "sandbox; default-src 'none'",
        "cache-control": "private, no-store",
    }
    return StreamingResponse(_pieces(opened), headers=headers, media_type="application/octet-stream")


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while piece := file.read(_PIECE):
            yield piece


def _attachment(filename: str) -> str:
    plain = "".join(char if (char.isalnum() and char.isascii()) or char in "._-" else "_" for char in filename)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"


ROUTES: Final = (
    Route("/v1/files", _create, methods=["POST"]),
    Route("/v1/files", _list, methods=["GET"]),
    Route("/v1/files/{file_id}", _get, methods=["GET"]),
    Route("/v1/files/{file_id}", _delete, methods=["DELETE"]),
    Route("/v1/files/{file_id}/content", _content, methods=["GET"]),
)
