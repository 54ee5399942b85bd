"""The embedded server: started, stopped, killed and found again, in all sorts of folders and by all sorts of users."""

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from loopwright.core.errors import StartError
from loopwright.kit import postgres_exec
from loopwright.kit.db import Database
from loopwright.kit.postgres import EmbeddedPostgres

pytestmark = pytest.mark.anyio
QUICK = {"fsync": "off"}

# A house in a process of its own, so that it can be killed; says its URL, then waits.
HOUSE = """
import asyncio, sys
from pathlib import Path
from loopwright.core.errors import StartError
from loopwright.kit.postgres import EmbeddedPostgres

async def main():
    try:
        server = await EmbeddedPostgres.start(Path(sys.argv[1]))
    except StartError as error:
        sys.exit(str(error))
    print(server.pid, server.url, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop()

asyncio.run(main())
"""


@contextlib.contextmanager
def house(folder: Path, *, user: int | None = None) -> Iterator[tuple[subprocess.Popen[str], int, str]]:
    """A house process, its server's process number and URL."""
    command = [sys.executable, "-c", HOUSE, str(folder)]
    if user is not None:
        # By our own launcher, so that this Python may stand in a folder closed to others.
        words = (os.getpid(), user, pwd.getpwuid(user).pw_gid, 1)
        command = [sys.executable, "-I", "-S", postgres_exec.__file__, *map(str, words), *command]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(postgres_exec.__file__).parents[2]), "HOME": "/nonexistent"},
        cwd="/",
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            said = process.stdout.readline().split()
            assert said, process.stderr.read()
            yield process, int(said[0]), said[1]
        finally:
            process.kill()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110  (other processes)
            await asyncio.sleep(0.02)


