import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from loopwright.core.call import CallDetail
from loopwright.core.errors import BadRequest, NotFound, Sealed
from loopwright.feedback.given import score_of
from loopwright.feedback.queues import Reviews
from loopwright.feedback.resealing import SEALED
from loopwright.feedback.speaking import Speaking
from loopwright.feedback.store import Feedback
from loopwright.feedback.turns import Turns
from loopwright.kit.db import Database
from loopwright.kit.keyring import SealingKey
from loopwright.kit.migrations import migrate
from loopwright.kit.seal import Seal
from tests.feedback.saying import AUTHOR, call, detail, queue, rater

pytestmark = pytest.mark.anyio
ONE, TWO = SealingKey(id="one", secret=b"1" * 32), SealingKey(id="two", secret=b"2" * 32)
HELPFUL = score_of("helpful", value=1.0, explanation="because")


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url, size=6)
    await migrate(database, ["feedback"])
    yield database
    await database.close()


async def test_of_corrections_at_once_one_counts(db: Database) -> None:
    feedback, one = Feedback(db), call()
    await asyncio.gather(*(feedback.correct(one, f"answer {at}", AUTHOR) for at in range(12)))
    found = await feedback.corrections(one.id)
    assert len(found) == 12
    assert [each.latest for each in found] == [True] + [False] * 11
    assert [each.id for each in await feedback.page(project_id=1)] == [found[0].id]
    assert await feedback.page(project_id=2) == []


async def test_it_is_forgotten_by_whatever_calls_are_deleted_by(db: Database) -> None:
    feedback = Feedback(db)
    calls = [
        call(),
        call(session="s"),
        call(tags={"t": "v", "x": "y"}),
        call(key_id=7),
        call(session="s", project_id=2),
    ]
    for each in calls:
        await feedback.score(each, HELPFUL, AUTHOR)
        await feedback.correct(each, "x", AUTHOR)
    await queue(Reviews(db), 2, call=calls[0])
    assert await feedback.forget(project_id=1, tag=("t", "other")) == 0
    assert await feedback.forget(project_id=1, call_id=calls[0].id) == 1
    assert await feedback.forget(project_id=1, session="s") == 1
    assert await feedback.forget(project_id=None, tag=("t", "v")) == 1
    assert await feedback.forget(project_id=None, key_id=7) == 1
    left = await feedback.scores([each.id for each in calls])
    assert [each.call_id for each in left] == [calls[4].id]
    assert [each.call_id for each in await feedback.page(project_id=None)] == [calls[4].id]
    assert await db.rows("select * from review_items") == []
    for which in ({}, {"session": "s", "key_id": 1}):
        with pytest.raises(BadRequest):
            await feedback.forget(project_id=None, **which)  # type: ignore[arg-type]


async def test_feedback_goes_when_its_call_is_past_retention(db: Database) -> None:
    feedback, one = Feedback(db), call()
    await feedback.correct(one, "x", AUTHOR)
    now = datetime.now(UTC)
    assert await feedback.retain(now, 90) == 0
    assert await feedback.retain(now + timedelta(days=92), 90) == 1


async def test_what_is_said_while_a_call_is_deleted_does_not_stay(db: Database) -> None:
    feedback, one = Feedback(db), call()
    asked = 0

    async def find(call_id: str, *, project_id: int | None, wait: float = 3.0) -> CallDetail:
        nonlocal asked
        asked += 1
        if asked % 2 == 0:  # between finding it and saying something, somebody deleted it
            raise NotFound("it is gone")
        return detail(one)

    speaking = Speaking(feedback=feedback, find=find, texts=True)
    with pytest.raises(NotFound):
        await speaking.correct(one.id, "x", AUTHOR, project_id=1)
    with pytest.raises(NotFound):
        await speaking.score(one.id, HELPFUL, AUTHOR, project_id=1)
    assert await feedback.corrections(one.id) == []
    assert await feedback.scores([one.id]) == []


async def test_texts_are_sealed_for_their_place_and_sealed_anew(db: Database) -> None:
    seal, one, two = Seal([ONE]), call(), call()
    feedback = Feedback(db, seal)
    plain = Feedback(db)
    await plain.correct(call(), "not sealed", AUTHOR)
    for each in (one, two):
        await feedback.score(each, HELPFUL, AUTHOR)
        await feedback.correct(each, "rhododendron", AUTHOR)
    turns = Turns(Reviews(db, seal))
    review = await queue(turns.reviews, 80)
    turn = await turns.next(review, rater(1))
    assert turn is not None
    await turns.rate(review, turn.item.id, rater(1), {"ok": "yes"}, note="rhododendron")
    bodies = [
        bytes(row["body"]) for row in await db.rows("select body from feedback_corrections where sealed_by = 'one'")
    ]
    assert not any(b"rhododendron" in body for body in bodies)
    assert await SEALED.keys_used(db) == {"one": 2 + 2 + 80 + 1, None: 1}
    ring = Seal([TWO, ONE])
    done = 0
    while step := await SEALED.reseal(db, ring):
        done += step
    assert done == 86
    assert await SEALED.keys_used(db) == {"two": 86}
    after = Feedback(db, Seal([TWO]))
    assert [each.output for each in await after.corrections(one.id)] == ["rhododendron"]
    assert [each.score.explanation for each in await after.scores([one.id])] == ["because"]
    [rating] = [each async for each in Reviews(db, Seal([TWO])).ratings(review)]
    assert (rating.note, rating.item.question) == ("rhododendron", "q 0")
    with pytest.raises(Sealed):
        await feedback.corrections(one.id)
    await db.run(
        "update feedback_corrections set body = (select body from feedback_corrections where call_id = %s::uuid)"
        " where call_id = %s::uuid",
        (one.id, two.id),
    )
    with pytest.raises(Sealed):
        await after.corrections(two.id)  # moved from another call
