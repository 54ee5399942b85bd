from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from loopwright.core.errors import BadRequest, NotFound
from loopwright.evals.cards import Cards
from loopwright.evals.judge_card import calibrated
from loopwright.evals.observation import Observation
from loopwright.kit.db import Database
from loopwright.kit.migrations import migrate

pytestmark = pytest.mark.anyio
OBSERVED = [
    Observation(
        id=str(n), human=("yes" if n % 2 else "no",), verdict="yes" if n % 2 else "no", call_ids=("c",), lengths=(n,)
    )
    for n in range(80)
]


@pytest.fixture
async def cards(database_url: str) -> AsyncIterator[Cards]:
    db = await Database.open(database_url, size=2)
    await migrate(db, ["evals"])
    yield Cards(db)
    await db.close()


async def test_judges_have_versions_by_name(cards: Cards) -> None:
    args = {"form": "rubric", "question": "Good?", "labels": {"yes": 1, "no": 0}, "least": 1}
    first = await cards.put(1, "good", args, author="ann")
    again = await cards.put(1, "good", args, author="bob")
    assert (first.number, again.number, again.author) == (1, 1, "ann")
    second = await cards.put(1, "good", {**args, "question": "Very good?"}, author="bob")
    assert second.number == 2
    assert (await cards.judge(1, "good")).args["question"] == "Very good?"
    names = {each.name for each in await cards.judges(2)}
    assert "good" not in names
    assert "factuality" in names
    with pytest.raises(NotFound, match="did you mean 'good'"):
        await cards.judge(1, "goodd")
    own = await cards.put(1, "faithful", args, author="ann")
    assert (await cards.judge(1, "faithful")).args == own.args
    assert (await cards.judge(2, "faithful")).number == 0
    with pytest.raises(BadRequest, match="no model of its own"):
        second.definition()
    assert second.definition("m").model == "m"


@pytest.mark.parametrize("name", ["", "a/b", " a", "x" * 101, "a\nb"], ids=["empty", "slash", "blank", "long", "line"])
async def test_odd_names_are_refused(cards: Cards, name: str) -> None:
    with pytest.raises(BadRequest, match="name"):
        await cards.put(1, name, {"question": "x"}, author="ann")


async def test_a_card_is_found_by_the_hash_of_its_judge(cards: Cards) -> None:
    args = {"judge": "faithful", "model": "m"}
    definition = (await cards.judge(1, "faithful")).definition("m")
    made = await cards.add(1, calibrated("faithful", definition, OBSERVED), OBSERVED, author="ann", behind="p/m-1")
    assert (await cards.latest(1, definition.sha)) == made
    assert await cards.latest(2, definition.sha) is None
    assert await cards.observations(1, made.id) == tuple(OBSERVED)
    with pytest.raises(NotFound):
        await cards.observations(2, made.id)
    assert (await cards.trust(1, args)).trusted
    assert not (await cards.trust(2, args)).trusted
    assert not (await cards.trust(1, {**args, "parameters": {"temperature": 1}})).trusted
    assert (await cards.trust(1, args, behind="p/m-1")).trusted
    assert not (await cards.trust(1, args, behind="p/m-2")).trusted  # the name leads to another model by now
    assert made.stale(definition) is None
    assert made.stale(None) is not None
    assert "changed" in (made.stale(replace(definition, explain=True)) or "")
    assert "p/m-2" in (made.stale(definition, "p/m-2") or "")
    [kept] = await cards.page(1, "faithful")
    assert kept.card.figures["kappa"].estimate == 1
    assert await cards.page(1, "faithful", before=kept.id) == ()


async def test_a_name_is_told_in_full(cards: Cards) -> None:
    await cards.put(1, "good", {"question": "Good?", "model": "m"}, author="ann")
    assert await cards.resolved(1, {"judge": "good", "explain": True}) == {
        "question": "Good?", "model": "m", "explain": True,
    }  # fmt: skip
    assert await cards.resolved(1, {"question": "x"}) == {"question": "x"}
    with pytest.raises(NotFound):
        await cards.resolved(2, {"judge": "good"})
