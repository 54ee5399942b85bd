"""What is done again and again beside the drain: cheap rounds that ask nobody but the database. On one machine at a time."""

from __future__ import annotations

import platform
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from loopwright.exports.due import Waking, drop_strangers
from loopwright.kit.db import Database
from loopwright.kit.jobs import Jobs, Retry
from loopwright.kit.seal import Seal
from loopwright.kit.settings import Settings
from loopwright.monitoring import alerts_round, watchlist
from loopwright.monitoring.energy_meter import EnergyMeter
from loopwright.monitoring.forgetting import retain_canaries
from loopwright.monitoring.rounds import Round
from loopwright.monitoring.score_rollups import RollUps
from loopwright.monitoring.watchlist import Watchlist
from loopwright.telemetry import emission
from loopwright.telemetry.folding import Folding
from loopwright.telemetry.retention import retain
from loopwright.telemetry.settling import Settling

POOL: Final = 12
"""Connections: a round holds one for its turn, and works with others."""
_KEPT: Final = 400
"""Days that roll-ups of scores are kept."""


def rounds(settings: Settings, db: Database, wake: Callable[[], Awaitable[Any]]) -> Sequence[Round]:
    """All of them; `wake` has the monitor begin."""
    seal = Seal.of(settings.encryption)
    return (
        RollUps(db),
        Watchlist(db, settings.tasks, seal, wake),
        *([Waking(wake)] if settings.exports else []),
        *alerts_round.rounds(settings, db),
        Folding(db, settings.calls.retention_days),
        Settling(db, seal, settings.calls.full_text),
        EnergyMeter(db, settings.home, settings.monitoring.energy, machine=platform.node()),
    )


def enlist_tidying(jobs: Jobs, settings: Settings, db: Database) -> None:
    """Give a recorder the jobs that let go of what was watched, and told by programs, long ago."""

    async def tidy() -> None:
        await RollUps(db).tidy(datetime.now(UTC), _KEPT, worded=settings.calls.retention_days)
        await watchlist.tidy(db)
        await drop_strangers(db, settings.exports)
        await retain_canaries(db, datetime.now(UTC), settings.calls.retention_days)

    async def retain_telemetry() -> None:
        await retain(db, datetime.now(UTC), settings.calls.retention_days)
        await emission.drop_strangers(db, settings.monitoring.otlp)

    jobs.register("telemetry.retain", retain_telemetry, schedule="17 * * * *", retry=Retry(times=3))
    jobs.register("monitoring.tidy", tidy, schedule="31 * * * *", retry=Retry(times=3))
