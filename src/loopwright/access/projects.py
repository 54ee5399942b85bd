"""Projects: the tenants of a house."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from loopwright.access.audit import BY_HOUSE, Actor, note
from loopwright.core.errors import BadRequest, Conflict, NotFound
from loopwright.kit.db import Database
from loopwright.kit.nearest import hint

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A tenant."""

    id: int
    name: str
    created_at: datetime


class Projects:
    """The projects in the database."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def create(self, name: str, *, by: Actor = BY_HOUSE) -> Project:
        """A new project.

        Raises:
            BadRequest: the name is not usable.
            Conflict: there is one of that name.
        """
        if not _NAME.fullmatch(name):
            raise BadRequest(
                f"project name {name!r} is not usable: lower-case letters, digits, '.', '_' and '-', at most 63",
                param="name",
            )
        try:
            async with self._db.transaction() as connection:
                cursor = await connection.execute(
                    "insert into projects (name) values (%s) returning id, name, created_at", (name,)
                )
                row = await cursor.fetchone()
                assert row is not None
                await note(connection, by, "project.create", f"project {name}", {}, project_id=row["id"])
        except psycopg.errors.UniqueViolation:
            raise Conflict(f"there is a project {name!r} already", param="name") from None
        return _project(row)

    async def list(self) -> tuple[Project, ...]:
        """All projects, by name."""
        rows = await self._db.rows("select id, name, created_at from projects order by name")
        return tuple(_project(row) for row in rows)

    async def get(self, name: str) -> Project:
        """One project by name.

        Raises:
            NotFound: names the nearest.
        """
        row = await self._db.row("select id, name, created_at from projects where name = %s", (name,))
        if row is None:
            names = [project.name for project in await self.list()]
            raise NotFound(f"there is no project {name!r}{hint(name, names)}", param="project")
        return _project(row)


def _project(row: dict[str, Any] | None) -> Project:
    assert row is not None
    return Project(id=row["id"], name=row["name"], created_at=row["created_at"])
