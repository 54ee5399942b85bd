"""The database's face, on a real server that is also stopped and started under it."""

import asyncio
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import uvloop

from loopwright.core.errors import StartError, Unavailable
from loopwright.kit.db import Database
from loopwright.kit.postgres import EmbeddedPostgres

pytestmark = pytest.mark.anyio


async def until_it_answers(db: Database) -> None:
    for _ in range(100):
        try:
            await db.row("SELECT 1")
        except Unavailable:
            await asyncio.sleep(0.1)
        else:
            return
    raise AssertionError("the database never answered again")


@pytest.fixture
def free_port() -> Iterator[int]:
    # Bound and never listening, so that nobody else can answer there meanwhile.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


async def test_rows_come_as_dictionaries_and_run_counts(database_url: str) -> None:
    db = await Database.open(database_url, size=2)
    await db.run("CREATE TABLE bells (name text, times int)")
    assert await db.run("INSERT INTO bells VALUES (%s, 1), (%s, 2)", ("small", "large")) == 2
    assert await db.row("SELECT * FROM bells WHERE name = %(name)s", {"name": "large"}) == {"name": "large", "times": 2}
    assert await db.row("SELECT * FROM bells WHERE name = %s", ("none",)) is None
    assert [row["times"] for row in await db.rows("SELECT times FROM bells ORDER BY times DESC")] == [2, 1]
    assert await db.rows("SELECT name FROM bells WHERE name LIKE 'sm%'") == [{"name": "small"}]
    await db.close()
    await db.close()


async def test_a_transaction_is_kept_whole_or_not_at_all(database_url: str) -> None:
    db = await Database.open(database_url)
    await db.run("CREATE TABLE bells (name text)")
    async with db.transaction() as connection:
        await connection.execute("INSERT INTO bells VALUES ('kept')")
        assert await db.rows("SELECT * FROM bells") == []

    async def break_off() -> None:
        async with db.transaction() as connection:
            await connection.execute("INSERT INTO bells VALUES ('lost')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await break_off()
    assert await db.rows("SELECT * FROM bells") == [{"name": "kept"}]
    await db.close()


async def test_a_snapshot_is_one_moment_and_leaves_no_trace_on_its_connection(database_url: str) -> None:
    db = await Database.open(database_url, size=1)
    other = await Database.open(database_url, size=1)
    try:
        await db.run("CREATE TABLE moments (n int)")
        async with db.snapshot() as connection:
            assert await (await connection.execute("SELECT n FROM moments")).fetchall() == []
            await other.run("INSERT INTO moments VALUES (1)")
            assert await (await connection.execute("SELECT n FROM moments")).fetchall() == []
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            async with db.snapshot() as connection:
                await connection.execute("INSERT INTO moments VALUES (2)")
        asked = asyncio.Event()

        async def waits() -> None:
            async with db.snapshot() as connection:
                asked.set()
                await connection.execute("SELECT pg_sleep(60)")

        task = asyncio.create_task(waits())
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with db.transaction() as connection:
            row = await (await connection.execute("SHOW transaction_isolation")).fetchone()
            assert row == {"transaction_isolation": "read committed"}
            await connection.execute("INSERT INTO moments VALUES (3)")
        assert await db.rows("SELECT n FROM moments ORDER BY n") == [{"n": 1}, {"n": 3}]
    finally:
        await db.close()
        await other.close()


def test_it_works_on_uvloop(database_url: str) -> None:
    async def main() -> None:
        db = await Database.open(database_url)
        heard = asyncio.Event()
        ready = asyncio.Event()

        async def hear(payload: str) -> None:
            assert payload == "now"
            heard.set()

        async def reconnected() -> None:
            ready.set()

        listening = asyncio.create_task(db.listen("bells", hear, reconnected=reconnected))
        await ready.wait()
        async with db.transaction() as connection:
            await connection.execute("SELECT pg_notify('bells', 'now')")
        await heard.wait()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await db.close()

    uvloop.run(main())


async def test_a_wrong_statement_is_an_error_of_its_own(database_url: str) -> None:
    db = await Database.open(database_url)
    with pytest.raises(psycopg.errors.UndefinedTable):
        await db.rows("SELECT * FROM nowhere")
    assert await db.row("SELECT 1 AS one") == {"one": 1}
    await db.close()


async def test_nothing_there_says_where_and_what_to_do(free_port: int) -> None:
    with pytest.raises(StartError, match=rf"127\.0\.0\.1:{free_port}/prod: .*LOOPWRIGHT_DATABASE_URL") as caught:
        await Database.open(f"postgresql://me:hunter2@127.0.0.1:{free_port}/prod")
    assert "hunter2" not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hunter2@[host",
        "mysql://me:hunter2@host",
        "postgresql://h?password=hunter2&no=1",
        "hunter2",
    ],
)
async def test_a_malformed_url_is_refused_without_repeating_the_password(url: str) -> None:
    with pytest.raises(StartError, match="postgresql://user:password@host:5432/database") as caught:
        await Database.open(url)
    assert "hunter2" not in str(caught.value)


