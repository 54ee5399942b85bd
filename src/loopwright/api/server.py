"""One port for everything: the hot routes on the fast lane, REST under `/api`, the console at the rest."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute

from loopwright.api.asgi import AsgiExchange
from loopwright.api.exchange import Exchange, Given
from loopwright.api.hot import HotRoutes
from loopwright.api.lane import lane
from loopwright.api.later import Asgi, Later
from loopwright.api.limited import Limited
from loopwright.api.messages import Counting
from loopwright.api.otlp import otlp
from loopwright.api.public import public
from loopwright.api.rest import Rest
from loopwright.api.spoken import dialects
from loopwright.app import App
from loopwright.gateway.pulse import Pulse

Console = Callable[[App], Sequence[BaseRoute]]
"""Makes its routes."""
KEEP_ALIVE = 75
"""Seconds an idle connection stays open: longer than the SDKs and load balancers keep theirs."""
_YOUNG: Final = 10_000
"""Objects more than there were before the collector looks at them; Python's 700 are a handful of requests in flight."""


@dataclass(frozen=True, slots=True)
class Door:
    """What the fast lane leads to."""

    hot: HotRoutes
    others: Mapping[str, Callable[[Exchange], Awaitable[None]]]
    """What is answered without taking the road, by path."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Those that are answered here."""
        return (*self.hot.dialects, *self.others)

    def answer(self, exchange: Exchange) -> Awaitable[None]:
        """Take an exchange to its end."""
        other = self.others.get(exchange.path)
        return self.hot.answer(exchange) if other is None else other(exchange)

    def at_once(self, exchange: Exchange, raw: bytes) -> Given | None:
        """The answer to an exchange with the body `raw`, if it is there already."""
        return self.hot.at_once(exchange, raw)


def routes(app: App) -> Door:
    """The hot routes over `app`."""
    hot = HotRoutes(
        chat=app.chat, dialects=dialects(app), find=app.keys.find, refusals=app.recorded, repeated=app.repeated
    )
    counting = Counting(who=hot.who, models=app.targets.keys(), counters=app.counters, tasks=app.prompted)
    others: dict[str, Callable[[Exchange], Awaitable[None]]] = {
        "/v1/messages/count_tokens": counting.answer,
    }
    return Door(hot, others)


def asgi(app: App, door: Door, console: Console, pulse: Pulse) -> Asgi:
    """Everything as one ASGI application; the hot routes are here too, for servers without the fast lane."""
    limit, alone = app.settings.server.body_limit, asyncio.Lock()
    rest = Limited(Rest(app, alone), limit)
    open_routes = public(app)
    telemetry = otlp(app)
    told = Later(partial(_figures, app, pulse), alone)
    pages = Limited(Later(partial(_pages, app, console), alone), limit)
    hot_paths = frozenset(door.paths)

    async def dispatch(scope: Any, receive: Any, send: Any) -> None:
        path = scope.get("path", "")
        if path in hot_paths and scope["method"] == "POST":
            exchange = AsgiExchange(
                scope,
                receive,
                send,
                body_limit=limit,
                body_timeout=app.settings.server.body_timeout,
            )
            try:
                await door.answer(exchange)
            finally:
                await exchange.close()
        elif path.startswith("/api/"):
            await rest(scope, receive, send)
        elif path.startswith("/otlp/"):
            await telemetry(scope, receive, send)
        elif path == "/metrics":
            await told(scope, receive, send)
        elif path.startswith("/v1/") or path in {"/healthz", "/readyz"}:
            await open_routes(scope, receive, send)
        else:
            await pages(scope, receive, send)

    return dispatch


def _figures(app: App, pulse: Pulse) -> Asgi:
    made: Asgi = import_module("loopwright.api.metrics").metrics(app, pulse)
    return made


def _pulse(app: App) -> Pulse:
    return Pulse(
        folder=app.settings.home / "metrics",
        role="gateway",
        meters=app.meters,
        routes=app.routes,
        tell=lambda: {"cache_entries": len(app.cache.memory), "cache_bytes": app.cache.memory.bytes},
        counts=lambda: {"cache_misses": app.cache.tally.total.misses},
    )


def _pages(app: App, console: Console) -> Asgi:
    made = Starlette(routes=list(console(app)))
    made.state.house = app
    return made


async def serve(app: App, listening: socket.socket, console: Console) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is being answered (for `server.drain_timeout` at most)."""
    server = app.settings.server
    door, pulse = routes(app), _pulse(app)
    config = uvicorn.Config(
        asgi(app, door, console, pulse),
        http=lane(
            door.answer,
            {path: path for path in door.paths},
            body_limit=server.body_limit,
            body_timeout=server.body_timeout,
            at_once=None if app.repeated is None else door.at_once,
        ),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=int(server.drain_timeout),
        backlog=4096,
    )
    # What exists now lives as long as the process: the collector need not look at it again (15-20 % of CPU).
    gc.collect()
    gc.freeze()
    # A request in flight is some hundred objects, none of which is garbage.
    gc.set_threshold(_YOUNG)
    # Every layer of the road closes what it opens, so nobody need keep a list of all answers that have begun.
    sys.set_asyncgen_hooks(firstiter=None)
    await watched(uvicorn.Server(config), _both(app.watch(), pulse.run()), listening)


async def _both(*each: Coroutine[Any, Any, None]) -> None:
    async with asyncio.TaskGroup() as group:
        for one in each:
            group.create_task(one)


async def watched(server: uvicorn.Server, watch: Coroutine[Any, Any, None], listening: socket.socket) -> None:
    """Serve while `watch` keeps what is held in memory current; when it fails, finish what is being answered and fail.

    A worker whose watch has ended would go on with keys that were revoked and limits that nobody renews: its supervisor
    starts another one.
    """
    watching = asyncio.create_task(watch)
    watching.add_done_callback(lambda _: setattr(server, "should_exit", True))
    try:
        await server.serve(sockets=[listening])
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
