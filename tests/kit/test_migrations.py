"""Migrations against the real server: once, all or none, and never on a database they do not understand."""

import asyncio
from pathlib import Path

import psycopg
import pytest

from loopwright.core.errors import StartError
from loopwright.kit.db import Database
from loopwright.kit.migrations import migrate
from loopwright.kit.postgres import EmbeddedPostgres

pytestmark = pytest.mark.anyio


def put(source: Path, room: str, name: str, sql: str) -> Path:
    folder = source / room / "sql"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(sql)
    return path


async def tables(db: Database) -> set[str]:
    rows = await db.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return {row["tablename"] for row in rows}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    put(tmp_path, "access", "001_keys.sql", "CREATE TABLE keys (id int); INSERT INTO keys VALUES (1); -- 100 % kept")
    put(tmp_path, "access", "002_more.sql", "ALTER TABLE keys ADD COLUMN name text DEFAULT '50%';")
    put(tmp_path, "calls", "001_calls.sql", "CREATE TABLE calls (key_id int);")
    return tmp_path


async def test_everything_pending_is_applied_in_order_and_only_once(database_url: str, source: Path) -> None:
    db = await Database.open(database_url)
    assert await migrate(db, ["access", "calls"], source=source) == [
        "access/001_keys",
        "access/002_more",
        "calls/001_calls",
    ]
    assert await migrate(db, ["access", "calls"], source=source) == []
    put(source, "access", "003_late.sql", "ALTER TABLE keys ADD COLUMN late int")
    assert await migrate(db, ["access", "calls"], source=source) == ["access/003_late"]
    assert await db.rows("SELECT * FROM keys") == [{"id": 1, "name": "50%", "late": None}]
    await db.close()


async def test_some_rooms_may_be_left_for_later(database_url: str, source: Path) -> None:
    db = await Database.open(database_url)
    assert await migrate(db, ["access"], source=source) == ["access/001_keys", "access/002_more"]
    assert await migrate(db, ["calls"], source=source) == ["calls/001_calls"]
    await db.close()


async def test_of_many_at_once_one_works_and_the_others_find_it_done(database_url: str, source: Path) -> None:
    databases = [await Database.open(database_url) for _ in range(4)]
    applied = await asyncio.gather(*(migrate(db, ["access", "calls"], source=source) for db in databases))
    assert sorted(len(names) for names in applied) == [0, 0, 0, 3]
    assert await databases[0].rows("SELECT id FROM keys") == [{"id": 1}]
    for db in databases:
        await db.close()


async def test_a_failing_file_leaves_nothing_behind(database_url: str, source: Path) -> None:
    put(source, "calls", "002_bad.sql", "CREATE TABLE half (id int); SELECT * FROM nowhere")
    db = await Database.open(database_url)
    with pytest.raises(StartError, match="calls/002_bad failed"):
        await migrate(db, ["access", "calls"], source=source)
    assert await tables(db) == set()
    put(source, "calls", "002_bad.sql", "CREATE TABLE half (id int)")
    assert len(await migrate(db, ["access", "calls"], source=source)) == 4
    await db.close()


async def test_a_newer_schema_is_refused(database_url: str, source: Path) -> None:
    newest = put(source, "calls", "002_new.sql", "SELECT 1")
    db = await Database.open(database_url)
    await migrate(db, ["access", "calls"], source=source)
    newest.unlink()
    with pytest.raises(StartError, match=r"newer schema than this program \(it holds calls/002_new\)"):
        await migrate(db, ["access", "calls"], source=source)
    await db.close()


async def test_a_room_this_program_does_not_have_is_a_newer_schema(database_url: str, source: Path) -> None:
    put(source, "future", "001_things.sql", "SELECT 1")
    db = await Database.open(database_url)
    await migrate(db, ["access", "future"], source=source)
    (source / "future" / "sql" / "001_things.sql").unlink()
    with pytest.raises(StartError, match="future/001_things"):
        await migrate(db, ["access"], source=source)
    await db.close()


async def test_a_changed_file_is_refused(database_url: str, source: Path) -> None:
    db = await Database.open(database_url)
    await migrate(db, ["access"], source=source)
    put(source, "access", "001_keys.sql", "CREATE TABLE keys (id bigint)")
    with pytest.raises(StartError, match="access/001_keys has changed"):
        await migrate(db, ["access"], source=source)
    await db.close()


async def test_a_file_that_ends_the_transaction_is_refused(database_url: str, source: Path) -> None:
    put(source, "access", "003_commit.sql", "COMMIT")
    db = await Database.open(database_url)
    with pytest.raises(StartError, match="must not say COMMIT"):
        await migrate(db, ["access"], source=source)
    await db.close()


@pytest.mark.parametrize("name", ["1_keys.sql", "001-keys.sql", "001_again.sql"])
async def test_a_file_without_a_number_of_its_own_is_refused(database_url: str, source: Path, name: str) -> None:
    put(source, "access", name, "SELECT 1")
    db = await Database.open(database_url)
    with pytest.raises(StartError, match=r"NNN_name\.sql"):
        await migrate(db, ["access"], source=source)
    await db.close()


async def test_a_server_without_pgvector_is_refused_with_what_to_do(
    postgres: EmbeddedPostgres,
    database_url: str,
    postgres_url: str,
    source: Path,
) -> None:
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    db = await Database.open(postgres.url_of(str(name), "postgres"))
    await db.run("DROP EXTENSION vector")
    await db.run(f"ALTER DATABASE {name} SET extension_control_path = '/nonexistent'")
    await db.close()
    db = await Database.open(database_url)
    with pytest.raises(StartError, match=r"no pgvector: install it on the server \(apt install postgresql-18-pgvector"):
        await migrate(db, ["access"], source=source)
    await db.close()


async def test_a_role_that_may_not_enable_pgvector_is_told_whom_to_ask(
    postgres: EmbeddedPostgres,
    database_url: str,
    source: Path,
) -> None:
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    admin = await Database.open(postgres.url_of(str(name), "postgres"))
    await admin.run("DROP EXTENSION vector")
    db = await Database.open(database_url)
    with pytest.raises(StartError, match="have an administrator run CREATE EXTENSION vector"):
        await migrate(db, ["access"], source=source)
    assert len(await migrate(admin, ["access"], source=source)) == 2
    for one in (db, admin):
        await one.close()


async def test_the_rooms_of_this_program_can_be_applied(database_url: str) -> None:
    db = await Database.open(database_url)
    await migrate(db, ["access", "catalog", "calls"])
    assert await migrate(db, ["access", "catalog", "calls"]) == []
    await db.close()
