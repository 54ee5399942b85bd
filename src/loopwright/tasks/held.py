"""The tasks this process can be called by: those of the configuration for every project, those stored for theirs.

In memory, so a call waits for no database. A change reaches every process by NOTIFY; a slow poll covers a lost
connection. Of a name that both have, the configuration's holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from loopwright.core.errors import Unavailable, UnknownModel
from loopwright.kit.db import Database
from loopwright.kit.nearest import hint
from loopwright.kit.seal import PLAIN, Seal
from loopwright.kit.settings_tasks import TaskSettings
from loopwright.tasks.store import CHANNEL, Tasks
from loopwright.tasks.task import PREFIX, Task, task_of

_POLL: Final = 10.0
_NONE: Final[Mapping[str, Task]] = {}


class Held:
    """Finds tasks."""

    def __init__(self, db: Database, configured: Mapping[str, TaskSettings], seal: Seal = PLAIN) -> None:
        self._db = db
        self._stored = Tasks(db, seal)
        self.configured: Mapping[str, Task] = {name: task_of(name, said) for name, said in configured.items()}
        """Those of the configuration, which nothing else changes."""
        self._of_project: dict[int, dict[str, Task]] = {}
        self._state: object = None

    def find(self, project_id: int, name: str) -> Task:
        """A task by its name. Never asks the database.

        Raises:
            UnknownModel: there is none; names the nearest.
        """
        found = self.configured.get(name) or self._of_project.get(project_id, _NONE).get(name)
        if found is None:
            known = [PREFIX + each for each in self._names(project_id)]
            raise UnknownModel(f"there is no task {name[:80]!r}{hint(PREFIX + name, known)}", param="model")
        return found

    def listed(self, project_id: int | None) -> list[Task]:
        """The tasks of a project by name, those of the configuration among them; None is of every project."""
        stored = [
            task
            for project, tasks in self._of_project.items()
            if project_id in (None, project)
            for task in tasks.values()
            if task.name not in self.configured
        ]
        return sorted((*self.configured.values(), *stored), key=lambda task: (task.name, task.project_id or 0))

    def _names(self, project_id: int) -> set[str]:
        return self.configured.keys() | self._of_project.get(project_id, _NONE).keys()

    async def load(self) -> None:
        """Read all stored tasks into memory, if any has changed.

        Raises:
            Unavailable: the database does not answer; what was known stays known.
        """
        state = await self._stored.state()
        if state == self._state:
            return
        found: dict[int, dict[str, Task]] = {}
        for task in await self._stored.all():
            found.setdefault(task.project_id or 0, {})[task.name] = task
        self._of_project, self._state = found, state

    async def watch(self) -> None:
        """Keep them current until cancelled."""

        async def heard(_payload: str) -> None:
            await self._reload()

        async with asyncio.TaskGroup() as group:
            group.create_task(self._db.listen(CHANNEL, heard, reconnected=self._reload))
            group.create_task(self._poll())

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(_POLL)
            await self._reload()

    async def _reload(self) -> None:
        with suppress(Unavailable):
            await self.load()
