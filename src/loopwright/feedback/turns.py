"""Who rates what next: as many raters as a review wants for each item, blind, sides by chance; skip and undo."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from psycopg.types.json import Jsonb

from loopwright.core.errors import Conflict, NotFound
from loopwright.core.who import Principal
from loopwright.feedback.given import text_of
from loopwright.feedback.queues import Reviews, note_about
from loopwright.feedback.review import Review, Turn
from loopwright.feedback.rubric import checked
from loopwright.kit.db import Connection

HELD: Final = "30 minutes"
"""How long an item waits for the rater who took it and does not decide; then others may have it too."""
_ITEM: Final = "i.*, i.call_id::text as call, i.other_call_id::text as other_call"
_TURN: Final = "t.rater_id, t.state, t.swapped, t.labels, t.note"
_MINE: Final = f"""
    select {_ITEM}, {_TURN} from review_turns t join review_items i on i.id = t.item_id
    where t.review_id = %s and t.rater_id = %s and t.state = 'open' order by t.taken_at desc, i.position limit 1
"""  # noqa: S608 - names of columns
# Items that somebody has begun come first, so that what is rated is rated by all as soon as may be.
_FREE: Final = f"""
    select {_ITEM}, c.swapped as first_swapped from review_items i
    join lateral (select count(*) filter (where t.state = 'rated' or t.taken_at > now() - interval '{HELD}') as taken,
            bool_or(t.rater_id = %(rater)s) as mine, (array_agg(t.swapped order by t.taken_at))[1] as swapped
        from review_turns t where t.item_id = i.id and (t.state <> 'skipped' or t.rater_id = %(rater)s)) c on true
    where i.review_id = %(review)s and not coalesce(c.mine, false) and c.taken < %(raters)s
    order by c.taken desc, i.position limit 1 for key share of i
"""  # noqa: S608 - names of columns


@dataclass(frozen=True, slots=True)
class Turns:
    """The turns of raters. A rater is a key: two people who share one count as one."""

    reviews: Reviews

    async def next(self, review: Review, who: Principal) -> Turn | None:
        """The item that is before a rater: the one they took, or another one; None when nothing is left for them.

        Raises:
            Unavailable: the database cannot answer now.
        """
        async with self.reviews.db.transaction() as connection:
            await _alone(connection, review)
            cursor = await connection.execute(_MINE.encode(), (review.id, who.key_id))
            row = await cursor.fetchone()
            if row is None:
                row = await self._take(connection, review, who)
        return None if row is None else self._turn(row)

    async def _take(self, connection: Connection, review: Review, who: Principal) -> dict[str, Any] | None:
        cursor = await connection.execute(
            _FREE.encode(), {"rater": who.key_id, "review": review.id, "raters": review.raters}
        )
        row = await cursor.fetchone()
        if row is None:
            return None
        before = row["first_swapped"]
        # The second rater sees the sides the other way round, so that neither side gains by where it stands.
        swapped = review.mode == "pairwise" and (bool(secrets.randbits(1)) if before is None else not before)
        await connection.execute(
            b"insert into review_turns (item_id, review_id, rater_id, rater, state, swapped)"
            b" values (%s, %s, %s, %s, 'open', %s)",
            (row["id"], review.id, who.key_id, who.key_name, swapped),
        )
        return {**row, "rater_id": who.key_id, "state": "open", "swapped": swapped, "labels": None, "note": None}

    async def turn(self, review: Review, item_id: int, who: Principal) -> Turn:
        """An item that a rater was given.

        Raises:
            NotFound: they were not.
        """
        row = await self.reviews.db.row(
            f"select {_ITEM}, {_TURN} from review_turns t join review_items i on i.id = t.item_id"  # noqa: S608
            " where t.review_id = %s and t.item_id = %s and t.rater_id = %s",
            (review.id, item_id, who.key_id),
        )
        if row is None:
            raise NotFound(f"item {item_id} is not before you: ask for the next one, and rate that", param="item")
        return self._turn(row)

    async def rate(
        self, review: Review, item_id: int, who: Principal, sides: Mapping[str, str], note: str = ""
    ) -> None:
        """Say what one finds of an item that one was given; again takes the place of what one said.

        Args:
            review: the queue.
            item_id: what `next` gave.
            who: who rates.
            sides: a label for each criterion; in pairs `left`, `right` or `tie`.
            note: for people.

        Raises:
            BadRequest: a criterion is missing, or a label is none.
            NotFound: the rater was not given this item.
        """
        turn = await self.turn(review, item_id, who)
        labels = checked(turn.said(sides), review.criteria)
        text = text_of(note, "note").encode()
        await self._decide(
            item_id,
            who,
            "rated",
            Jsonb(labels),
            self.reviews.seal.seal(text, note_about(item_id, who.key_id)) if text else None,
        )

    async def skip(self, review: Review, item_id: int, who: Principal) -> None:
        """Leave an item to others.

        Raises:
            NotFound: the rater was not given this item.
        """
        await self.turn(review, item_id, who)
        await self._decide(item_id, who, "skipped", None, None)

    async def _decide(self, item_id: int, who: Principal, state: str, labels: Jsonb | None, note: bytes | None) -> None:
        await self.reviews.db.run(
            "update review_turns set state = %s, labels = %s, note = %s, sealed_by = %s, decided_at = clock_timestamp()"
            " where item_id = %s and rater_id = %s",
            (state, labels, note, None if note is None else self.reviews.seal.first, item_id, who.key_id),
        )

    async def undo(self, review: Review, who: Principal) -> Turn:
        """Take back what one decided last: that item is before one again, with what one said. Again goes further back.

        Raises:
            Conflict: there is nothing to take back.
        """
        async with self.reviews.db.transaction() as connection:
            await _alone(connection, review)
            cursor = await connection.execute(
                b"""update review_turns set state = 'open', taken_at = clock_timestamp(), decided_at = null
                    where rater_id = %(rater)s and item_id = (select item_id from review_turns
                        where review_id = %(review)s and rater_id = %(rater)s and decided_at is not null
                        order by decided_at desc, item_id desc limit 1) returning item_id""",
                {"rater": who.key_id, "review": review.id},
            )
            row = await cursor.fetchone()
        if row is None:
            raise Conflict("there is nothing to take back: you have not rated or skipped an item here")
        return await self.turn(review, row["item_id"], who)

    def _turn(self, row: Mapping[str, Any]) -> Turn:
        return Turn(
            item=self.reviews.item_of(row),
            state=row["state"],
            swapped=row["swapped"],
            labels=row["labels"] or {},
            note=self.reviews.note_of(row, row["id"]),
        )


async def _alone(connection: Connection, review: Review) -> None:
    """One rater at a time takes an item, else two could take the last place of the same."""
    await connection.execute(b"select pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"turns of {review.id}",))
