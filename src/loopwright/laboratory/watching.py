"""The process that watches: a house of its own, with the same limits and the same record, whose rounds look at calls."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from loopwright.app import App, build
from loopwright.kit.seal import Seal
from loopwright.kit.settings import Settings
from loopwright.laboratory.drifting import Drifting
from loopwright.laboratory.mirroring import Mirroring
from loopwright.laboratory.scoring import Scoring
from loopwright.monitoring.books import Books
from loopwright.monitoring.drawing import Drawing
from loopwright.monitoring.online import Asked, Computed, Online
from loopwright.monitoring.purse import Purse
from loopwright.monitoring.rounds import Round, go_round

_POOL: Final = 20
"""Connections: a round holds one for its turn, and works with others."""


def rounds(app: App, scoring: Scoring) -> Sequence[Round]:
    """All that is done again and again where the road of requests is needed for it."""
    online = Online(
        db=app.db,
        calls=app.calls,
        books=Books(app.db, app.workshop.feedback, Seal.of(app.settings.encryption)),
        plan_of=scoring.plan_of,
        makes=scoring,
        seconds=app.settings.evaluations.evaluator_timeout,
        purse=Purse(app.db),
    )
    return (Drawing(app.db, scoring.plan_of), Computed(online), Asked(online))


async def watch(settings: Settings) -> None:
    """Go round in this process until cancelled.

    Raises:
        StartError: the database does not answer.
    """
    app = await build(replace(settings, database=replace(settings.database, pool=_POOL)))
    watching, scoring, drift = asyncio.create_task(app.watch()), Scoring(app), Drifting(app)
    mirroring = Mirroring(app)
    try:
        await go_round(app.db, [*rounds(app, scoring), *drift.rounds(), *mirroring.rounds()])
    finally:
        await scoring.close()
        await drift.close()
        await mirroring.close()
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await app.close()
