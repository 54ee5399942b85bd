import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import krippendorff
import numpy as np
import pytest

from loopwright.core.errors import NotFound, Refused
from loopwright.core.who import HOUSE
from loopwright.evals.labelled import labelled
from loopwright.evals.raters import agreement, check_done, exported
from loopwright.feedback.given import Author
from loopwright.feedback.queues import Reviews
from loopwright.feedback.review import Item, NewItem, Progress, Rating, Review
from loopwright.feedback.rubric import Level, Mode, criteria_of
from loopwright.feedback.turns import Turns
from loopwright.kit.db import Database
from loopwright.kit.migrations import migrate
from tests.feedback.saying import rater

pytestmark = pytest.mark.anyio


@pytest.fixture
async def turns(database_url: str) -> AsyncIterator[Turns]:
    database = await Database.open(database_url, size=4)
    await migrate(database, ["feedback"])
    yield Turns(Reviews(database))
    await database.close()


def review_of(*criteria: str, mode: Mode = "rubric") -> Review:
    return Review(
        id="review_1", project_id=1, name="r", mode=mode, instructions="", criteria=criteria_of(criteria, mode),
        raters=2, source={}, author="ann", created_at=datetime.now(UTC),
    )  # fmt: skip


def rating(position: int, rater: int, **labels: str) -> Rating:
    item = Item(
        id=position, review_id="review_1", position=position, call_id=None, other_call_id=None, example_id=None,
        question="q", answer="a", other=None, reference=None, labels={},
    )  # fmt: skip
    now = datetime.now(UTC)
    return Rating(item=item, rater_id=rater, rater=str(rater), labels=labels, swapped=False, note="", decided_at=now)


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_alpha_is_krippendorffs_with_gaps(level: Level) -> None:
    review = review_of("x:1-5")
    [criterion] = criteria_of([{"name": "x", "answers": ["1", "2", "3", "4", "5"], "level": level}], "rubric")
    review = Review(**{**{name: getattr(review, name) for name in review.__slots__}, "criteria": (criterion,)})
    chance = np.random.default_rng(5)
    table = chance.integers(1, 6, size=(3, 40)).astype(float)
    table[1] = np.where(chance.random(40) < 0.7, table[0], table[1])
    table[chance.random((3, 40)) < 0.3] = np.nan
    ratings = [
        rating(unit, who, x=str(int(table[who, unit])))
        for unit in range(40)
        for who in range(3)
        if not np.isnan(table[who, unit])
    ]
    [found] = agreement(review, ratings)
    expected = krippendorff.alpha(reliability_data=table, level_of_measurement=level)
    assert found.alpha is not None
    assert found.alpha.estimate == pytest.approx(expected, abs=1e-9)
    assert found.alpha.low <= expected <= found.alpha.high


def test_what_is_not_known_is_no_number() -> None:
    review = review_of("x:yes,no")
    assert [each.alpha for each in agreement(review, [])] == [None]
    alone = agreement(review, [rating(0, 1, x="yes"), rating(1, 2, x="no")])[0]
    assert (alone.alpha, alone.same, alone.verdict, alone.items) == (None, None, "not known", 0)
    same = agreement(review, [rating(at, who, x="yes") for at in range(3) for who in (1, 2)])[0]
    assert (same.alpha, same.same, same.items) == (None, 1.0, 3)
    assert same.shown()["alpha"] is None


def test_what_others_said_is_for_administrators_until_all_is_said() -> None:
    half, whole = (Progress(items=2, done=done, ratings=2, mine=1, skipped=0) for done in (1, 2))
    with pytest.raises(Refused, match="blind"):
        check_done(half, rater(1))
    check_done(half, HOUSE)
    check_done(whole, rater(1))


@pytest.mark.parametrize("mode", ["rubric", "pairwise"])
async def test_what_is_exported_calibrates_a_judge(turns: Turns, mode: Mode) -> None:
    pairs = mode == "pairwise"
    review = await turns.reviews.create(
        1,
        "r",
        mode=mode,
        criteria=criteria_of([] if pairs else ["helpful:1-5", "true:yes,no"], mode),
        items=[
            NewItem(
                question=f"q {at}", answer=f"a {at}", other=f"b {at}" if pairs else None, reference="ref",
                labels={"a": "gpt", "b": "llama"} if pairs else {"a": "gpt"},
            )
            for at in range(5)
        ],
        source={},
        author=Author(name="ann", key_id=1),
    )  # fmt: skip
    for number in (3, 1):
        for _ in range(5 if number == 3 else 2):
            turn = await turns.next(review, rater(number))
            assert turn is not None
            first = turn.answers[0].startswith("a")
            sides = {"preference": "left" if first else "right"} if pairs else {"helpful": "4", "true": "no"}
            await turns.rate(review, turn.item.id, rater(number), sides)
    name = "preference" if pairs else "helpful"
    lines = [each async for each in exported(turns.reviews, review, criterion=name)]
    things = list(labelled(lines))
    label = "a" if pairs else "4"
    assert [thing.human for thing in things] == [(label, label)] * 2 + [(None, label)] * 3
    assert [thing.pair for thing in things] == [pairs] * 5
    assert (things[0].material.input, things[0].material.answer) == ("q 0", "a 0")
    assert things[0].authors == (("gpt", "llama") if pairs else ("gpt",))
    rows = [json.loads(each) async for each in exported(turns.reviews, review)]
    assert len(rows) == 7 * len(review.criteria)
    with pytest.raises(NotFound):
        [each async for each in exported(turns.reviews, review, criterion="nothing")]
