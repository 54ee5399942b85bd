"""Databases of the session's server, each for some tests alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
from psycopg import sql

from loopwright.kit.postgres import EmbeddedPostgres


@contextmanager
def lent(postgres: EmbeddedPostgres, postgres_url: str) -> Iterator[str]:
    """A database with pgvector and no tables, owned by the house's role; dropped after."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        # The template is the house's own database as the server makes it; nobody connects to that one here.
        make = sql.SQL("CREATE DATABASE {} TEMPLATE loopwright OWNER loopwright STRATEGY wal_log")
        admin.execute(make.format(sql.Identifier(name)))
    try:
        yield postgres.url_of(name, "loopwright")
    finally:
        with psycopg.connect(postgres_url, autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
