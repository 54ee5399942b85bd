"""A migrated database with shelves to stock, one for the whole room: each test makes collections of its own."""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from loopwright.kit.db import Database
from loopwright.kit.migrations import migrate
from loopwright.kit.postgres import EmbeddedPostgres
from loopwright.rooms import ROOMS
from tests.retrieval.stocked import Shelf


@pytest.fixture(scope="module")
def shelves_url(postgres: EmbeddedPostgres, postgres_url: str) -> Iterator[str]:
    """A database for the tests of a file."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        make = sql.SQL("CREATE DATABASE {} TEMPLATE loopwright OWNER loopwright STRATEGY wal_log")
        admin.execute(make.format(sql.Identifier(name)))
    try:
        yield postgres.url_of(name, "loopwright")
    finally:
        with psycopg.connect(postgres_url, autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
async def shelf(shelves_url: str) -> AsyncIterator[Shelf]:
    db = await Database.open(shelves_url, size=4)
    try:
        await migrate(db, ROOMS)
        yield Shelf(db)
    finally:
        await db.close()
