"""The tasks in the database: told, told anew, with their history, and forgotten. Those of the configuration are not here."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg.types.json import Json

from loopwright.core.errors import Conflict, LoopwrightError, NotFound, Spent
from loopwright.kit.db import Connection, Database
from loopwright.kit.settings_json import json_of
from loopwright.tasks.definition import checked
from loopwright.tasks.task import Task, task_of

CHANNEL: Final = "loopwright_tasks"
MOST: Final = 1_000
"""Tasks of a project."""
_KEPT: Final = 500
"""Definitions of one task that are remembered."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What a task was told to be."""

    number: int
    definition: dict[str, Any]
    author: str
    changed_at: datetime


class Tasks:
    """The stored tasks of all projects."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def put(
        self, project_id: int, name: str, definition: object, *, author: str, new: bool = False
    ) -> tuple[Task, bool]:
        """Tell what a task is; whether it was not there before. The same definition again changes nothing.

        Args:
            project_id: whose it is.
            name: how it is called.
            definition: JSON, as `TaskSettings` says.
            author: who tells, for the history.
            new: it must not be there.

        Raises:
            BadRequest: the definition cannot be used; `param` is the place of the fault.
            Conflict: it is there, and `new`.
            Spent: the project has too many tasks.
        """
        settings = await asyncio.to_thread(checked, name, definition)
        document = json_of(settings)
        async with self._db.transaction() as connection:
            await connection.execute(
                b"select pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"tasks of project {project_id}",)
            )
            cursor = await connection.execute(
                b"select * from tasks where project_id = %s and name = %s", (project_id, name)
            )
            before = await cursor.fetchone()
            if before is not None and new:
                raise Conflict(f"there is a task {name!r} already: change it instead", param="name")
            if before is not None and json.dumps(before["definition"]) == json.dumps(document):
                return task_from(before), False
            row = await (
                self._make(connection, project_id, name, document, author)
                if before is None
                else self._change(connection, before, document, author)
            )
            await connection.execute(b"select pg_notify(%s, '')", (CHANNEL,))
        return task_from(row), before is None

    async def _make(
        self, connection: Connection, project_id: int, name: str, document: dict[str, Any], author: str
    ) -> dict[str, Any]:
        cursor = await connection.execute(b"select count(*) as number from tasks where project_id = %s", (project_id,))
        counted = await cursor.fetchone()
        if counted is not None and counted["number"] >= MOST:
            raise Spent(f"the project has {counted['number']} tasks, as many as may be: delete one first")
        cursor = await connection.execute(
            b"insert into tasks (project_id, name, number, definition, author) values (%s, %s, 1, %s, %s) returning *",
            (project_id, name, Json(document), author),
        )
        row = await cursor.fetchone()
        assert row is not None
        await _remember(connection, row)
        return row

    async def _change(
        self, connection: Connection, before: dict[str, Any], document: dict[str, Any], author: str
    ) -> dict[str, Any]:
        cursor = await connection.execute(
            b"update tasks set number = number + 1, definition = %s, author = %s, changed_at = now()"
            b" where id = %s returning *",
            (Json(document), author, before["id"]),
        )
        row = await cursor.fetchone()
        assert row is not None
        await _remember(connection, row)
        return row

    async def delete(self, project_id: int, name: str) -> None:
        """Forget a task and its history; its calls stay on record.

        Raises:
            NotFound: there is none of this name in the project.
        """
        async with self._db.transaction() as connection:
            cursor = await connection.execute(
                b"delete from tasks where project_id = %s and name = %s", (project_id, name)
            )
            if not cursor.rowcount:
                raise NotFound(f"there is no stored task {name[:80]!r} in the project", param="name")
            await connection.execute(b"select pg_notify(%s, '')", (CHANNEL,))

    async def history(self, project_id: int, name: str) -> Sequence[Definition]:
        """What a task was told to be, newest first; empty when it is not stored."""
        rows = await self._db.rows(
            "select d.number, d.definition, d.author, d.changed_at from task_definitions d join tasks t on t.id = d.task_id"
            " where t.project_id = %s and t.name = %s order by d.number desc limit %s",
            (project_id, name, _KEPT),
        )
        return [Definition(**row) for row in rows]

    async def state(self) -> object:
        """Something that differs when any task does."""
        return await self._db.row(
            "select count(*) as tasks, coalesce(sum(id * 1000003 + number), 0) as told, max(changed_at) as last from tasks"
        )

    async def all(self) -> list[Task]:
        """Every stored task that this program can read; one of a newer program is left out, and logged."""
        rows = await self._db.rows("select * from tasks order by name, project_id")
        return await asyncio.to_thread(lambda: [task for row in rows for task in _readable(row)])


def task_from(row: dict[str, Any]) -> Task:
    """A Task from its row.

    Raises:
        BadRequest: this program cannot use it.
    """
    return task_of(
        row["name"],
        checked(row["name"], row["definition"]),
        source="stored",
        project_id=row["project_id"],
        number=row["number"],
        author=row["author"],
        changed_at=row["changed_at"],
    )


def _readable(row: dict[str, Any]) -> list[Task]:
    try:
        return [task_from(row)]
    except LoopwrightError as error:
        _log.error("task %r of project %s cannot be used: %s", row["name"], row["project_id"], error.message)
        return []


async def _remember(connection: Connection, row: dict[str, Any]) -> None:
    await connection.execute(
        b"insert into task_definitions (task_id, number, definition, author, changed_at) values (%s, %s, %s, %s, %s)",
        (row["id"], row["number"], Json(row["definition"]), row["author"], row["changed_at"]),
    )
    await connection.execute(
        b"delete from task_definitions where task_id = %s and number <= %s", (row["id"], row["number"] - _KEPT)
    )
