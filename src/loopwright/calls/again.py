"""Answers that may be given again: whoever keeps a cache of them finds them here by the keys of their questions.

An answer lies with its call and nowhere else: it goes when the call goes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Final

from loopwright.calls.pages import texts_of
from loopwright.calls.payloads import Packer
from loopwright.calls.rows import SELECT, call_of
from loopwright.core.call import Call
from loopwright.kit.db import Database
from loopwright.kit.seal import PLAIN, Seal

_FIND: Final = f"""
    with asked as materialized (select id, cache_until from calls where cache_key = %s),
    newest as (select id, cache_until from asked order by id desc limit 1)
    select {SELECT}, c.block, c.slot, extract(epoch from newest.cache_until)::float8 as until
    from newest join calls c on c.id = newest.id join call_series s on s.id = c.series_id
    where newest.cache_until > now()
"""  # noqa: S608  (columns of our own tables)
"""Materialized: where a partition has no statistics yet, PostgreSQL would walk all calls backwards to the newest with the key."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A call whose answer may be given again."""

    call: Call
    body: bytes
    """OpenAI's non-streamed form."""
    until: float
    """Unix time in seconds."""


async def find(db: Database, key: bytes, seal: Seal = PLAIN) -> Given | None:
    """The newest call that answered the question of `key`, if its answer is still good and can be opened.

    Raises:
        Unavailable: the database cannot answer now.
    """
    row = await db.row(_FIND, (key,))
    if row is None:
        return None
    try:
        payload = (await texts_of(db, [row], Packer(seal), {})).get(row["id"])
    except ValueError as error:
        _log.warning("the answer of call %s cannot be given again: %s", row["id"], error)
        return None
    return None if payload is None else Given(call=call_of(row), body=payload.response, until=row["until"])


async def newest(db: Database, most: int) -> list[tuple[bytes, int]]:
    """(the first 8 bytes of the key, Unix time in seconds until which it is good) of at most so many answers.

    Those that are good for longest, the last one first.

    Raises:
        Unavailable: the database cannot answer now.
    """
    rows = await db.rows(
        """select substring(cache_key for 8) as short, floor(extract(epoch from cache_until))::bigint as until from calls
           where cache_key is not null and cache_until > now() order by cache_until desc limit %s""",
        (most,),
    )
    return [(bytes(row["short"]), row["until"]) for row in reversed(rows)]


async def questions_of(db: Database, call_id: str) -> list[bytes]:
    """The key of the question that a call answered, if its answer may be given again.

    Raises:
        Unavailable: the database cannot answer now.
    """
    row = await db.row("select cache_key from calls where id = %s::uuid and cache_key is not null", (call_id,))
    return [] if row is None else [bytes(row["cache_key"])]


async def count(db: Database, project_id: int | None) -> int:
    """How many answers of a project, or of all, may be given again.

    Raises:
        Unavailable: the database cannot answer now.
    """
    row: dict[str, Any] | None = await db.row(
        """select count(*)::bigint as answers from calls
           where cache_key is not null and cache_until > now() and (%(project)s::int is null or project_id = %(project)s)""",
        {"project": project_id},
    )
    return 0 if row is None else row["answers"]
