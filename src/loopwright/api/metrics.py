"""`GET /metrics`: how the house is, for Prometheus.

Who may read it says `monitoring.metrics.access`. A request that came through a proxy is not from this machine, wherever
the proxy stands: it needs a key.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from loopwright.api.callers import caller, house, refused
from loopwright.app import App
from loopwright.core.errors import LoopwrightError, Refused
from loopwright.gateway.pulse import Pulse
from loopwright.kit import wire_out
from loopwright.laboratory.figures import Figures

OPERATION: Final = "metrics"
"""What a key that is no administrator's must be allowed, in so many words: figures are of all projects."""
_PROXIED: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")


def metrics(app: App, pulse: Pulse) -> Starlette:
    """The one route, of the process that `pulse` tells of."""
    figures = Figures(app, pulse)

    async def read(request: Request) -> Response:
        check(request)
        text, kind = await figures.text(request.headers.get("accept", ""))
        return Response(text, headers={"content-type": kind, "cache-control": "no-store"})

    routes = Starlette(
        routes=[Route("/metrics", read, methods=["GET"])],
        exception_handlers={LoopwrightError: refused, HTTPException: _elsewhere},
    )
    routes.state.house = app
    return routes


def check(request: Request) -> None:
    """See that whoever asks may read it.

    Raises:
        Unauthenticated: it needs a key, and there is none.
        Refused: the key is not for this.
    """
    access = house(request).settings.monitoring.metrics.access
    if access == "open" or (access == "loopback" and _is_here(request)):
        return
    who = caller(request)
    if not who.admin and OPERATION not in (who.operations or ()):
        raise Refused(
            f"key {who.key_name!r} may not read /metrics, which tells of all projects: use an administrator's, or one "
            f"made with `--operation {OPERATION}`"
        )


def _is_here(request: Request) -> bool:
    """Whether it came from this machine and was meant for it: a page in a browser may name us by a host of its own."""
    if request.client is None or any(name in request.headers for name in _PROXIED):
        return False
    return _is_loopback(request.client.host) and _is_loopback(request.url.hostname or "")


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


async def _elsewhere(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    body = wire_out.error_body(Refused("only GET is for /metrics"))
    return JSONResponse(body, error.status_code)
