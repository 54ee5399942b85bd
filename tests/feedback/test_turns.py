import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from loopwright.core.errors import NotFound
from loopwright.feedback.queues import Reviews
from loopwright.feedback.turns import Turns
from loopwright.kit.db import Database
from loopwright.kit.migrations import migrate
from tests.feedback.saying import queue, rater

pytestmark = pytest.mark.anyio


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url, size=6)
    await migrate(database, ["feedback"])
    yield database
    await database.close()


@pytest.fixture
def turns(db: Database) -> Turns:
    return Turns(Reviews(db))


async def test_many_raters_at_once_give_each_item_as_many_as_it_wants(turns: Turns) -> None:
    review = await queue(turns.reviews, 12, raters=2)

    async def rate_all(number: int) -> None:
        while (turn := await turns.next(review, rater(number))) is not None:
            await turns.rate(review, turn.item.id, rater(number), {"ok": "yes"})

    await asyncio.gather(*(rate_all(number) for number in range(1, 7)))
    ratings = [each async for each in turns.reviews.ratings(review)]
    assert Counter(each.item.position for each in ratings) == dict.fromkeys(range(12), 2)
    assert len({(each.item.id, each.rater_id) for each in ratings}) == 24
    [progress] = (await turns.reviews.progress([review], rater_id=1)).values()
    assert progress.complete


async def test_what_somebody_began_comes_first(turns: Turns) -> None:
    review = await queue(turns.reviews, 3)
    for at in range(2):
        first = await turns.next(review, rater(1))
        assert first is not None
        assert first.item.position == at
        await turns.skip(review, first.item.id, rater(1))
    third = await turns.next(review, rater(1))
    assert third is not None
    second = await turns.next(review, rater(2))
    assert second is not None
    assert second.item.position == third.item.position == 2


async def test_an_item_that_nobody_decides_goes_to_others(turns: Turns, db: Database) -> None:
    review = await queue(turns.reviews, 1, raters=1)
    slow = await turns.next(review, rater(1))
    assert slow is not None
    assert await turns.next(review, rater(2)) is None
    await db.run("update review_turns set taken_at = now() - interval '31 minutes'")
    assert await turns.next(review, rater(2)) is not None
    await turns.rate(review, slow.item.id, rater(1), {"ok": "no"})  # it was theirs once


async def test_a_skipped_item_is_never_offered_to_them_again(turns: Turns) -> None:
    review = await queue(turns.reviews, 1)
    turn = await turns.next(review, rater(1))
    assert turn is not None
    await turns.skip(review, turn.item.id, rater(1))
    assert await turns.next(review, rater(1)) is None
    for number in (2, 3):
        other = await turns.next(review, rater(number))
        assert other is not None
        await turns.rate(review, other.item.id, rater(number), {"ok": "yes"})
    assert await turns.next(review, rater(4)) is None


async def test_only_what_was_given_can_be_rated(turns: Turns) -> None:
    review, other = await queue(turns.reviews, 1), await queue(turns.reviews, 1, name="other")
    turn = await turns.next(review, rater(1))
    assert turn is not None
    for who, where in ((rater(2), review), (rater(1), other)):
        with pytest.raises(NotFound):
            await turns.rate(where, turn.item.id, who, {"ok": "yes"})


async def test_sides_are_drawn_and_the_second_rater_sees_them_the_other_way_round(turns: Turns) -> None:
    review = await queue(turns.reviews, 24, mode="pairwise")
    seen: dict[int, list[bool]] = {}
    for number in (1, 2):
        while (turn := await turns.next(review, rater(number))) is not None:
            seen.setdefault(turn.item.id, []).append(turn.swapped)
            assert turn.answers == (("b", "a") if turn.swapped else ("a", "b"))
            await turns.rate(review, turn.item.id, rater(number), {"preference": "left"})
    assert 0 < sum(first for first, _ in seen.values()) < 24
    assert all(first is not second for first, second in seen.values())
    labels = Counter(each.labels["preference"] for each in [one async for one in turns.reviews.ratings(review)])
    assert labels == {"a": 24, "b": 24}  # who always says left says nothing
