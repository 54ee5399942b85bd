"""Tells every few seconds how this worker sees its routes, so that a page can show what all workers see."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from loopwright.core.errors import Unavailable
from loopwright.gateway.route import Route
from loopwright.kit.db import Database

_EVERY: Final = 3.0
"""Seconds between two tellings."""
_FRESH: Final = 15
"""Seconds after which a worker that tells nothing is taken to be gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one worker said last."""

    worker: UUID
    process: int
    routes: Sequence[Mapping[str, Any]]
    """As `Route.shown`, those that are watched."""


async def telling(db: Database, worker: UUID, routes: Sequence[Route]) -> None:
    """Tell until cancelled; without a route that is watched there is nothing to tell."""
    if not any(route.standings for route in routes):
        return
    while True:
        with suppress(Unavailable):
            await tell(db, worker, routes)
        await asyncio.sleep(_EVERY)


async def tell(db: Database, worker: UUID, routes: Sequence[Route]) -> None:
    """Tell once, and take down what workers long gone have told.

    Raises:
        Unavailable: the database does not answer.
    """
    shown = [route.shown() for route in routes if route.standings]
    await db.run(
        "insert into route_standings (worker, process, routes) values (%s, %s, %s) on conflict (worker) do update"
        " set told_at = now(), process = excluded.process, routes = excluded.routes",
        (worker, os.getpid(), Jsonb(shown)),
    )
    await db.run("delete from route_standings where told_at < now() - interval '1 minute'")


async def told(db: Database, worker: UUID, routes: Sequence[Route]) -> list[Told]:
    """What this worker sees now, and what the others last told.

    Raises:
        Unavailable: the database does not answer.
    """
    rows = await db.rows(
        "select worker, process, routes from route_standings"
        " where worker <> %s and told_at > now() - make_interval(secs => %s) order by worker",
        (worker, _FRESH),
    )
    mine = Told(worker=worker, process=os.getpid(), routes=[route.shown() for route in routes if route.standings])
    return [mine, *(Told(**row) for row in rows)]
