"""The process that watches: a house of its own, with the same limits and the same record, whose rounds look at calls."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from loopwright.app import App, build
from loopwright.kit.db import Database
from loopwright.kit.settings import Settings
from loopwright.monitoring.rounds import Round, go_round

_POOL: Final = 6


async def wanted(_settings: Settings, _db: Database) -> bool:
    """Whether there is anything to watch here."""
    return False


def rounds(_app: App) -> Sequence[Round]:
    """All that is done again and again where the road of requests is needed for it."""
    return ()


async def watch(settings: Settings) -> None:
    """Go round in this process until cancelled.

    Raises:
        StartError: the database does not answer.
    """
    app = await build(replace(settings, database=replace(settings.database, pool=_POOL)))
    watching = asyncio.create_task(app.watch())
    try:
        await go_round(app.db, rounds(app))
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await app.close()
