"""Keys: made once, shown once, kept as hashes, found in memory.

Every process holds the whole table of live keys, so a request never waits for the database and a database outage is
no outage of authentication. A change reaches every process by NOTIFY; a slow poll covers a lost connection.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psycopg

from loopwright.core.errors import BadRequest, Conflict, NotFound, Unavailable
from loopwright.core.who import Principal
from loopwright.kit.db import Database

CHANNEL: Final = "loopwright_keys"
PREFIX: Final = "lw-"
_SHOWN: Final = 9
_POLL: Final = 10.0
_SELECT: Final = """
    select k.id, k.project_id, p.name as project, k.name, k.prefix, k.admin, k.models, k.created_at, k.revoked_at
    from keys k join projects p on p.id = k.project_id
    where (%(id)s::int is null or k.id = %(id)s)
      and (%(project)s::text is null or p.name = %(project)s)
      and (%(revoked)s or k.revoked_at is null)
    order by k.id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key as people see it: never its secret."""

    id: int
    project_id: int
    project: str
    name: str
    prefix: str
    """The first characters of the secret, to recognise it by."""
    admin: bool
    models: tuple[str, ...] | None
    created_at: datetime
    revoked_at: datetime | None


class Keys:
    """The keys in the database, and the live ones in memory."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._live: dict[bytes, Principal] = {}

    def find(self, secret: str | bytes) -> Principal | None:
        """Who holds `secret`; None when nobody does, or no longer. Never asks the database."""
        raw = secret if isinstance(secret, bytes) else secret.encode("utf-8", "surrogatepass")
        return self._live.get(hashlib.sha256(raw).digest())

    def holder(self, key_id: int) -> Principal | None:
        """Who holds a live key of this id."""
        return next((who for who in self._live.values() if who.key_id == key_id), None)

    async def load(self) -> None:
        """Read all live keys into memory.

        Raises:
            Unavailable: the database does not answer; what was known stays known.
        """
        rows = await self._db.rows(
            "select k.hash, k.id, k.name, k.project_id, p.name as project, k.admin, k.models"
            " from keys k join projects p on p.id = k.project_id where k.revoked_at is null"
        )
        self._live = {
            bytes(row["hash"]): Principal(
                key_id=row["id"],
                key_name=row["name"],
                project_id=row["project_id"],
                project=row["project"],
                admin=row["admin"],
                models=None if row["models"] is None else frozenset(row["models"]),
            )
            for row in rows
        }

    async def watch(self) -> None:
        """Keep the table in memory current until cancelled."""

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

    async def create(
        self,
        project: str,
        name: str,
        *,
        admin: bool = False,
        models: tuple[str, ...] | None = None,
        secret: str | None = None,
    ) -> tuple[Key, str]:
        """A new key and its secret, which is not kept and cannot be shown again.

        Args:
            project: name of an existing project.
            name: what people call the key; unique among the project's live keys.
            admin: may manage keys and see every project.
            models: names it may call; None for all.
            secret: an existing secret to adopt (the administrator's, kept in a file); otherwise one is made.

        Raises:
            BadRequest: the name is empty or too long.
            NotFound: no such project.
            Conflict: a live key of the project has the name.
        """
        if not name.strip() or len(name) > 100 or not name.isprintable():
            raise BadRequest("a key needs a name of 1 to 100 printable characters", param="name")
        made = secret or PREFIX + secrets.token_urlsafe(32)
        digest = hashlib.sha256(made.encode()).digest()
        try:
            async with self._db.transaction() as connection:
                cursor = await connection.execute(
                    "insert into keys (project_id, name, prefix, hash, admin, models)"
                    " select id, %s, %s, %s, %s, %s from projects where name = %s returning id",
                    (name, made[:_SHOWN], digest, admin, None if models is None else list(models), project),
                )
                row = await cursor.fetchone()
                await connection.execute("select pg_notify(%s, '')", (CHANNEL,))
        except psycopg.errors.UniqueViolation:
            raise Conflict(f"project {project!r} has a live key named {name!r} already", param="name") from None
        if row is None:
            raise NotFound(f"there is no project {project!r}: create it first", param="project")
        await self.load()
        return await self._one(row["id"]), made

    async def list(self, project: str | None = None, *, revoked: bool = False) -> tuple[Key, ...]:
        """Keys of one project or of all, oldest first; the revoked ones only when asked for."""
        rows = await self._db.rows(_SELECT, {"id": None, "project": project, "revoked": revoked})
        return tuple(_key(row) for row in rows)

    async def revoke(self, key_id: int) -> Key:
        """End a key; requests with it are refused from now on, in every process within moments.

        Raises:
            NotFound: no live key has this id.
        """
        async with self._db.transaction() as connection:
            cursor = await connection.execute(
                "update keys set revoked_at = now() where id = %s and revoked_at is null returning id", (key_id,)
            )
            row = await cursor.fetchone()
            await connection.execute("select pg_notify(%s, '')", (CHANNEL,))
        if row is None:
            raise NotFound(f"there is no live key {key_id}: `loopwright keys list` shows them", param="key_id")
        await self.load()
        return await self._one(key_id)

    async def _one(self, key_id: int) -> Key:
        row = await self._db.row(_SELECT, {"id": key_id, "project": None, "revoked": True})
        assert row is not None
        return _key(row)


def _key(row: dict[str, Any]) -> Key:
    models = row["models"]
    return Key(**{**row, "models": None if models is None else tuple(models)})
