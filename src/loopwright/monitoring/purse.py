"""Budgets of online evaluation: money is set aside before a judge is asked, in the database, so they hold on all machines."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from loopwright.core.money import NANO
from loopwright.kit.db import Database
from loopwright.kit.settings_monitor import MonitorBudgetSettings

_UNKNOWN: Final = 20_000_000
"""Nanodollars that are set aside for a judgement whose price nobody knows yet: two cents."""
_MARGIN: Final = 1.25
_HOLD: Final = """
    insert into monitor_spend as m (project_id, task, day, nano, engine_us)
    select %(project)s, %(task)s, %(day)s, %(nano)s, 0 where %(budget)s::bigint is null or %(nano)s <= %(budget)s
    on conflict (project_id, task, day) do update set nano = m.nano + excluded.nano
        where (%(budget)s::bigint is null or m.nano + excluded.nano <= %(budget)s)
          and (%(engine)s::bigint is null or m.engine_us < %(engine)s)
    returning nano
"""


@dataclass(slots=True)
class Purse:
    """Sets money aside. What was set aside by who died before it was spent counts as spent: nobody knows better."""

    db: Database
    dearest: dict[tuple[int, str, str], int] = field(default_factory=dict)
    """Nanodollars by (project, task, evaluator): the most that one finding cost since this process began."""
    unpriced: set[tuple[int, str, str]] = field(default_factory=set)
    """Judges whose answers have no price."""
    flying: Counter[tuple[int, str]] = field(default_factory=Counter)
    """Questions of each task that money is set aside for now: what they do not need comes back."""

    async def hold(
        self, budget: MonitorBudgetSettings, key: tuple[int, str, str], day: date, *, costs: bool
    ) -> int | None:
        """Nanodollars that were set aside; None when the budget of the day leaves none, or no time of engines.

        Raises:
            Unavailable: the database cannot answer now.
        """
        project_id, task, _ = key
        most = None if budget.usd is None else round(budget.usd * NANO)
        nano = round(self.dearest.get(key, _UNKNOWN) * _MARGIN) if costs and most is not None else 0
        if most is not None and key not in self.dearest:
            nano = min(nano, most)
        engine = None if budget.engine_seconds is None else round(budget.engine_seconds * 1e6)
        if engine == 0 or (most == 0 and costs):
            return None
        row = await self.db.row(
            _HOLD,
            {"project": project_id, "task": task, "day": day, "nano": nano, "budget": most, "engine": engine},
        )
        if row is None:
            return None
        if nano:
            self.flying[project_id, task] += 1
        return nano

    def landed(self, project_id: int, task: str, nano: int) -> None:
        """What was set aside is spent, or came back."""
        if nano:
            self.flying[project_id, task] -= 1

    async def give_back(self, project_id: int, task: str, day: date, nano: int) -> None:
        """What was set aside and not spent."""
        if nano:
            await self.db.run(
                "update monitor_spend set nano = nano - %s where project_id = %s and task = %s and day = %s",
                (nano, project_id, task, day),
            )

    def learn(self, key: tuple[int, str, str], nano: int | None, *, foreign: bool) -> None:
        """What a finding cost; None is unpriced, which of an engine of ours is nothing."""
        if nano is None:
            if foreign:
                self.unpriced.add(key)
        else:
            self.dearest[key] = max(self.dearest.get(key, 0), nano)
