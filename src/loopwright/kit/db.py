"""The database: one pool of connections, plain SQL, and an outage that reads as `Unavailable`. Owns no tables."""

from __future__ import annotations

import asyncio
import logging
import random
import select
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, Self

import psycopg
from psycopg import sql as composing
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from loopwright.core.errors import BadRequest, StartError, Unavailable

Params = Sequence[object] | Mapping[str, object]
Connection = psycopg.AsyncConnection[DictRow]

_OLDEST = 15
"""PostgreSQL major version."""
_CLOSE_WAIT = 5.0
"""Seconds that connections in use may take to come back when the pool closes."""
_RETRY_AFTER = 2.0
"""Seconds after which asking again makes sense."""
_QUIET = 30.0
"""Seconds of silence after which a listening connection is tried."""
_LONGEST_PAUSE = 10.0
"""Seconds between attempts to listen again, at most."""

_log = logging.getLogger(__name__)


class Database:
    """PostgreSQL behind a pool. `%` in a statement with parameters is written `%%`; without parameters it is itself."""

    __slots__ = ("_conninfo", "_pool", "_where")

    def __init__(self, pool: AsyncConnectionPool[Connection], conninfo: str, where: str) -> None:
        self._pool = pool
        self._conninfo = conninfo
        self._where = where

    @classmethod
    async def open(cls, url: str, *, size: int = 8, wait: float = 5.0) -> Self:
        """Connect to `url` and keep up to `size` connections; idle ones beyond the first go after a minute.

        A caller waits at most `wait` seconds for a connection.

        Raises:
            StartError: the URL is malformed, nothing answers there, it refuses us, or it is older than PostgreSQL 15.
        """
        conninfo, where = _parse(url)
        try:
            async with await psycopg.AsyncConnection.connect(conninfo) as connection:
                version = connection.info.server_version
        except psycopg.Error as error:
            raise StartError(
                f"cannot use the database at {where}: {_reason(error)}; start it, correct database.url "
                f"(LOOPWRIGHT_DATABASE_URL), or leave that out to use the embedded one",
            ) from None
        if version < _OLDEST * 10_000:
            raise StartError(
                f"the database at {where} is PostgreSQL {version // 10_000}; Loopwright needs {_OLDEST} or newer",
            )
        pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            conninfo,
            connection_class=psycopg.AsyncConnection[DictRow],
            kwargs={"row_factory": dict_row},
            # Not in kwargs: procrastinate passes autocommit itself when it connects with this pool's kwargs.
            configure=_set_autocommit,
            # After an outage nobody is handed a connection that died meanwhile.
            check=_check,
            min_size=1,
            max_size=max(size, 1),
            timeout=wait,
            max_idle=60.0,
            # Its back-off doubles without a ceiling; giving up early lets the next caller try at once.
            reconnect_timeout=wait,
            open=False,
            name="loopwright",
        )
        await pool.open()
        return cls(pool, conninfo, where)

    async def close(self) -> None:
        """Close every connection; harmless when repeated."""
        await self._pool.close(timeout=_CLOSE_WAIT)

    @property
    def pool(self) -> AsyncConnectionPool[Connection]:
        """The pool itself, for a library that brings its own SQL; its errors are not translated."""
        return self._pool

    @property
    def where(self) -> str:
        """Host, port and database name, for people; never a password."""
        return self._where

    async def rows(
        self, sql: str, params: Params = (), *, anew: bool = False, binary: bool = False
    ) -> list[dict[str, Any]]:
        """All rows of a query; `anew` plans it for these very values each time, where one plan does not fit all.

        `binary`: values come as PostgreSQL holds them; bytes are otherwise written as digits and read again.

        Raises:
            Unavailable: the database cannot answer now.
        """
        with self._translated():
            async with self._pool.connection() as connection:
                cursor = await connection.execute(
                    sql.encode(), params or None, prepare=False if anew else None, binary=binary
                )
                return await cursor.fetchall()

    async def row(self, sql: str, params: Params = ()) -> dict[str, Any] | None:
        """The first row of a query, or None.

        Raises:
            Unavailable: the database cannot answer now.
        """
        with self._translated():
            async with self._pool.connection() as connection:
                cursor = await connection.execute(sql.encode(), params or None)
                return await cursor.fetchone()

    async def run(self, sql: str, params: Params = ()) -> int:
        """Run a statement by itself, outside any transaction; the number of rows it touched.

        Raises:
            Unavailable: the database cannot answer now.
        """
        with self._translated():
            async with self._pool.connection() as connection:
                cursor = await connection.execute(sql.encode(), params or None)
                return max(cursor.rowcount, 0)

    def transaction(self) -> AbstractAsyncContextManager[Connection]:
        """One transaction on one connection: committed at the end of the block, rolled back when it raises.

        Raises:
            Unavailable: the database cannot answer now, or went away in the block; nothing is committed then, unless
                the connection was lost during the commit itself.
        """
        return self._transaction()

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        with self._translated():
            async with self._pool.connection() as connection, connection.transaction():
                yield connection

    def snapshot(self) -> AbstractAsyncContextManager[Connection]:
        """A transaction that writes nothing and reads the database as it is at its first statement, whatever commits later.

        Raises:
            Unavailable: the database cannot answer now, or went away in the block.
        """
        return self._snapshot()

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[Connection]:
        with self._translated():
            async with self._pool.connection() as connection:
                # Said in BEGIN itself, which saves the round trip of SET TRANSACTION.
                await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
                await connection.set_read_only(True)
                try:
                    async with connection.transaction():
                        yield connection
                finally:
                    if connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
                        await connection.set_isolation_level(None)
                        await connection.set_read_only(None)
                    else:
                        await connection.close()  # The next to have it would not be able to write.

    async def listen(
        self,
        channel: str,
        heard: Callable[[str], Awaitable[None]],
        *,
        reconnected: Callable[[], Awaitable[None]],
    ) -> None:
        """Call `heard` with the payload of each NOTIFY on `channel`, until cancelled.

        It has a connection of its own and opens it again for ever, with back-off (to 10 s). After each opening, the
        first too, `reconnected` is awaited, listening already, so that nothing falls between. `Unavailable` raised by
        either callback counts as a lost connection; anything else they raise ends the listening.
        """
        pause = 0.1
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True) as connection:
                    await connection.execute(composing.SQL("LISTEN {}").format(composing.Identifier(channel)))
                    await reconnected()
                    pause = 0.1
                    await _hear(connection, heard)
            except (psycopg.OperationalError, psycopg.InterfaceError, Unavailable) as error:
                _log.warning("not listening on %s: %s; trying again", channel, _reason(error))
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  (spreads load, guards nothing)
            pause = min(pause * 2, _LONGEST_PAUSE)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            # OperationalError is everything that is not the statement's fault: lost connections, shutdown, a full
            # pool, deadlocks, a full disk. InterfaceError is what a dead connection raises when it is used again.
            raise Unavailable(
                f"the database at {self._where} cannot answer now: {_reason(error)}; try again in a moment",
                retry_after=_RETRY_AFTER,
            ) from error


