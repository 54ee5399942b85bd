from collections.abc import AsyncIterator

import pytest

from loopwright.evals.cards import Cards, Kept
from loopwright.evals.judge_card import calibrated
from loopwright.evals.observation import Observation
from loopwright.evals.standing import newest, standing
from loopwright.kit.db import Database
from loopwright.kit.migrations import migrate

pytestmark = pytest.mark.anyio
ARGS = {"form": "rubric", "question": "Good?", "labels": {"yes": 1, "no": 0}, "least": 1}
OBSERVED = [
    Observation(id=str(n), human=("yes" if n % 2 else "no",), verdict="yes" if n % 2 else "no") for n in range(80)
]


@pytest.fixture
async def cards(database_url: str) -> AsyncIterator[Cards]:
    db = await Database.open(database_url, size=2)
    await migrate(db, ["evals"])
    yield Cards(db)
    await db.close()


async def card(cards: Cards, model: str, behind: str = "") -> Kept:
    definition = (await cards.judge(1, "good")).definition(model)
    return await cards.add(1, calibrated("good", definition, OBSERVED), OBSERVED, author="ann", behind=behind)


async def test_a_card_speaks_again_when_its_definition_returns(cards: Cards) -> None:
    await cards.put(1, "good", ARGS, author="ann")
    first = await card(cards, "m")
    await cards.put(1, "good", {**ARGS, "question": "Very good?"}, author="ann")
    second, other = await card(cards, "m"), await card(cards, "other")

    async def speaking() -> list[tuple[int, bool]]:
        judges = await cards.judges(1)
        found = newest(judges, await cards.versions(1), leads_to=lambda _: None)
        assert found["faithful"] == ()
        return sorted((each.kept.id, each.stale is None) for each in found["good"])

    assert await speaking() == [(second.id, True), (other.id, True)]
    await cards.put(1, "good", ARGS, author="ann")
    assert await speaking() == [(first.id, True), (other.id, False)]
    assert await cards.versions(2) == ()
    assert [each.id for each in await cards.versions(1, "good")] == [other.id, second.id, first.id]


async def test_a_stale_card_is_never_trusted(cards: Cards) -> None:
    await cards.put(1, "good", ARGS, author="ann")
    kept, judge = await card(cards, "m", behind="p/m-1"), await cards.judge(1, "good")
    fresh = standing(judge, kept, leads_to=lambda _: "p/m-1")
    assert (fresh.trusted, fresh.stale, fresh.reasons) == (True, None, ())
    moved = standing(judge, kept, leads_to=lambda _: "p/m-2")
    assert not moved.trusted
    assert "now leads to 'p/m-2'" in moved.reasons[0]
    assert moved.brief()["stale"] == moved.stale
    assert moved.whole()["card"]["labelled"] == 80