async def count(url: str) -> int:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        row = await (await connection.execute("SELECT count(*) FROM bells")).fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture
def home() -> Iterator[Path]:
    # Shorter than pytest's, as the way to a socket must be, and open to any user.
    with tempfile.TemporaryDirectory(prefix="lw-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


async def test_what_was_written_is_there_after_a_stop_and_a_start(home: Path) -> None:
    server = await EmbeddedPostgres.start(home / "pg", settings=QUICK)
    url = server.url
    db = await Database.open(url)
    await db.run("CREATE TABLE bells AS SELECT '[1,2]'::vector AS tone")
    assert await db.row("SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == {"rolsuper": False}
    assert await db.row("SHOW data_checksums") == {"data_checksums": "on"}
    # With a client still connected.
    await server.stop()
    assert server.pid is None
    await server.stop()
    await db.close()
    server = await EmbeddedPostgres.start(home / "pg", settings=QUICK)
    assert server.url == url
    assert await count(url) == 1
    await server.stop()
    assert not (home / "pg" / "postmaster.pid").exists()


async def test_nobody_else_can_connect_and_nothing_listens_on_tcp(postgres: EmbeddedPostgres) -> None:
    assert postgres.pid is not None
    server = psutil.Process(postgres.pid)
    assert [one for one in server.net_connections(kind="inet") if one.status == psutil.CONN_LISTEN] == []
    sockets = postgres.folder.with_name("pg.run")
    assert sockets.stat().st_mode & 0o077 == 0
    assert postgres.folder.stat().st_mode & 0o077 == 0
    assert postgres.log.stat().st_mode & 0o077 == 0


async def test_a_second_start_names_the_process_that_holds_the_folder(home: Path) -> None:
    server = await EmbeddedPostgres.start(home / "pg", settings=QUICK)
    with pytest.raises(StartError, match=rf"{home} is in use by another Loopwright \(process {os.getpid()}\)"):
        await EmbeddedPostgres.start(home / "pg")
    assert server.pid is not None
    await server.stop()


@pytest.mark.parametrize("name", ["with a space, a comma and a 'quote'", "größe/数据", "long" * 40 + "/" + "path" * 40])
async def test_any_path_will_do(home: Path, name: str) -> None:
    folder = home / name / "pg"
    server = await EmbeddedPostgres.start(folder, settings=QUICK)
    db = await Database.open(server.url)
    assert await db.row("SELECT current_database() AS name") == {"name": "loopwright"}
    await db.close()
    await server.stop()
    assert (folder / "PG_VERSION").exists()


async def test_when_its_house_is_killed_the_server_goes_and_the_next_one_just_works(home: Path) -> None:
    with house(home / "pg") as (process, pid, url):
        async with await psycopg.AsyncConnection.connect(url) as connection:
            await connection.execute("CREATE TABLE bells AS SELECT 1")
            await connection.commit()
            server = psutil.Process(pid)
            # With a client connected, who a smart shutdown would wait for.
            process.kill()
            await until(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE)
    after = await EmbeddedPostgres.start(home / "pg", settings=QUICK)
    assert await count(after.url) == 1
    await after.stop()


async def test_after_everything_is_killed_at_once_the_next_start_just_works(home: Path) -> None:
    with house(home / "pg") as (process, pid, url):
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute("CREATE TABLE bells AS SELECT 1")
            tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
            process.kill()
            for one in tree:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
    server = await EmbeddedPostgres.start(home / "pg", settings=QUICK)
    assert await count(server.url) == 1
    await server.stop()


async def test_a_server_left_over_is_stopped_first(home: Path) -> None:
    server = await EmbeddedPostgres.start(home / "pg", settings=QUICK)
    db = await Database.open(server.url)
    await db.run("CREATE TABLE bells AS SELECT 1")
    assert server.pid is not None
    orphan = psutil.Process(server.pid)
    # As if the kernel had not told it of our end: its house is gone, its lock too, and it works on.
    server._lock.release()
    after = await EmbeddedPostgres.start(home / "pg", settings=QUICK)
    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE
    assert await count(after.url) == 1
    await db.close()
    await server.stop()
    await after.stop()


async def test_a_stale_pid_file_that_names_another_program_is_no_obstacle(home: Path) -> None:
    server = await EmbeddedPostgres.start(home / "pg", settings=QUICK)
    await server.stop()
    # This very test is alive under that number, as any program may be after a reboot.
    (home / "pg" / "postmaster.pid").write_text(f"{os.getppid()}\n{home / 'pg'}\n1\n5432\n\n\n0 0\nready\n")
    server = await EmbeddedPostgres.start(home / "pg", settings=QUICK)
    assert server.pid is not None
    await server.stop()


async def test_a_server_that_dies_is_started_again(home: Path) -> None:
    server = await EmbeddedPostgres.start(home / "pg", settings=QUICK)
    watching = asyncio.create_task(server.watch())
    db = await Database.open(server.url)
    first = server.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: server.pid not in (None, first))
    await until((home / "pg" / "postmaster.pid").exists)
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(Exception):
                assert await db.row("SELECT 1 AS one") == {"one": 1}
                break
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await db.close()
    await server.stop()


async def test_a_folder_of_another_version_is_refused_with_what_to_do(home: Path) -> None:
    server = await EmbeddedPostgres.start(home / "pg", settings=QUICK)
    await server.stop()
    (home / "pg" / "PG_VERSION").write_text("16\n")
    with pytest.raises(StartError, match=r"was made by PostgreSQL 16 and this program carries 18.*pg_dump"):
        await EmbeddedPostgres.start(home / "pg")


async def test_a_start_broken_off_while_the_folder_was_made_is_begun_anew(home: Path) -> None:
    (home / "pg.new" / "base").mkdir(parents=True)
    (home / "pg.new" / "PG_VERSION").write_text("18\n")
    server = await EmbeddedPostgres.start(home / "pg", settings=QUICK)
    assert server.pid is not None
    await server.stop()
    assert not (home / "pg.new").exists()


async def test_a_folder_with_something_else_in_it_is_left_alone(home: Path) -> None:
    (home / "pg").mkdir()
    (home / "pg" / "thesis.txt").write_text("years of work")
    with pytest.raises(StartError, match="has files but no database"):
        await EmbeddedPostgres.start(home / "pg")
    assert (home / "pg" / "thesis.txt").read_text() == "years of work"


async def test_a_server_that_will_not_start_says_why_and_frees_the_folder(home: Path) -> None:
    with pytest.raises(StartError, match="no_such_setting"):
        await EmbeddedPostgres.start(home / "pg", settings={"no_such_setting": "1"})
    server = await EmbeddedPostgres.start(home / "pg", settings=QUICK)
    await server.stop()


async def test_the_log_is_bounded_and_holds_nothing_that_people_wrote(home: Path) -> None:
    server = await EmbeddedPostgres.start(home / "pg", settings=QUICK)
    db = await Database.open(server.url)
    await db.run("CREATE TABLE bells (name text UNIQUE)")
    for _ in range(2):
        with contextlib.suppress(psycopg.errors.UniqueViolation):
            await db.run("INSERT INTO bells VALUES (%s)", ("a secret",))
    with contextlib.suppress(psycopg.Error):
        await db.run("SELECT 'a secret' FROM nowhere")
    await db.close()
    await server.stop()
    said = server.log.read_text()
    assert "duplicate key" in said
    assert "a secret" not in said
    with server.log.open("a") as log:
        log.truncate(20_000_000)
    server = await EmbeddedPostgres.start(home / "pg", settings=QUICK)
    await server.stop()
    assert server.log.stat().st_size < 1_000_000
    assert server.log.with_name("pg.log.1").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_it_runs_for_an_ordinary_user_and_root_respects_whose_it_is(home: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    mine = home / "mine"
    mine.mkdir()
    os.chown(mine, nobody.pw_uid, nobody.pw_gid)
    with house(mine / "pg", user=nobody.pw_uid) as (process, pid, _):
        assert psutil.Process(pid).uids().real == nobody.pw_uid
        assert process.stdin is not None
        process.stdin.close()
        process.wait(60)
    assert (mine / "pg").stat().st_uid == nobody.pw_uid
    # And one of root's is refused to the ordinary user, with what to do.
    shutil.chown(mine / "pg", "root")
    with (
        pytest.raises(AssertionError, match="belongs to root; start as that user, give it to this one"),
        house(
            mine / "pg",
            user=nobody.pw_uid,
        ),
    ):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="about root")
async def test_as_root_it_works_in_a_folder_closed_to_others_and_opens_it_to_nobody(home: Path) -> None:
    closed = home / "closed"
    closed.mkdir(mode=0o700)
    server = await EmbeddedPostgres.start(closed / "a" / "pg", settings=QUICK)
    assert server.pid is not None
    assert psutil.Process(server.pid).uids().effective != 0
    assert closed.stat().st_mode & 0o777 == 0o700
    await server.stop()


async def test_a_stop_takes_no_longer_than_the_clients_like(home: Path) -> None:
    server = await EmbeddedPostgres.start(home / "pg", settings=QUICK)
    async with await psycopg.AsyncConnection.connect(server.url) as connection:
        asleep = asyncio.create_task(connection.execute("SELECT pg_sleep(600)"))
        await asyncio.sleep(0.1)
        begun = time.monotonic()
        await server.stop()
        assert time.monotonic() - begun < 300
        with pytest.raises(psycopg.OperationalError):
            await asleep
