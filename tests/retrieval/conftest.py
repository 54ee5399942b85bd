"""A migrated database with shelves to stock, one for the whole room: each test makes collections of its own."""

from collections.abc import AsyncIterator, Iterator

import pytest

from loopwright.kit.db import Database
from loopwright.kit.migrations import migrate
from loopwright.kit.postgres import EmbeddedPostgres
from loopwright.rooms import ROOMS
from tests.databases import lent
from tests.retrieval.stocked import Shelf


@pytest.fixture(scope="module")
def shelves_url(postgres: EmbeddedPostgres, postgres_url: str) -> Iterator[str]:
    """A database for the tests of a file."""
    with lent(postgres, postgres_url) as url:
        yield url


@pytest.fixture
async def shelf(shelves_url: str) -> AsyncIterator[Shelf]:
    db = await Database.open(shelves_url, size=4)
    try:
        await migrate(db, ROOMS)
        yield Shelf(db)
    finally:
        await db.close()
