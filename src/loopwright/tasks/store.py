"""The tasks in the database: told, told anew, with their history, and forgotten. Those of the configuration are not here."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from loopwright.core.errors import Conflict, LoopwrightError, NotFound, Spent
from loopwright.kit.db import Connection, Database
from loopwright.kit.seal import PLAIN, Seal
from loopwright.kit.settings_json import json_of
from loopwright.tasks.definition import checked
from loopwright.tasks.task import Task, task_of

CHANNEL: Final = "loopwright_tasks"
MOST: Final = 1_000
"""Tasks of a project."""
_KEPT: Final = 500
"""Definitions of one task that are remembered."""
_SELECT: Final = """
    select t.project_id, t.name, d.task_id, d.number, d.definition, d.author, d.changed_at
    from tasks t join task_definitions d on d.task_id = t.id and d.number = t.number
"""
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

    def __init__(self, db: Database, seal: Seal = PLAIN) -> None:
        self._db = db
        self._seal = seal

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
            Sealed: what it was before cannot be opened.
        """
        settings = await asyncio.to_thread(checked, name, definition)
        document = json.dumps(json_of(settings), ensure_ascii=False).encode()
        async with self._db.transaction() as connection:
            await connection.execute(
                b"select pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"tasks of project {project_id}",)
            )
            query = f"{_SELECT} where t.project_id = %s and t.name = %s".encode()
            cursor = await connection.execute(query, (project_id, name))
            before = await cursor.fetchone()
            if before is not None and new:
                raise Conflict(f"there is a task {name!r} already: change it instead", param="name")
            if before is not None and opened(before, self._seal) == document:
                return task_from(before, self._seal), False
            task_id = await _numbered(connection, project_id, name, known=before is not None)
            await connection.execute(
                b"insert into task_definitions (task_id, number, definition, sealed_by, author)"
                b" select id, number, %s, %s, %s from tasks where id = %s",
                (
                    self._seal.seal(document, about(task_id, 1 if before is None else before["number"] + 1)),
                    self._seal.first,
                    author,
                    task_id,
                ),
            )
            cursor = await connection.execute(query, (project_id, name))
            row = await cursor.fetchone()
            assert row is not None
            await connection.execute(
                b"delete from task_definitions where task_id = %s and number <= %s", (task_id, row["number"] - _KEPT)
            )
            await connection.execute(b"select pg_notify(%s, '')", (CHANNEL,))
        return task_from(row, self._seal), before is None

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
        """What a task was told to be, newest first; empty when it is not stored.

        Raises:
            Sealed: a definition cannot be opened.
        """
        rows = await self._db.rows(
            "select d.task_id, d.number, d.definition, d.author, d.changed_at from task_definitions d"
            " join tasks t on t.id = d.task_id where t.project_id = %s and t.name = %s order by d.number desc",
            (project_id, name),
        )
        return [
            Definition(
                number=row["number"],
                definition=json.loads(opened(row, self._seal)),
                author=row["author"],
                changed_at=row["changed_at"],
            )
            for row in rows
        ]

    async def state(self) -> object:
        """Something that differs when any task does."""
        return await self._db.row(
            "select count(*) as tasks, coalesce(sum(id * 1000003 + number), 0) as told, max(changed_at) as last from tasks"
        )

    async def all(self) -> list[Task]:
        """Every stored task that this program can read; one that it cannot is left out, and logged."""
        rows = await self._db.rows(f"{_SELECT} order by t.name, t.project_id")
        return await asyncio.to_thread(lambda: [task for row in rows for task in _readable(row, self._seal)])


def task_from(row: Mapping[str, Any], seal: Seal) -> Task:
    """A Task from its row.

    Raises:
        BadRequest: this program cannot use it.
        Sealed: it cannot be opened.
    """
    return task_of(
        row["name"],
        checked(row["name"], json.loads(opened(row, seal))),
        source="stored",
        project_id=row["project_id"],
        number=row["number"],
        author=row["author"],
        changed_at=row["changed_at"],
    )


def about(task_id: int, number: int) -> bytes:
    """What a definition is sealed for."""
    return f"task_definitions.definition {task_id} {number}".encode()


def opened(row: Mapping[str, Any], seal: Seal) -> bytes:
    """The definition of a row: JSON."""
    return seal.open(bytes(row["definition"]), about(row["task_id"], row["number"]))


async def _numbered(connection: Connection, project_id: int, name: str, *, known: bool) -> int:
    """The id of a task whose number is that of the definition to come."""
    if known:
        cursor = await connection.execute(
            b"update tasks set number = number + 1, changed_at = now() where project_id = %s and name = %s returning id",
            (project_id, name),
        )
    else:
        cursor = await connection.execute(b"select count(*) as tasks from tasks where project_id = %s", (project_id,))
        counted = await cursor.fetchone()
        if counted is not None and counted["tasks"] >= MOST:
            raise Spent(f"the project has {counted['tasks']} tasks, as many as may be: delete one first")
        cursor = await connection.execute(
            b"insert into tasks (project_id, name, number) values (%s, %s, 1) returning id", (project_id, name)
        )
    row = await cursor.fetchone()
    assert row is not None
    return int(row["id"])


def _readable(row: Mapping[str, Any], seal: Seal) -> list[Task]:
    try:
        return [task_from(row, seal)]
    except LoopwrightError as error:
        _log.error("task %r of project %s cannot be used: %s", row["name"], row["project_id"], error.message)
        return []
