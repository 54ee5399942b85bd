"""What every test may ask for."""

import asyncio
import gc
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.remote import Producer

from loopwright.kit.postgres import EmbeddedPostgres
from tests.databases import lent
from tests.spreading import Spreading, sharing

# A shell that runs the tests behind it has them ignore Ctrl-C, and so would every program that they start and stop by it.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Nobody here talks to another machine, and reading the authorities that one trusts takes 20 ms, for each client anew.
os.environ["SSL_CERT_FILE"] = str(Path(__file__).with_name("authority.pem"))
# How long one example takes says how busy the machine is.
settings.register_profile("house", deadline=None)
settings.load_profile("house")
# Importing some thousand tests leaves nothing to collect, and looking for it was a third of that time.
gc.disable()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """One real server for the whole session. A test that stops a server starts one of its own."""
    with tempfile.TemporaryDirectory(prefix="lw-") as home:
        # Nothing here outlives the session, so nothing has to reach the disk.
        quick = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "100"}
        server = asyncio.run(EmbeddedPostgres.start(Path(home) / "pg", settings=quick))
        try:
            yield server
        finally:
            asyncio.run(server.stop())


@pytest.fixture(scope="session")
def postgres_url(postgres: EmbeddedPostgres) -> str:
    """The session's server, as the role that may do everything."""
    return postgres.url_of("postgres", "postgres")


@pytest.fixture
def database_url(postgres: EmbeddedPostgres, postgres_url: str) -> Iterator[str]:
    """A database for this test alone, with pgvector and no tables, owned by the house's role; dropped after."""
    with lent(postgres, postgres_url) as url:
        yield url


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First what shares a house, so that it need not wait for others.

    The console last: Playwright keeps an event loop running on the main thread, where others want their own.
    """
    items.sort(key=lambda item: (not sharing(item.path), "console" in item.path.parts))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Spreading | None:
    return Spreading(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_finish() -> None:
    """What was imported stays until the end: nobody has to look through it again."""
    gc.freeze()
    gc.enable()
