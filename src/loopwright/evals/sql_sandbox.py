"""Runs queries that models wrote on SQLite: read only, nothing but the tables, within bounds of time, rows and memory.

Four fences: the database is opened read only and immutable; an authorizer lets reading queries through and nothing
else (no ATTACH, PRAGMA, functions that touch files); limits of SQLite bound lengths and depths; a clock stops what runs
too long. Queries run in a thread of their own; SQLite lets go of the interpreter meanwhile.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from loopwright.core.errors import BadRequest

Cell: TypeAlias = str | int | float | bytes | None
_ALLOWED: Final = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE})
_BARRED: Final = frozenset(
    {"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer", "sqlite_log", "zeroblob", "randomblob"}
)
_BUILDING: Final = _ALLOWED | {
    sqlite3.SQLITE_CREATE_TABLE, sqlite3.SQLITE_CREATE_INDEX, sqlite3.SQLITE_CREATE_VIEW, sqlite3.SQLITE_INSERT,
    sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE, sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_REINDEX,
}  # fmt: skip
"""What the script of a database may do besides: sqlite notes tables and indexes by INSERT and UPDATE."""
_PAGES: Final = 16_384
"""Of 4 KB: 64 MB is the largest database that a script may make."""
_LIMITS: Final = {
    sqlite3.SQLITE_LIMIT_LENGTH: 1_000_000,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 1_000_000,
    sqlite3.SQLITE_LIMIT_COLUMN: 200,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 50,
    sqlite3.SQLITE_LIMIT_VDBE_OP: 50_000,
    sqlite3.SQLITE_LIMIT_FUNCTION_ARG: 50,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 100,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 1,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
_CELLS: Final = 100_000
"""Longest value, in bytes, while a model's query runs: functions like `replace` multiply."""
_MORE: Final = "it would do more than read"
_QUERY: Final = 20_000
"""Characters of a query."""
_STEPS: Final = 2_000
"""Instructions of SQLite's machine between two looks at the clock."""
_BYTES: Final = 16_000_000
"""Of a result."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a query gave."""

    rows: tuple[tuple[Cell, ...], ...]
    columns: int


class Failed(Exception):
    """The query is no query that can be answered: the message says why."""


class Stopped(Failed):
    """It ran into a bound."""


class Sandbox:
    """One database, queried read only."""

    __slots__ = ("_image", "_path", "most_rows", "seconds", "version")

    def __init__(
        self, *, path: Path | None = None, script: str | None = None, seconds: float = 2.0, most_rows: int = 10_000
    ) -> None:
        """Take a file of SQLite, or a script (`CREATE TABLE …; INSERT …`) that makes one in memory.

        Raises:
            BadRequest: it is no database, or the script fails; says where.
        """
        self.seconds = seconds
        self.most_rows = most_rows
        self._path = path
        self._image: bytes | None = None
        if script is not None:
            self._image = self._built(script)
            self.version = hashlib.sha256(self._image).hexdigest()
        elif path is not None:
            self.version = self._checked(path)
        else:
            raise BadRequest("give args.script or args.database", param="args")

    def run(self, query: str) -> Result:
        """The rows of one reading query.

        Raises:
            Failed: SQLite refuses it, it is more than one statement, or it would do more than read.
            Stopped: it takes too long, or gives too much.
        """
        if len(query) > _QUERY:
            raise Stopped(f"the query has {len(query)} characters; the limit is {_QUERY}")
        with closing(self._opened()) as connection:
            connection.execute("PRAGMA query_only=ON")
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _CELLS)
            connection.set_authorizer(_reading)
            with _clocked(connection, self.seconds) as late, _explained(late):
                cursor = connection.execute(query)
                return self._fetched(cursor)

    def _fetched(self, cursor: sqlite3.Cursor) -> Result:
        rows: list[tuple[Cell, ...]] = []
        size = 0
        for row in cursor:
            rows.append(row)
            size += sum(len(cell) if isinstance(cell, str | bytes) else 8 for cell in row)
            if len(rows) > self.most_rows:
                raise Stopped(f"it gives more than {self.most_rows} rows")
            if size > _BYTES:
                raise Stopped(f"it gives more than {_BYTES} bytes")
        return Result(tuple(rows), len(cursor.description or ()))

    def _opened(self) -> sqlite3.Connection:
        if self._path is not None:
            connection = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        else:
            connection = sqlite3.connect(":memory:")
            connection.deserialize(self._image or b"")
        _confine(connection)
        return connection

    def _built(self, script: str) -> bytes:
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            _confine(connection)
            connection.execute(f"PRAGMA max_page_count={_PAGES}")
            connection.set_authorizer(_building)
            try:
                with _clocked(connection, self.seconds * 5) as late, _explained(late):
                    connection.executescript(script)
            except Failed as error:
                said = "it does more than make tables" if str(error) == _MORE else str(error)
                raise BadRequest(f"args.script: {said}", param="args.script") from None
            connection.set_authorizer(None)
            return connection.serialize()

    def _checked(self, path: Path) -> str:
        try:
            with closing(self._opened()) as connection:
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except (sqlite3.Error, OSError) as error:
            raise BadRequest(f"args.database: {os.fspath(path)!r}: {error}", param="args.database") from None


def _confine(connection: sqlite3.Connection) -> None:
    for pragma in ("trusted_schema=OFF", "cell_size_check=ON", "mmap_size=0", "cache_size=-8000"):
        connection.execute(f"PRAGMA {pragma}")
    for limit, value in _LIMITS.items():
        connection.setlimit(limit, value)
    connection.text_factory = _text


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _reading(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    return _allowed(_ALLOWED, action, second or first)


def _building(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    if action == sqlite3.SQLITE_PRAGMA:
        return sqlite3.SQLITE_OK if first == "foreign_keys" else sqlite3.SQLITE_DENY  # `.dump` begins with it
    return _allowed(_BUILDING, action, second or first)


def _allowed(actions: frozenset[int], action: int, function: str | None) -> int:
    if action == sqlite3.SQLITE_FUNCTION:
        return sqlite3.SQLITE_DENY if (function or "").casefold() in _BARRED else sqlite3.SQLITE_OK
    return sqlite3.SQLITE_OK if action in actions else sqlite3.SQLITE_DENY


@contextmanager
def _clocked(connection: sqlite3.Connection, seconds: float) -> Iterator[Callable[[], bool]]:
    """Stop what runs longer; gives whether that happened."""
    end = time.monotonic() + seconds
    connection.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
    try:
        yield lambda: time.monotonic() > end
    finally:
        connection.set_progress_handler(None, 0)


@contextmanager
def _explained(late: Callable[[], bool]) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if str(error) == "interrupted" and late():
            raise Stopped("it runs too long") from None
        raise Failed(_said(error)) from None
    except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError) as error:
        raise Failed(_said(error)) from None


def _said(error: Exception) -> str:
    said = str(error)[:300]
    return _MORE if said in ("not authorized", "authorization denied") else said
