"""The audit log: who did what of an administrator's acts, when and from where. Append-only; a trigger holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg.types.json import Jsonb

from loopwright.core.who import HOUSE, Principal
from loopwright.kit.db import Connection, Database

_INSERT: Final = (
    b"insert into audit (key_id, who, origin, act, subject, project_id, detail) values (%s, %s, %s, %s, %s, %s, %s)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who acts, and from where."""

    who: Principal
    origin: str
    """The client's address, or the program that acts."""


BY_HOUSE: Final = Actor(who=HOUSE, origin="loopwright")


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One line of the log."""

    id: int
    at: datetime
    key_id: int
    """0: Loopwright itself."""
    who: str
    origin: str
    act: str
    """noun.verb, e.g. `key.revoke`."""
    subject: str
    """What it was done to, e.g. `key 7`."""
    project_id: int | None
    detail: dict[str, Any]


class Audit:
    """The log in the database."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def note(
        self, by: Actor, act: str, subject: str, detail: Mapping[str, object], *, project_id: int | None = None
    ) -> None:
        """Write a line on its own, for an act of a room that keeps no log.

        Raises:
            Unavailable: the database does not answer; then do not act.
        """
        await self._db.run(_INSERT.decode(), _values(by, act, subject, detail, project_id))

    async def page(
        self, *, act: str | None = None, subject: str | None = None, before: int | None = None, limit: int = 50
    ) -> tuple[Act, ...]:
        """Newest first. `act` is a whole one or its noun; `before` the id of the last line seen."""
        rows = await self._db.rows(
            "select * from audit where (%(before)s::bigint is null or id < %(before)s)"
            " and (%(act)s::text is null or act = %(act)s or split_part(act, '.', 1) = %(act)s)"
            " and (%(subject)s::text is null or subject = %(subject)s) order by id desc limit %(limit)s",
            {"act": act, "subject": subject, "before": before, "limit": limit},
        )
        return tuple(Act(**row) for row in rows)


async def note(
    connection: Connection,
    by: Actor,
    act: str,
    subject: str,
    detail: Mapping[str, object],
    *,
    project_id: int | None = None,
) -> None:
    """Write a line in the transaction of the act itself: both are there, or neither."""
    await connection.execute(_INSERT, _values(by, act, subject, detail, project_id))


def _values(
    by: Actor, act: str, subject: str, detail: Mapping[str, object], project_id: int | None
) -> tuple[object, ...]:
    return by.who.key_id, by.who.key_name, by.origin, act, subject, project_id, Jsonb(dict(detail))
