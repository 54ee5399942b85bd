"""Whether there is anything to watch: asked every minute, and before anything of what watches is there."""

from __future__ import annotations

from loopwright.kit.db import Database
from loopwright.kit.settings import Settings
from loopwright.monitoring.watchlist import waiting


async def wanted(settings: Settings, db: Database) -> bool:
    """Whether there is anything to watch here."""
    return bool(settings.exports) or await waiting(db) or await drifting(settings, db)


async def drifting(settings: Settings, db: Database) -> bool:
    """Whether anything is watched for drift, or replayed."""
    if settings.monitoring.drift.watch:
        return True
    row = await db.row("select exists (select from drift_watches) or exists (select from canaries) as wanted")
    return row is not None and bool(row["wanted"])
