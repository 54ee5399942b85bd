"""Brings a database to what this program knows: numbered SQL files of the rooms, each applied once, all or none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import psycopg

from loopwright.core.errors import StartError
from loopwright.kit.db import Connection, Database

_LOCK = 0x6C6F6F70
"""Of Postgres's advisory locks; the bytes spell `loop`."""
_FILE = re.compile(r"(\d{3})_([a-z0-9_]+)\.sql")

_LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    room text NOT NULL,
    number integer NOT NULL,
    name text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (room, number)
)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One SQL file of a room."""

    room: str
    number: int
    name: str
    sql: bytes

    @property
    def sha256(self) -> str:
        """Of the file, in hexadecimal."""
        return sha256(self.sql).hexdigest()

    def __str__(self) -> str:
        return f"{self.room}/{self.number:03d}_{self.name}"


def migrations_of(room: str, source: Traversable | None = None) -> list[Migration]:
    """The SQL files of `room` in the package (or below `source`), by number.

    Raises:
        StartError: a name that is not `NNN_name.sql`, or a number used twice.
    """
    folder = (source or resources.files("loopwright")) / room / "sql"
    if not folder.is_dir():
        return []
    found: dict[int, Migration] = {}
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if not file.name.endswith(".sql"):
            continue
        match = _FILE.fullmatch(file.name)
        if match is None or int(match[1]) in found:
            raise StartError(f"{room}/sql/{file.name}: a migration is named NNN_name.sql, with a number of its own")
        number = int(match[1])
        found[number] = Migration(room=room, number=number, name=match[2], sql=file.read_bytes())
    return list(found.values())


async def migrate(db: Database, rooms: Sequence[str], *, source: Traversable | None = None) -> list[str]:
    """Apply what is pending for `rooms`, in their order, in one transaction; the names of what was applied.

    Any number of processes may do this at once: an advisory lock lets one work and the others find it done.

    Raises:
        StartError: the database has a newer schema, an applied file has changed, pgvector is missing, a file fails.
        Unavailable: the database cannot answer now.
    """
    known = {room: migrations_of(room, source) for room in rooms}
    applied = []
    async with db.transaction() as connection:
        await lock_schema(connection)
        await _want_vector(connection, db.where)
        await connection.execute(_LEDGER)
        rows = await (await connection.execute("SELECT room, number, name, sha256 FROM schema_migrations")).fetchall()
        _compare(rows, {**{row["room"]: migrations_of(row["room"], source) for row in rows}, **known}, db.where)
        done = {(row["room"], row["number"]) for row in rows}
        for migration in (one for room in rooms for one in known[room]):
            if (migration.room, migration.number) not in done:
                await _apply(connection, migration)
                applied.append(str(migration))
    return applied


async def lock_schema(connection: Connection) -> None:
    """Wait until nobody else changes the schema of this database; held to the end of the transaction."""
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))


async def _apply(connection: Connection, migration: Migration) -> None:
    try:
        # Without parameters, so that the file may hold many statements and `%` as it is.
        await connection.execute(migration.sql)
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        raise StartError(f"migration {migration} failed and nothing of it was kept: {error}") from error
    if connection.info.transaction_status != psycopg.pq.TransactionStatus.INTRANS:
        raise StartError(f"migration {migration} ends the transaction it runs in; it must not say COMMIT or ROLLBACK")
    await connection.execute(
        "INSERT INTO schema_migrations (room, number, name, sha256) VALUES (%s, %s, %s, %s)",
        (migration.room, migration.number, migration.name, migration.sha256),
    )


def _compare(rows: Sequence[dict[str, Any]], known: dict[str, list[Migration]], where: str) -> None:
    """Refuse a database that this program would misunderstand."""
    by_key = {(one.room, one.number): one for migrations in known.values() for one in migrations}
    for row in rows:
        migration = by_key.get((row["room"], row["number"]))
        label = f"{row['room']}/{row['number']:03d}_{row['name']}"
        if migration is None:
            raise StartError(
                f"the database at {where} has a newer schema than this program (it holds {label}): "
                f"upgrade Loopwright or use another database",
            )
        if migration.sha256 != row["sha256"]:
            raise StartError(
                f"migration {label} has changed since it was applied to the database at {where}: "
                f"install a released Loopwright, put changes in a new file, or use another database",
            )


async def _want_vector(connection: Connection, where: str) -> None:
    """Have pgvector in this database."""
    cursor = await connection.execute(
        "SELECT (SELECT count(*) FROM pg_extension WHERE extname = 'vector') AS made,"
        " (SELECT count(*) FROM pg_available_extensions WHERE name = 'vector') AS there",
    )
    row = await cursor.fetchone()
    if row is None or row["made"]:
        return
    major = connection.info.server_version // 10_000
    if not row["there"]:
        raise StartError(
            f"the database at {where} has no pgvector: install it on the server "
            f"(apt install postgresql-{major}-pgvector, brew install pgvector, or https://github.com/pgvector/pgvector; "
            f"managed services list it among their extensions) and start again",
        )
    try:
        await connection.execute("CREATE EXTENSION vector")
    except psycopg.errors.InsufficientPrivilege:
        raise StartError(
            f"this role may not enable pgvector in the database at {where}: "
            f"have an administrator run CREATE EXTENSION vector; there, and start again",
        ) from None
