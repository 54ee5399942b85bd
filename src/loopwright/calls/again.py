"""Answers that may be given again: whoever keeps a cache of them finds them here by the keys of their questions.

An answer lies with its call and nowhere else: it goes when the call goes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from loopwright.calls.pages import texts_of
from loopwright.calls.payloads import Packer
from loopwright.calls.rows import SELECT, call_of
from loopwright.core.call import Call
from loopwright.kit.db import Database
from loopwright.kit.seal import PLAIN, Seal

_FIND: Final = f"""
    select {SELECT}, c.block, c.slot, extract(epoch from c.cache_until)::float8 as until
    from calls c join call_series s on s.id = c.series_id
    where c.cache_key = %s and c.cache_until > now() order by c.id desc limit 1
"""  # noqa: S608  (columns of our own tables)


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
    payload = (await texts_of(db, [row], Packer(seal), {})).get(row["id"])
    return None if payload is None else Given(call=call_of(row), body=payload.response, until=row["until"])


async def newest(db: Database, most: int) -> list[tuple[bytes, int]]:
    """(the first 8 bytes of the key, Unix time in seconds until which it is good) of at most so many answers, oldest first.

    Raises:
        Unavailable: the database cannot answer now.
    """
    rows = await db.rows(
        """select substring(cache_key for 8) as short, floor(extract(epoch from cache_until))::bigint as until from calls
           where cache_key is not null and cache_until > now() order by id desc limit %s""",
        (most,),
    )
    return [(bytes(row["short"]), row["until"]) for row in reversed(rows)]


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
