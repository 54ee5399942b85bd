"""Keys: made once, shown once, kept as hashes, found in memory.

Every process holds the whole table of live keys, so a request never waits for the database and a database outage is
no outage of authentication. A change reaches every process by NOTIFY; a slow poll covers a lost connection.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg

from loopwright.access.audit import BY_HOUSE, Actor, note
from loopwright.access.labels import check_labels
from loopwright.core.errors import BadRequest, Conflict, NotFound, Unavailable
from loopwright.core.who import Principal
from loopwright.kit.db import Database

CHANNEL: Final = "loopwright_keys"
PREFIX: Final = "lw-"
OPERATIONS: Final = (
    "chat", "completion", "embeddings", "responses", "messages", "files", "batches", "moderations", "rerank",
    "telemetry", "metrics",
)  # fmt: skip
"""Routes of /v1 that a key may be kept to, `telemetry` for those of /otlp and `metrics` for /metrics."""
_SHOWN: Final = 9
_POLL: Final = 10.0
_SELECT: Final = """
    select k.id, k.project_id, p.name as project, k.name, k.prefix, k.admin, k.models, k.tasks, k.operations,
        k.labels, k.created_at, k.expires_at, k.revoked_at,
        (select max(o.expires_at) from key_secrets o where o.key_id = k.id and o.expires_at > now()) as overlaps_until
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
    tasks: tuple[str, ...] | None
    operations: tuple[str, ...] | None
    labels: tuple[str, ...] | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    overlaps_until: datetime | None
    """To when a secret that rotation has replaced still opens; None when none does."""


