"""Who calls a plain route under `/v1`, and what a refusal of one looks like."""

from __future__ import annotations

import psycopg
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from loopwright.app import App
from loopwright.core.errors import LoopwrightError, Refused, Spent, Unauthenticated
from loopwright.core.who import Principal
from loopwright.kit import wire_out
from loopwright.kit.db import unfit


def house(request: Request) -> App:
    """The App behind this server."""
    app: App = request.app.state.house
    return app


def caller(request: Request, operation: str | None = None) -> Principal:
    """Who asks, by `Authorization: Bearer` or `x-api-key`, and may use the route.

    Raises:
        Unauthenticated: no key or an unknown one.
        Refused: it is kept to other routes.
    """
    given = request.headers.get("authorization")
    scheme, _, secret = ("bearer", "", request.headers.get("x-api-key", "")) if given is None else given.partition(" ")
    found = house(request).keys.find(secret.strip()) if scheme.lower() == "bearer" else None
    if found is None:
        raise Unauthenticated("this needs a live API key: send it as `Authorization: Bearer lw-…`")
    if operation is not None and not found.may_use(operation):
        may = ", ".join(sorted(found.operations or ())) or "nothing"
        raise Refused(f"key {found.key_name!r} may not use {operation}; it may use: {may}")
    return found


async def unstorable(request: Request, error: Exception) -> Response:
    """A value that no column takes."""
    assert isinstance(error, psycopg.DataError)
    return await refused(request, unfit(error))


async def refused(_request: Request, error: Exception) -> Response:
    """An error in OpenAI's shape."""
    assert isinstance(error, LoopwrightError)
    headers = {} if error.retry_after is None else {"retry-after": str(max(round(error.retry_after), 1))}
    if isinstance(error, Spent):
        headers["x-should-retry"] = "false"  # OpenAI's SDKs heed it
    return JSONResponse(wire_out.error_body(error), error.status, headers=headers)


async def gone(_request: Request, error: Exception) -> Response:
    """The client hung up while it was sending: nobody reads this."""
    assert isinstance(error, ClientDisconnect)
    return Response(status_code=400)
