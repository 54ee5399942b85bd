"""Gives a call on record its texts afterwards: what a program tells of it may come in two parts, the texts later."""

from __future__ import annotations

from uuid import UUID

from loopwright.calls.answer import read
from loopwright.calls.erase import LOCK
from loopwright.calls.payloads import Packer, Payload, about
from loopwright.calls.rows import day_of
from loopwright.kit.db import Database
from loopwright.kit.seal import PLAIN, Seal


async def add_texts(
    db: Database, call_id: str, request: bytes, answer: bytes, *, seal: Seal = PLAIN, full_text: bool = True
) -> bool:
    """Put texts beside a call that has none; False where it has some, or is not on record.

    Raises:
        Unavailable: the database cannot answer now.
    """
    day = day_of(call_id)
    async with db.transaction() as connection:
        await connection.execute("select pg_advisory_xact_lock_shared(%s)", (LOCK,))
        cursor = await connection.execute("select block, error from calls where id = %s::uuid for update", (call_id,))
        row = await cursor.fetchone()
        if row is None or row["block"] is not None:
            return False
        cursor = await connection.execute("select nextval('call_blocks') as block")
        numbered = await cursor.fetchone()
        assert numbered is not None
        block = numbered["block"]
        payload = Payload(request, read(answer, stream=False).body, row["error"] if seal else None)
        await connection.execute(
            "insert into call_payloads (day, block, body, sealed_by) values (%s, %s, %s, %s)",
            (day, block, Packer(seal).pack([payload], about(day, block)), seal.first),
        )
        await connection.execute(
            "update calls set block = %s, slot = 0, error = case when %s then null else error end where id = %s::uuid",
            (block, bool(seal), call_id),
        )
        if full_text:
            await connection.execute(
                "insert into call_unindexed (day, ids, blocks, sizes) values (%s, %s, %s, %s)",
                (day, UUID(call_id).bytes, [block], [1]),
            )
    return True