class Keys:
    """The keys in the database, and the live ones in memory."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._live: dict[bytes, Principal] = {}

    def find(self, secret: str | bytes) -> Principal | None:
        """Who holds `secret`; None when nobody does, or no longer. Never asks the database."""
        raw = secret if isinstance(secret, bytes) else secret.encode("utf-8", "surrogatepass")
        who = self._live.get(hashlib.sha256(raw).digest())
        return None if who is not None and who.until is not None and who.until <= time.time() else who

    def holder(self, key_id: int) -> Principal | None:
        """Who holds a live key of this id."""
        return next((who for who in self._live.values() if who.key_id == key_id), None)

    async def load(self) -> None:
        """Read all live keys into memory.

        Raises:
            Unavailable: the database does not answer; what was known stays known.
        """
        rows = await self._db.rows(
            "select s.hash, k.id, k.name, k.project_id, p.name as project, k.admin, k.models, k.tasks, k.operations,"
            " k.labels,"
            " least(k.expires_at, s.expires_at) as until"
            " from keys k join projects p on p.id = k.project_id cross join lateral ("
            "  select k.hash, null::timestamptz as expires_at"
            "  union all select o.hash, o.expires_at from key_secrets o where o.key_id = k.id) s"
            " where k.revoked_at is null"
        )
        self._live = {
            bytes(row["hash"]): Principal(
                key_id=row["id"],
                key_name=row["name"],
                project_id=row["project_id"],
                project=row["project"],
                admin=row["admin"],
                models=_set(row["models"]),
                tasks=_set(row["tasks"]),
                operations=_set(row["operations"]),
                labels=_set(row["labels"]),
                until=None if row["until"] is None else row["until"].timestamp(),
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
        tasks: tuple[str, ...] | None = None,
        operations: tuple[str, ...] | None = None,
        labels: tuple[str, ...] | None = None,
        expires_at: datetime | None = None,
        secret: str | None = None,
        by: Actor = BY_HOUSE,
    ) -> tuple[Key, str]:
        """A new key and its secret, which is not kept and cannot be shown again.

        Args:
            project: name of an existing project.
            name: what people call the key; unique among the project's live keys.
            admin: may manage keys and see every project.
            models: names it may call; None for all.
            tasks: tasks it may call; None for all.
            operations: routes of /v1 it may use, by the names in `OPERATIONS`; None for all.
            labels: of documents with labels it finds those with one of these; None for all.
            expires_at: when it ends by itself; None for never.
            by: who makes it.
            secret: an existing secret to adopt (the administrator's, kept in a file); otherwise one is made.

        Raises:
            BadRequest: the name is empty or too long, an operation or label is none, the end lies behind us.
            NotFound, Conflict: no such project; a live key of it has the name.
        """
        _check(name, operations, expires_at)
        labels = None if labels is None else check_labels(labels)
        made = secret or PREFIX + secrets.token_urlsafe(32)
        digest = hashlib.sha256(made.encode()).digest()
        scopes = {"models": models, "tasks": tasks, "operations": operations, "labels": labels}
        told = {"name": name, "prefix": made[:_SHOWN], **_rights(scopes, admin=admin, ends=expires_at)}
        try:
            async with self._db.transaction() as connection:
                cursor = await connection.execute(
                    "insert into keys (project_id, name, prefix, hash, admin, models, tasks, operations, labels, expires_at)"
                    " select id, %s, %s, %s, %s, %s, %s, %s, %s, %s from projects where name = %s"
                    " returning id, project_id",
                    (name, made[:_SHOWN], digest, admin, *map(_list, scopes.values()), expires_at, project),
                )
                row = await cursor.fetchone()
                if row is not None:
                    await note(connection, by, "key.create", f"key {row['id']}", told, project_id=row["project_id"])
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

    async def rotate(
        self, key_id: int, *, overlap: timedelta = timedelta(hours=24), by: Actor = BY_HOUSE
    ) -> tuple[Key, str]:
        """A new secret for a key; the one it had opens for `overlap` more. Limits and records go on as they are.

        Secrets of rotations before end at once when `overlap` is zero, else when they were to end.

        Raises:
            BadRequest: an overlap below zero or over a year.
            NotFound: no live key has this id.
        """
        if not timedelta(0) <= overlap <= timedelta(days=366):
            raise BadRequest("overlap: from zero to a year", param="overlap")
        made = PREFIX + secrets.token_urlsafe(32)
        digest = hashlib.sha256(made.encode()).digest()
        async with self._db.transaction() as connection:
            if overlap:
                await connection.execute(
                    "insert into key_secrets (hash, key_id, expires_at)"
                    " select hash, id, now() + %s from keys where id = %s and revoked_at is null for update",
                    (overlap, key_id),
                )
            else:
                await connection.execute("delete from key_secrets where key_id = %s", (key_id,))
            cursor = await connection.execute(
                "update keys set hash = %s, prefix = %s where id = %s and revoked_at is null returning project_id, name",
                (digest, made[:_SHOWN], key_id),
            )
            row = await cursor.fetchone()
            if row is None:
                raise _no_live(key_id)
            told = {"name": row["name"], "prefix": made[:_SHOWN], "overlap_s": int(overlap.total_seconds())}
            await note(connection, by, "key.rotate", f"key {key_id}", told, project_id=row["project_id"])
            await connection.execute("select pg_notify(%s, '')", (CHANNEL,))
        await self.load()
        return await self._one(key_id), made

    async def revoke(self, key_id: int, *, by: Actor = BY_HOUSE) -> Key:
        """End a key; requests with it are refused from now on, in every process within moments.

        Raises:
            NotFound: no live key has this id.
        """
        async with self._db.transaction() as connection:
            cursor = await connection.execute(
                "update keys set revoked_at = now() where id = %s and revoked_at is null returning project_id, name",
                (key_id,),
            )
            row = await cursor.fetchone()
            if row is None:
                raise _no_live(key_id)
            told = {"name": row["name"]}
            await note(connection, by, "key.revoke", f"key {key_id}", told, project_id=row["project_id"])
            await connection.execute("select pg_notify(%s, '')", (CHANNEL,))
        await self.load()
        return await self._one(key_id)

    async def _one(self, key_id: int) -> Key:
        row = await self._db.row(_SELECT, {"id": key_id, "project": None, "revoked": True})
        assert row is not None
        return _key(row)


def _key(row: dict[str, Any]) -> Key:
    names = {
        name: None if row[name] is None else tuple(row[name]) for name in ("models", "tasks", "operations", "labels")
    }
    return Key(**{**row, **names})


def _set(names: Sequence[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


def _list(names: Sequence[str] | None) -> Sequence[str] | None:
    return None if names is None else [*names]


def _no_live(key_id: int) -> NotFound:
    return NotFound(f"there is no live key {key_id}: `loopwright keys list` shows them", param="key_id")


def _check(name: str, operations: Sequence[str] | None, expires_at: datetime | None) -> None:
    if not name.strip() or len(name) > 100 or not name.isprintable():
        raise BadRequest("a key needs a name of 1 to 100 printable characters", param="name")
    for operation in operations or ():
        if operation not in OPERATIONS:
            raise BadRequest(f"operations: {operation!r} is none of {', '.join(OPERATIONS)}", param="operations")
    if expires_at is not None and (expires_at.tzinfo is None or expires_at <= datetime.now(UTC)):
        raise BadRequest("expires_at: a moment to come, with its time zone", param="expires_at")


def _rights(scopes: Mapping[str, Sequence[str] | None], *, admin: bool, ends: datetime | None) -> dict[str, object]:
    """What differs from a key that may call everything for ever."""
    said: dict[str, object] = {"admin": admin or None, **{name: _list(names) for name, names in scopes.items()}}
    return {name: value for name, value in said.items() if value is not None} | (
        {} if ends is None else {"expires_at": ends.isoformat()}
    )