async def test_a_wrong_database_name_says_so(postgres: EmbeddedPostgres) -> None:
    with pytest.raises(StartError, match='database "nowhere" does not exist'):
        await Database.open(postgres.url_of("nowhere", "loopwright"))


async def test_a_pool_in_use_is_unavailable_after_a_while(database_url: str) -> None:
    db = await Database.open(database_url, size=1, wait=0.1)
    async with db.transaction():
        with pytest.raises(Unavailable) as caught:
            await db.row("SELECT 1")
    assert caught.value.retry_after
    assert await db.row("SELECT 1 AS one") == {"one": 1}
    await db.close()


async def test_a_session_that_was_ended_may_be_tried_again(database_url: str, postgres_url: str) -> None:
    db = await Database.open(database_url)
    admin = await Database.open(postgres_url)

    async def lose_the_connection() -> None:
        async with db.transaction() as connection:
            await admin.row("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
            await connection.execute("SELECT 1")

    with pytest.raises(Unavailable):
        await lose_the_connection()
    assert await db.row("SELECT 1 AS one") == {"one": 1}
    await db.close()
    await admin.close()


async def test_a_connection_that_ended_while_it_rested_is_not_handed_out(database_url: str, postgres_url: str) -> None:
    db, admin = await Database.open(database_url), await Database.open(postgres_url)
    async with db.transaction() as connection:
        pid = connection.info.backend_pid
    await admin.row("SELECT pg_terminate_backend(%s, 30000)", (pid,))
    assert await db.row("SELECT pg_backend_pid() <> %s AS another", (pid,)) == {"another": True}
    await db.close()
    await admin.close()


async def test_after_an_outage_everything_just_works(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server = await EmbeddedPostgres.start(tmp_path / "pg", settings={"fsync": "off"})
    url = server.url.replace("loopwright@", "loopwright:hunter2@")
    db = await Database.open(url, size=3, wait=1.0)
    heard: list[str] = []
    connected = 0
    arrived = asyncio.Event()

    async def hear(payload: str) -> None:
        heard.append(payload)
        arrived.set()

    async def reconnected() -> None:
        nonlocal connected
        connected += 1
        arrived.set()

    async def arrival() -> None:
        async with asyncio.timeout(60):
            await arrived.wait()
        arrived.clear()

    listening = asyncio.create_task(db.listen("Odd channel", hear, reconnected=reconnected))
    await arrival()
    await db.run("NOTIFY \"Odd channel\", 'one'")
    await arrival()
    # Several connections, so that there are dead ones to be handed out later.
    await asyncio.gather(*(db.row("SELECT pg_sleep(0.05)") for _ in range(3)))

    await server.stop()
    for _ in range(2):
        with pytest.raises(Unavailable) as caught:
            await db.row("SELECT 1")
        assert caught.value.retry_after
        with pytest.raises(Unavailable):
            async with db.transaction():
                pytest.fail("there is nothing to work on")
    server = await EmbeddedPostgres.start(tmp_path / "pg", settings={"fsync": "off"})

    await until_it_answers(db)
    assert len(await asyncio.gather(*(db.row("SELECT 1") for _ in range(10)))) == 10
    await arrival()
    await db.run("NOTIFY \"Odd channel\", 'two'")
    await arrival()
    assert (heard, connected) == (["one", "two"], 2)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await db.close()
    await server.stop()
    assert "hunter2" not in caplog.text


async def test_what_a_listener_raises_ends_the_listening_but_an_outage_does_not(database_url: str) -> None:
    db = await Database.open(database_url)
    tries = 0

    async def reconnected() -> None:
        nonlocal tries
        tries += 1
        raise Unavailable("not yet") if tries < 3 else ZeroDivisionError

    async def hear(_: str) -> None:
        pytest.fail("nobody speaks")

    with pytest.raises(ZeroDivisionError):
        await db.listen("bells", hear, reconnected=reconnected)
    assert tries == 3
    await db.close()
