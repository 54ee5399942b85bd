"""Keeps in the database which tasks are watched, for the drain; and has the process that scores begin when calls came."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from loopwright.kit.db import Database
from loopwright.kit.seal import PLAIN, Seal
from loopwright.kit.settings_tasks import TaskSettings
from loopwright.monitoring.arriving import EVERYWHERE
from loopwright.tasks.store import Tasks

_WAITING: Final = """
    select exists (select from monitor_arrivals) or exists (select from monitor_due where after <= now()) as waits
"""
_DROP: Final = b"""
    delete from monitor_tasks t where not exists (
        select from unnest(%s::int[], %s::text[]) as w (project_id, task) where w.project_id = t.project_id and w.task = t.task)
"""
_ADD: Final = b"""
    insert into monitor_tasks (project_id, task) select * from unnest(%s::int[], %s::text[]) on conflict do nothing
"""


async def waiting(db: Database) -> bool:
    """Whether calls wait to be drawn or scored now."""
    row = await db.row(_WAITING)
    return row is not None and bool(row["waits"])


@dataclass(slots=True)
class Watchlist:
    """The round beside the drain. A task that is watched from now on has its calls noted two seconds later."""

    name: ClassVar[str] = "monitoring.watchlist"
    every: ClassVar[float] = 2.0
    db: Database
    configured: Mapping[str, TaskSettings]
    seal: Seal = PLAIN
    wake: Callable[[], Awaitable[Any]] | None = None
    """Has the monitor begin."""
    state: object = field(default=None, init=False)

    async def __call__(self) -> None:
        """Look what is watched now, and whether there is something to do."""
        stored = Tasks(self.db, self.seal)
        state = await stored.state()
        if state != self.state:
            told = [(EVERYWHERE, name) for name, task in self.configured.items() if task.monitor is not None]
            told += [
                (task.project_id or 0, task.name)
                for task in await stored.all()
                if task.monitor is not None and task.name not in self.configured
            ]
            projects, names = [project for project, _ in told], [name for _, name in told]
            async with self.db.transaction() as connection:
                await connection.execute(_DROP, (projects, names))
                await connection.execute(_ADD, (projects, names))
            self.state = state
        if self.wake is not None and await waiting(self.db):
            await self.wake()


async def tidy(db: Database) -> None:
    """Let go of what is long past: of strata after two days, of counts and spending after 400. For an hourly job.

    Raises:
        Unavailable: the database cannot answer now.
    """
    await db.run("delete from monitor_strata where bucket < now() - interval '2 days'")
    await db.run("delete from monitor_counts where hour < now() - interval '400 days'")
    await db.run("delete from monitor_spend where day < current_date - 400")
    await forget_faults(db)


async def forget_faults(db: Database) -> None:
    """Let go of the words of evaluators about calls that are not there any more: they may quote them."""
    await db.run("delete from monitor_faults f where not exists (select from calls c where c.id = f.call_id)")
