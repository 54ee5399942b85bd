"""What makes answers better, put together: prompts, tasks, datasets, feedback, evaluations, runs. One field of the house.

Each room is a field; `api`, `console` and `cli` reach them as `app.workshop.<room>`.
"""

from __future__ import annotations

from dataclasses import dataclass

from loopwright.kit.db import Database
from loopwright.kit.settings import Settings
from loopwright.runs.store import Runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """The rooms of the workshop, opened."""

    db: Database
    runs: Runs
    """Experiments and what was tried in them."""

    @classmethod
    async def open(cls, db: Database, settings: Settings) -> Workshop:
        """Every room over one database."""
        return cls(db=db, runs=Runs.of(db, settings))

    async def watch(self) -> None:
        """Keep what is held in memory current until cancelled."""
