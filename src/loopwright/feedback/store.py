"""Scores and corrections in the database. A call that is deleted takes all that was said of it along."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from psycopg.types.json import Jsonb

from loopwright.core.call import Call
from loopwright.core.errors import BadRequest
from loopwright.core.score import Score
from loopwright.feedback.given import Author, Correction, Given, correction_of, parsed
from loopwright.kit.db import Connection, Database
from loopwright.kit.ids import floor_of, time_of
from loopwright.kit.seal import PLAIN, Seal

MOST: Final = 1000
"""Corrections of a page."""
_KNOW: Final = b"""
    insert into feedback_calls (call_id, project_id, key_id, session, tags) values (%s::uuid, %s, %s, %s, %s)
    on conflict (call_id) do nothing
"""
_SCORE: Final = b"""
    insert into feedback_scores
        (call_id, name, source, author, by_key_id, value, label, passed, explanation, sealed_by, weight, cost_nano)
    values (%s::uuid, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    on conflict (call_id, name, source, author) do update set by_key_id = excluded.by_key_id, value = excluded.value,
        label = excluded.label, passed = excluded.passed, explanation = excluded.explanation,
        sealed_by = excluded.sealed_by, weight = excluded.weight, cost_nano = excluded.cost_nano, created_at = now()
    returning id, created_at
"""
_FORGET: Final = """
    with gone as (
        delete from feedback_calls where (%(project)s::int is null or project_id = %(project)s)
          and (%(call)s::uuid is null or call_id = %(call)s::uuid) and (%(key)s::int is null or key_id = %(key)s)
          and (%(session)s::text is null or session = %(session)s
              or (octet_length(session) > 290 and starts_with(%(session)s, session)))
          and (%(tag)s::jsonb is null or tags @> %(tag)s)
        returning call_id),
    marked as (
        -- Words that scores say stand in roll-ups, which are made anew without these.
        insert into feedback_marks (bucket) select distinct date_bin('5 minutes',
            to_timestamp(('x' || lpad(left(replace(call_id::text, '-', ''), 12), 16, '0'))::bit(64)::bigint / 1000.0),
            'epoch'::timestamptz) from gone)
    select count(*) as calls from gone
"""
_MARK: Final = b"insert into feedback_marks (bucket) values (%s)"
_STEP: Final = 300
"""Seconds of calls that roll-ups of scores put together."""
Also = Callable[[Connection, int], Awaitable[None]]
_CORRECTION: Final = "id, call_id::text, project_id, author, latest, body, created_at"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One of many things that are said of calls at once."""

    call: Call
    score: Score
    author: Author
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Feedback:
    """What was said of the calls of all projects."""

    db: Database
    seal: Seal = PLAIN

    async def score(
        self, call: Call, score: Score, author: Author, *, also: Callable[[Connection], Awaitable[None]] | None = None
    ) -> Given:
        """Say something of a call; who says the same again in the same name has changed their mind.

        Raises:
            Unavailable: the database cannot answer now.
        """
        async with self.db.transaction() as connection:
            given = await self.put(connection, call, score, author)
            if also is not None:
                await also(connection)
        return given

    async def put(
        self, connection: Connection, call: Call, score: Score, author: Author, *, weight: float = 1.0
    ) -> Given:
        """`score` in a transaction of somebody else; it stands for `weight` calls, of which this one was drawn."""
        await know(connection, call)
        cursor = await connection.execute(_SCORE, self._line(call, score, author, weight))
        row = await cursor.fetchone()
        await connection.execute(_MARK, (_bucket(call.id),))
        assert row is not None
        return Given(
            id=row["id"],
            call_id=call.id,
            score=score,
            source=author.source,
            author=author.name,
            created_at=row["created_at"],
            weight=weight,
        )

    async def put_many(self, connection: Connection, said: Sequence[Said]) -> None:
        """As `put`, of many at once: one round trip for all."""
        if not said:
            return
        cursor = connection.cursor()
        calls = {each.call.id: each.call for each in said}
        await cursor.executemany(_KNOW, [_known(calls[each]) for each in sorted(calls)])
        ordered = sorted(said, key=lambda each: (each.call.id, each.score.name, each.author.source, each.author.name))
        await cursor.executemany(
            _SCORE, [self._line(each.call, each.score, each.author, each.weight) for each in ordered]
        )
        await cursor.executemany(_MARK, [(each,) for each in sorted({_bucket(name) for name in calls})])

    def _line(self, call: Call, score: Score, author: Author, weight: float) -> tuple[Any, ...]:
        text = score.explanation.encode()
        sealed = self.seal.seal(text, said_about(call.id, score.name, author.source, author.name)) if text else None
        return (
            call.id, score.name, author.source, author.name, author.key_id, score.value, score.label,
            score.passed, sealed, None if sealed is None else self.seal.first, weight, score.cost_nano,
        )  # fmt: skip

    async def scores(self, call_ids: Sequence[str]) -> list[Given]:
        """What was said of some calls, oldest first.

        Raises:
            Sealed: an explanation cannot be opened.
        """
        rows = await self.db.rows(
            "select *, call_id::text as call from feedback_scores where call_id = any(%s::uuid[]) order by created_at, id",
            (list(call_ids),),
        )
        return [self._given(row) for row in rows]

    async def correct(
        self, call: Call, output: Any, author: Author, *, note: str = "", also: Also | None = None
    ) -> Correction:
        """Say what the answer should have been. It counts until somebody says otherwise; all that was said stays.

        Args:
            call: whose answer.
            output: what it should have been.
            author: who says so.
            note: why.
            also: does more in the same transaction; it gets the correction's id.

        Raises:
            BadRequest: the output cannot be kept.
            Unavailable: the database cannot answer now.
        """
        body = correction_of(output, note)
        async with self.db.transaction() as connection:
            await know(connection, call)
            # One after another: each takes the place of the one before.
            await connection.execute(b"select 1 from feedback_calls where call_id = %s::uuid for update", (call.id,))
            await connection.execute(
                b"update feedback_corrections set latest = false where call_id = %s::uuid and latest", (call.id,)
            )
            cursor = await connection.execute(
                b"insert into feedback_corrections (call_id, project_id, author, by_key_id, body, sealed_by)"
                b" values (%s::uuid, %s, %s, %s, %s, %s) returning id, created_at",
                (
                    call.id, call.project_id, author.name, author.key_id,
                    self.seal.seal(body, corrected_about(call.id)), self.seal.first,
                ),
            )  # fmt: skip
            row = await cursor.fetchone()
            assert row is not None
            if also is not None:
                await also(connection, row["id"])
        return Correction(
            id=row["id"],
            call_id=call.id,
            project_id=call.project_id,
            output=output,
            note=note,
            author=author.name,
            latest=True,
            created_at=row["created_at"],
        )

    async def corrections(self, call_id: str) -> list[Correction]:
        """All that were given of one call, the one that counts first.

        Raises:
            Sealed: one cannot be opened.
        """
        rows = await self.db.rows(
            f"select {_CORRECTION} from feedback_corrections where call_id = %s::uuid order by id desc",  # noqa: S608
            (call_id,),
        )
        return [self._correction(row) for row in rows]

    async def page(
        self, *, project_id: int | None, since: datetime | None = None, before: int | None = None, limit: int = 50
    ) -> list[Correction]:
        """The corrections that count, newest first; `project_id` None is of all projects, `before` the last id seen.

        Raises:
            Sealed: one cannot be opened.
        """
        rows = await self.db.rows(
            f"""select {_CORRECTION} from feedback_corrections
                where latest and (%(project)s::int is null or project_id = %(project)s)
                  and (%(since)s::timestamptz is null or created_at >= %(since)s)
                  and (%(before)s::bigint is null or id < %(before)s) order by id desc limit %(limit)s""",  # noqa: S608
            {"project": project_id, "since": since, "before": before, "limit": limit},
        )
        return [self._correction(row) for row in rows]

    async def forget(
        self,
        *,
        project_id: int | None,
        call_id: str | None = None,
        key_id: int | None = None,
        session: str | None = None,
        tag: tuple[str, str] | None = None,
    ) -> int:
        """Forget what was said of the calls that one of these names, for they are deleted; of how many.

        Raises:
            BadRequest: none of them is given, or more than one.
        """
        if sum(each is not None for each in (call_id, key_id, session, tag)) != 1:
            raise BadRequest("say what to forget by exactly one of: a call's id, a key, a session, a tag")
        row = await self.db.row(
            _FORGET,
            {
                "project": project_id,
                "call": call_id,
                "key": key_id,
                "session": session,
                "tag": None if tag is None else Jsonb({tag[0]: tag[1]}),
            },
        )
        return 0 if row is None else int(row["calls"])

    async def retain(self, now: datetime, days: int) -> int:
        """Forget what was said of calls past their retention: who wants it longer makes a dataset of it."""
        return await self.db.run(
            "delete from feedback_calls where call_id < %s::uuid", (floor_of(now - timedelta(days=days + 1)),)
        )

    def _given(self, row: Mapping[str, Any]) -> Given:
        place = said_about(row["call"], row["name"], row["source"], row["author"])
        said = row["explanation"]
        return Given(
            id=row["id"],
            call_id=row["call"],
            score=Score(
                name=row["name"],
                value=row["value"],
                label=row["label"],
                passed=row["passed"],
                explanation="" if said is None else self.seal.open(bytes(said), place).decode(),
                cost_nano=row["cost_nano"],
            ),
            source=row["source"],
            author=row["author"],
            created_at=row["created_at"],
            weight=row["weight"],
        )

    def _correction(self, row: Mapping[str, Any]) -> Correction:
        said = parsed(self.seal.open(bytes(row["body"]), corrected_about(row["call_id"])))
        return Correction(
            id=row["id"],
            call_id=row["call_id"],
            project_id=row["project_id"],
            output=said.get("output"),
            note=str(said.get("note", "")),
            author=row["author"],
            latest=row["latest"],
            created_at=row["created_at"],
        )


async def know(connection: Connection, call: Call) -> None:
    """Note by what a call may be deleted."""
    await connection.execute(_KNOW, _known(call))


def _known(call: Call) -> tuple[Any, ...]:
    return call.id, call.project_id, call.key_id, call.session, Jsonb(dict(call.tags))


def _bucket(call_id: str) -> datetime:
    seconds = int(time_of(call_id).timestamp())
    return datetime.fromtimestamp(seconds // _STEP * _STEP, UTC)


def said_about(call_id: str, name: str, source: str, author: str) -> bytes:
    """What the explanation of a score is sealed for."""
    return f"feedback_scores.explanation {call_id} {name} {source} {author}".encode()


def corrected_about(call_id: str) -> bytes:
    """What a correction is sealed for: it may not come to stand at another call."""
    return f"feedback_corrections.body {call_id}".encode()
