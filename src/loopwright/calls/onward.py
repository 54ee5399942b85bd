"""Calls in the order in which they began, with their texts, from one on: for who goes through all of them once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from loopwright.calls.pages import condition_of, detail_of, texts_of
from loopwright.calls.payloads import Packer
from loopwright.calls.question import CallFilter
from loopwright.calls.rows import SELECT, call_of
from loopwright.core.call import Call, CallDetail
from loopwright.kit.db import Database
from loopwright.kit.seal import PLAIN, Seal

MOST: Final = 1_000


async def onward(
    db: Database,
    which: CallFilter,
    *,
    after: str | None,
    limit: int = 200,
) -> Sequence[Call]:
    """Up to `limit` calls that pass `which` (but for `text`), oldest first, newer than the call `after`.

    Raises:
        BadRequest: `after` is no call id.
        Unavailable: the database cannot answer now.
    """
    condition = await condition_of(db, which)
    if condition is None:
        return ()
    if after is not None:
        condition.after(after)
    rows = await db.rows(
        f"""select {SELECT} from calls c join call_series s on s.id = c.series_id
            where {condition.sql()} order by c.id limit %(limit)s""",  # noqa: S608 - fragments of ours
        condition.params | {"limit": min(limit, MOST)},
    )
    return [call_of(row) for row in rows]


async def with_texts(db: Database, ids: Sequence[str], seal: Seal = PLAIN) -> Sequence[CallDetail]:
    """Those of some calls that are on record, oldest first, with their texts as far as they are kept and can be opened.

    Raises:
        Unavailable: the database cannot answer now.
    """
    rows = await db.rows(
        f"""select {SELECT}, c.block, c.slot from calls c join call_series s on s.id = c.series_id
            where c.id = any(%s::uuid[]) order by c.id""",  # noqa: S608 - as above
        (list(ids),),
    )
    closed: dict[UUID, str] = {}
    texts = await texts_of(db, rows, Packer(seal), closed)
    return [detail_of(call_of(row), texts.get(row["id"]), closed.get(row["id"])) for row in rows]
