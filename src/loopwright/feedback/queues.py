"""The review queues in the database: made, listed, read; what raters said in them. Who gets which item is in `turns.py`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from psycopg.errors import UniqueViolation
from psycopg.types.json import Jsonb

from loopwright.core.errors import BadRequest, Conflict, NotFound
from loopwright.feedback.given import Author
from loopwright.feedback.review import Item, NewItem, Progress, Rating, Review
from loopwright.feedback.rubric import Criterion, Mode, kept
from loopwright.feedback.store import know
from loopwright.kit.db import Connection, Database
from loopwright.kit.ids import Ids
from loopwright.kit.seal import PLAIN, Seal

ITEMS: Final = 5_000
"""Items of a review."""
RATERS: Final = 9
_NAME: Final = 100
_INSTRUCTIONS: Final = 10_000
_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Reviews:
    """The queues of all projects."""

    db: Database
    seal: Seal = PLAIN
    ids: Ids = field(default_factory=Ids)

    async def create(
        self,
        project_id: int,
        name: str,
        *,
        mode: Mode,
        criteria: Sequence[Criterion],
        items: Sequence[NewItem],
        source: Mapping[str, Any],
        author: Author,
        instructions: str = "",
        raters: int = 2,
    ) -> Review:
        """A new queue.

        Args:
            project_id: whose it is.
            name: its own in the project.
            mode: whether one answer is rated, or two are compared.
            criteria: what is asked of each item.
            items: what is rated, in this order.
            source: where they came from, for people.
            author: who makes it.
            instructions: for raters.
            raters: people who rate each item.

        Raises:
            BadRequest: one of these is not usable.
            Conflict: there is a review of this name.
        """
        name = _checked(name, mode, items, raters, instructions)
        made = "review_" + self.ids.new().replace("-", "")
        try:
            async with self.db.transaction() as connection:
                cursor = await connection.execute(
                    b"insert into reviews (id, project_id, name, mode, instructions, criteria, raters, source, author,"
                    b" by_key_id) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) returning *",
                    (
                        made, project_id, name, mode, instructions, Jsonb([each.shown() for each in criteria]), raters,
                        Jsonb(dict(source)), author.name, author.key_id,
                    ),
                )  # fmt: skip
                row = await cursor.fetchone()
                for position, item in enumerate(items):
                    await self._insert(connection, made, position, item)
        except UniqueViolation:
            raise Conflict(f"there is a review {name!r} already: choose another name", param="name") from None
        assert row is not None
        return review_of(row)

    async def _insert(self, connection: Connection, review_id: str, position: int, item: NewItem) -> None:
        for call in (item.call, item.other_call):
            if call is not None:
                await know(connection, call)
        await connection.execute(
            b"insert into review_items (review_id, position, call_id, other_call_id, example_id, body, sealed_by)"
            b" values (%s, %s, %s::uuid, %s::uuid, %s, %s, %s)",
            (
                review_id,
                position,
                item.call and item.call.id,
                item.other_call and item.other_call.id,
                item.example_id,
                self.seal.seal(item.body(), item_about(review_id, position)),
                self.seal.first,
            ),
        )

    async def list(self, *, project_id: int | None, before: str | None = None, limit: int = 50) -> Sequence[Review]:
        """Reviews, newest first; `before` is the id of the last one seen."""
        rows = await self.db.rows(
            "select * from reviews where (%(project)s::int is null or project_id = %(project)s)"
            " and (%(before)s::text is null or id < %(before)s) order by id desc limit %(limit)s",
            {"project": project_id, "before": before, "limit": limit},
        )
        return [review_of(row) for row in rows]

    async def show(self, which: str, *, project_id: int | None) -> Review:
        """One review by id, or by name: the newest of it where several projects are seen.

        Raises:
            NotFound: there is none.
        """
        row = await self.db.row(
            "select * from reviews where (id = %(which)s or name = %(which)s)"
            " and (%(project)s::int is null or project_id = %(project)s) order by id = %(which)s desc, id desc limit 1",
            {"which": which.replace("\x00", "")[:200], "project": project_id},
        )
        if row is None:
            raise NotFound(f"there is no review {which[:80]!r}", param="review_id")
        return review_of(row)

    async def delete(self, review: Review) -> None:
        """Forget a review with its items and all that was said in it."""
        await self.db.run("delete from reviews where id = %s", (review.id,))

    async def progress(self, reviews: Sequence[Review], *, rater_id: int) -> dict[str, Progress]:
        """How far reviews are, by id."""
        rows = await self.db.rows(
            """select r.id, count(i.id) as items, coalesce(sum(t.rated), 0)::int as ratings,
                   count(i.id) filter (where t.rated >= r.raters) as done,
                   coalesce(sum(t.mine), 0)::int as mine, coalesce(sum(t.skipped), 0)::int as skipped
               from reviews r left join review_items i on i.review_id = r.id
               left join lateral (select count(*) filter (where state = 'rated') as rated,
                       count(*) filter (where state = 'rated' and rater_id = %s) as mine,
                       count(*) filter (where state = 'skipped' and rater_id = %s) as skipped
                   from review_turns t where t.item_id = i.id) t on true
               where r.id = any(%s) group by r.id""",
            (rater_id, rater_id, [review.id for review in reviews]),
        )
        return {
            row["id"]: Progress(
                items=row["items"],
                done=row["done"],
                ratings=row["ratings"],
                mine=row["mine"],
                skipped=row["skipped"],
            )
            for row in rows
        }

    async def progress_of(self, review: Review, *, rater_id: int) -> Progress:
        """How far one review is.

        Raises:
            NotFound: it was deleted meanwhile.
        """
        found = await self.progress([review], rater_id=rater_id)
        if review.id not in found:
            raise NotFound(f"there is no review {review.name!r}: it was deleted just now", param="review_id")
        return found[review.id]

    async def ratings(self, review: Review) -> AsyncIterator[Rating]:
        """All that was said, item by item in their order, rater by rater.

        Raises:
            Sealed: an item or a note cannot be opened.
        """
        last = -1
        while True:
            rows = await self.db.rows(
                """select i.*, i.call_id::text as call, i.other_call_id::text as other_call, t.rater_id, t.rater,
                       t.labels, t.swapped, t.note, t.decided_at
                   from (select * from review_items where review_id = %s and position > %s
                         order by position limit %s) i
                   join review_turns t on t.item_id = i.id where t.state = 'rated' order by i.position, t.rater_id""",
                (review.id, last, _PAGE),
            )
            end = await self.db.row(
                """select max(position) as last from (select position from review_items
                   where review_id = %s and position > %s order by position limit %s) i""",
                (review.id, last, _PAGE),
            )
            for row in rows:
                yield self._rating(row)
            if end is None or end["last"] is None:
                return
            last = end["last"]

    async def raters(self, review: Review) -> Sequence[tuple[int, str]]:
        """Who has rated something: id of the key, and its name."""
        rows = await self.db.rows(
            "select rater_id, min(rater) as rater from review_turns where review_id = %s and state = 'rated'"
            " group by rater_id order by rater_id",
            (review.id,),
        )
        return [(row["rater_id"], row["rater"]) for row in rows]

    def item_of(self, row: Mapping[str, Any]) -> Item:
        """An item as it lies in its row, with `call` and `other_call` as texts.

        Raises:
            Sealed: it cannot be opened.
        """
        said = msgspec.json.decode(self.seal.open(bytes(row["body"]), item_about(row["review_id"], row["position"])))
        return Item(
            id=row["id"],
            review_id=row["review_id"],
            position=row["position"],
            call_id=row["call"],
            other_call_id=row["other_call"],
            example_id=row["example_id"],
            question=said["question"],
            answer=said["answer"],
            other=said["other"],
            reference=said["reference"],
            labels=said["labels"],
        )

    def note_of(self, row: Mapping[str, Any], item_id: int) -> str:
        """What a rater wrote beside their labels."""
        note = row["note"]
        return "" if note is None else self.seal.open(bytes(note), note_about(item_id, row["rater_id"])).decode()

    def _rating(self, row: Mapping[str, Any]) -> Rating:
        return Rating(
            item=self.item_of(row),
            rater_id=row["rater_id"],
            rater=row["rater"],
            labels=row["labels"],
            swapped=row["swapped"],
            note=self.note_of(row, row["id"]),
            decided_at=row["decided_at"],
        )


def review_of(row: Mapping[str, Any]) -> Review:
    """A review as it lies in its row."""
    return Review(
        id=row["id"],
        project_id=row["project_id"],
        name=row["name"],
        mode=row["mode"],
        instructions=row["instructions"],
        criteria=kept(row["criteria"]),
        raters=row["raters"],
        source=row["source"],
        author=row["author"],
        created_at=row["created_at"],
    )


def item_about(review_id: str, position: int) -> bytes:
    """What an item is sealed for."""
    return f"review_items.body {review_id} {position}".encode()


def note_about(item_id: int, rater_id: int) -> bytes:
    """What the note of a rater is sealed for."""
    return f"review_turns.note {item_id} {rater_id}".encode()


def _checked(name: str, mode: Mode, items: Sequence[NewItem], raters: int, instructions: str) -> str:
    name = name.strip()
    if not 0 < len(name) <= _NAME or not name.isprintable() or "/" in name:
        raise BadRequest(f"name: 1 to {_NAME} printable characters without /", param="name")
    if name.startswith("review_"):
        raise BadRequest("name: `review_` is how ids begin; choose another", param="name")
    if not items:
        raise BadRequest("items: there is nothing to rate", param="items")
    if len(items) > ITEMS:
        raise BadRequest(f"items: {len(items):,}; allowed are {ITEMS:,} in one review", param="items")
    if not 1 <= raters <= RATERS:
        raise BadRequest(f"raters: 1 to {RATERS} people for each item", param="raters")
    if len(instructions) > _INSTRUCTIONS or "\x00" in instructions:
        raise BadRequest(f"instructions: up to {_INSTRUCTIONS:,} characters", param="instructions")
    if any((item.other is None) is (mode == "pairwise") for item in items):
        raise BadRequest("items: in pairs each has two answers, under a rubric one", param="items")
    return name