def unfit(_error: psycopg.DataError) -> BadRequest:
    """What the asker is told of a value that no column takes: a number out of its range, a text that holds NUL."""
    return BadRequest("a value in the request is out of range, or a text that cannot be stored")


async def _check(connection: Connection) -> None:
    """Ask a connection only if its socket has something to say: an end, an error, a last word. Silence is a healthy one's.

    What ends without a word is found by keepalives, which make it an error of the socket.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        await AsyncConnectionPool.check_connection(connection)


async def _set_autocommit(connection: Connection) -> None:
    await connection.set_autocommit(True)


async def _hear(connection: psycopg.AsyncConnection[Any], heard: Callable[[str], Awaitable[None]]) -> None:
    while True:
        async for notice in connection.notifies(timeout=_QUIET):
            await heard(notice.payload)
        # Silence may be a connection that died without a word: asking makes that an error.
        await connection.execute("SELECT 1")


def _parse(url: str) -> tuple[str, str]:
    """The connection string with our defaults filled in, and where it leads, for people."""
    try:
        given = conninfo_to_dict(url)
    except psycopg.Error:
        # The driver's message quotes what it could not read, and that may be the password.
        raise StartError(
            "database.url (LOOPWRIGHT_DATABASE_URL) is no PostgreSQL URL; "
            "it looks like postgresql://user:password@host:5432/database",
        ) from None
    defaults: dict[str, Any] = {
        "application_name": "loopwright",
        "connect_timeout": 5,
        # A peer that vanishes is noticed in about half a minute; a Unix socket ignores all four.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
    }
    host = given.get("host") or given.get("hostaddr") or "the local socket"
    port = "" if str(host).startswith("/") else f":{given.get('port') or 5432}"
    name = given.get("dbname") or given.get("user") or ""
    return make_conninfo(**{**defaults, **given}), f"{host}{port}/{name}"


def _reason(error: Exception) -> str:
    """One line of what the driver says: the cause, without hints, details or the addresses it tried before."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    attempts = [line for line in lines if line.startswith("- ")]
    return (attempts or lines or [type(error).__name__])[-1 if attempts else 0]


def plain(text: str, longest: int = 200) -> str:
    """As PostgreSQL can keep it: without NUL, without halves of characters."""
    return text.replace("\x00", "")[:longest].encode("utf-8", "replace").decode()
