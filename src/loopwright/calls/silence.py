"""Has answers not given again whose calls stay: on record, and of what still waits in a spool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import msgspec

from loopwright.calls.erase import Marks, Target, checked, mark, named
from loopwright.calls.record import Record
from loopwright.kit.db import Connection, Database

_CHUNK: Final = 2000


@dataclass(slots=True)
class Silences(Marks):
    """What is not to be given again."""

    questions: dict[bytes, list[tuple[int | None, datetime]]] = field(default_factory=dict)
    """By key."""

    async def hold(self, connection: Connection) -> None:
        """Read what is new, under the lock that `Erasures.hold` shares."""
        cursor = await connection.execute("select * from call_silences where id > %s order by id", (self.last,))
        for row in await cursor.fetchall():
            self.note(row)
            for key in row["questions"] or ():
                self.questions.setdefault(bytes(key), []).append((row["project_id"], row["before"]))

    def heard(self, record: Record) -> Record:
        """`record`, without the key of its answer if that is not to be given again."""
        if record.cache_key is None or not (self.covers(record) or self._asked(record, record.cache_key)):
            return record
        return msgspec.structs.replace(record, cache_key=None)

    def _asked(self, record: Record, key: bytes) -> bool:
        return any(
            project in (None, record.project_id) and record.started_ns < before.timestamp() * 1e9
            for project, before in self.questions.get(key, ())
        )


async def silence(db: Database, target: Target, questions: Sequence[bytes] = ()) -> int:
    """Have the answers of the calls that `target` names, and all to some questions, not given again; how many could have been.

    Raises:
        BadRequest: the call id is none.
        Unavailable: the database cannot answer now; asking again goes on.
    """
    before = datetime.now(UTC)
    checked(target)
    async with db.transaction() as connection:
        number = await mark(connection, "call_silences", target, before)
        if questions:
            await connection.execute(
                "update call_silences set questions = %s::bytea[] where id = %s", (list(questions), number)
            )
    where, params = named(target, before)
    if questions:
        where = (
            f"({where} or cache_key = any(%(questions)s::bytea[]) and started_at < %(before)s"
            " and (%(project)s::int is null or project_id = %(project)s))"
        )
        params = {**params, "questions": list(questions)}
    statement = f"""
        update calls set cache_key = null, cache_until = null where id in (
            select id from calls where cache_key is not null and cache_until > now() and {where} order by id limit {_CHUNK})
    """  # noqa: S608
    gone = 0
    while True:
        some = await db.run(statement, params)
        gone += some
        if some < _CHUNK:
            return gone
