"""Canaries over a real database and a road that answers as a function says: what changed upstream is found, noise is not."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from loopwright.core.errors import UpstreamBroke
from loopwright.datasets.example import Example
from loopwright.datasets.store import Datasets
from loopwright.kit.db import Database
from loopwright.kit.keyring import SealingKey
from loopwright.kit.migrations import migrate
from loopwright.kit.seal import PLAIN, Seal
from loopwright.kit.settings_drift import CanarySettings
from loopwright.monitoring.alerts import Alerts
from loopwright.monitoring.canaries import CanaryRound
from loopwright.monitoring.canaries_compared import corrected, difference, meaning_moved, score_moved, words_changed
from loopwright.monitoring.canaries_findings import accept
from loopwright.monitoring.canaries_store import Canaries, Canary
from loopwright.monitoring.forgetting import forget_task, forget_watched, retain_canaries
from loopwright.monitoring.resealing import DRIFT
from tests.evals.running import QUICK, Answer, Script
from tests.monitoring.drifting import embedder_of


def test_new_answers_are_counted_against_what_varies_by_itself() -> None:
    steady = [["a"] * 5] * 10
    assert words_changed(steady, ["a"] * 10).p == 1.0
    told = words_changed(steady, ["a"] * 7 + ["b"] * 3)
    assert told.p == pytest.approx(6**-3)
    assert told.effect == pytest.approx((3 - 3 / 6) / 10)
    varied = [[f"{n}{at}" for at in range(5)] for n in range(10)]
    assert words_changed(varied, ["new"] * 10).p == 1.0


def test_p_values_hold_for_answers_that_vary() -> None:
    chance = random.Random(1)
    low = 0
    for _ in range(300):
        rows = [[chance.choice("aaab") for _ in range(6)] for _ in range(20)]
        low += words_changed([row[:5] for row in rows], [row[5] for row in rows]).p <= 0.05
    assert low <= 22


def test_meaning_and_score_move_when_the_new_answer_stands_apart() -> None:
    same = [np.eye(4, dtype=np.float32)[[0, 0, 0, 0]]] * 12
    assert meaning_moved(same, seed=0).p == 1.0
    apart = [np.eye(4, dtype=np.float32)[[0, 0, 0, 1]]] * 12
    found = meaning_moved(apart, seed=0)
    assert found.p == pytest.approx(1e-4)
    assert found.effect == pytest.approx(2 / 3)
    worse = score_moved([[1.0, 1.0, 0.9, 0.0]] * 12, seed=0)
    assert worse.p == pytest.approx(1e-4)
    assert worse.effect == pytest.approx(-2.9 / 3)
    assert [each.holm for each in corrected([found, worse])] == pytest.approx([2e-4, 2e-4])


def test_a_difference_is_told_in_words() -> None:
    assert difference("The sky is blue.", "The sky was blue!") == [
        ("same", "The sky "), ("gone", "is"), ("come", "was"), ("same", " blue"), ("gone", "."), ("come", "!"),
    ]  # fmt: skip
    assert difference("", "new") == [("come", "new")]
    assert difference("a " * 5_000, "b")[0][0] == "gone"


class Aviary:
    """One canary, and what is behind the name that it asks."""

    def __init__(self, canaries: Canaries, datasets: Datasets, canary: Canary) -> None:
        self.canaries, self.id = canaries, canary.id
        self.script = Script()
        self.round = CanaryRound(
            canaries=canaries,
            datasets=datasets,
            road=self.script,
            settings=CanarySettings(runs=2),
            pacing=QUICK,
            embedder_of=embedder_of,
            embedder="minilm",
        )

    async def go(self, answer: Answer | None = None) -> Canary:
        """Its time comes."""
        if answer is not None:
            self.script.answer = answer
        canary = await self.canaries.get(self.id, project_id=1)
        await self.canaries.change(canary, next_at=datetime.now(UTC) - timedelta(seconds=1))
        await self.round()
        return await self.canaries.get(self.id, project_id=1)

    async def alerts(self) -> list[str]:
        return [each.state for each in (await Alerts(self.canaries.db).page(project_id=1)).alerts]


@asynccontextmanager
async def aviary(url: str, *, seal: Seal = PLAIN, **told: Any) -> AsyncIterator[Aviary]:
    db = await Database.open(url, size=4)
    await migrate(db, ["access", "calls", "tasks", "datasets", "feedback", "monitoring"])
    datasets, canaries = Datasets(db, seal=seal), Canaries(db, seal)
    made = [Example(id=f"e{n}", inputs={"q": f"question {n}"}, expected=f"answer to {n}") for n in range(12)]
    await datasets.append(1, "pinned", made, author="ann", source="test")
    given: dict[str, Any] = {
        "key_id": 1, "dataset": "pinned", "version": 1, "examples": 12, "model": "m", "parameters": {"temperature": 0},
        "repeats": 3, "every_s": 3_600.0, "budget_nano": None, "alpha": 0.01, "by": "ann",
    }  # fmt: skip
    try:
        yield Aviary(canaries, datasets, await canaries.create(1, "daily", **(given | told)))
    finally:
        await db.close()


def said(_model: str, question: str) -> str:
    return f"answer to {question.rsplit(maxsplit=1)[-1]}"


@pytest.mark.anyio
async def test_a_silently_changed_upstream_is_found_with_its_difference(database_url: str) -> None:
    async with aviary(database_url) as here:
        canary = await here.go(said)
        assert (canary.state, canary.problem) == ("quiet", None)
        assert sum(here.script.asked.values()) == 36
        canary = await here.go()
        assert (canary.state, await here.alerts()) == ("quiet", [])

        def other(model: str, question: str) -> str:
            return f"I think: {said(model, question)}" if question[-1] in "13579" else said(model, question)

        canary = await here.go(other)
        assert (canary.state, await here.alerts()) == ("changed", ["open"])
        [run, *_] = await here.canaries.runs(canary)
        assert run.figures is not None
        assert run.figures["changed"] == 6
        assert {each["name"] for each in run.figures["tests"]} == {"words", "meaning", "score"}
        assert run.figures["again"]
        answers = [each for each in await here.canaries.answers(run.id) if each.repeat == 0]
        assert [each.answer.example for each in answers if each.changed] == ["e1", "e3", "e5", "e7", "e9", "e11"]
        [alert] = (await Alerts(here.canaries.db).page(project_id=1)).alerts
        assert alert.link == f"/drift/canaries/{canary.id}?run={run.id}"
        assert "answer to" not in alert.said

        canary = await here.go(said)  # it came back by itself
        assert (canary.state, await here.alerts()) == ("quiet", ["resolved"])
        await here.go(other)
        await accept(here.canaries, await here.canaries.get(here.id, project_id=1))
        canary = await here.go()
        assert (canary.state, await here.alerts()) == ("quiet", ["resolved", "resolved"])
        assert (await here.go()).state == "quiet"
        assert len(await here.canaries.runs(canary)) <= 3


@pytest.mark.anyio
async def test_answers_that_vary_by_themselves_raise_nothing(database_url: str) -> None:
    chance = random.Random(4)

    def noisy(model: str, question: str) -> str:
        return said(model, question) + chance.choice(["", ".", "!", " indeed"])

    async with aviary(database_url) as here:
        for _ in range(6):
            canary = await here.go(noisy)
            assert canary.state == "quiet"
        assert await here.alerts() == []


@pytest.mark.anyio
async def test_what_was_different_once_wakes_nobody(database_url: str) -> None:
    async with aviary(database_url) as here:
        await here.go(said)
        asked: list[str] = []

        def once(model: str, question: str) -> str:
            asked.append(question)
            return "a hiccup" if len(asked) <= 12 else said(model, question)

        assert (await here.go(once)).state == "quiet"
        assert len(asked) == 24
        assert await here.alerts() == []


@pytest.mark.anyio
@pytest.mark.parametrize("budget", [15_000, 40_000])
async def test_a_budget_ends_a_run(database_url: str, budget: int) -> None:
    async with aviary(database_url, budget_nano=budget) as here:
        canary = await here.go(said)
        assert sum(here.script.asked.values()) * 1_000 <= budget
        assert canary.state == ("learning" if budget == 15_000 else "quiet")
        if budget == 40_000:
            canary = await here.go()
            assert "budget" in (canary.problem or "")
            assert sum(here.script.asked.values()) == 40


@pytest.mark.anyio
async def test_an_upstream_that_is_away_is_no_change(database_url: str) -> None:
    def away(_model: str, _question: str) -> UpstreamBroke:
        return UpstreamBroke("away")

    async with aviary(database_url) as here:
        assert (await here.go(away)).state == "learning"
        await here.go(said)
        canary = await here.go(away)
        assert (canary.state, await here.alerts()) == ("quiet", [])
        assert "too few" in (canary.problem or "")
        assert canary.next_at < datetime.now(UTC) + timedelta(minutes=11)


@pytest.mark.anyio
async def test_replays_go_with_retention_the_baseline_stays_until_its_task_goes(database_url: str) -> None:
    async with aviary(database_url, model="task/t@a") as here:
        await here.go(said)
        canary, db = await here.go(said), here.canaries.db
        later = datetime.now(UTC) + timedelta(days=30)
        assert await retain_canaries(db, later, 31) == 0
        assert await retain_canaries(db, later, 29) == 1
        [baseline] = await here.canaries.runs(canary)
        assert (baseline.id, baseline.kind) == (canary.baseline_id, "baseline")
        assert len(await here.canaries.answers(baseline.id)) == 36
        assert (await here.go(said)).state == "quiet"
        assert await forget_task(db, 2, "t") == await forget_task(db, 1, "other") == await forget_task(db, 1, "t%") == 0
        assert await forget_task(db, 1, "t") == 1
        row = await db.row("select (select count(*) from canary_runs) + (select count(*) from canary_answers) as rows")
        assert row == {"rows": 0}


@pytest.mark.anyio
async def test_answers_are_sealed_and_go_with_their_calls(database_url: str) -> None:
    old, new = SealingKey(id="old", secret=b"o" * 32), SealingKey(id="new", secret=b"n" * 32)
    async with aviary(database_url, seal=Seal([old])) as here:
        canary = await here.go(said)
        assert set(await DRIFT.keys_used(here.canaries.db)) == {"old"}
        while await DRIFT.reseal(here.canaries.db, Seal([new, old])):
            pass
        here.canaries.seal = Seal([new])
        assert canary.baseline_id is not None
        [first, *_] = kept = await here.canaries.answers(canary.baseline_id)
        assert (first.answer.text, len(kept)) == ("answer to 0", 36)
        await forget_watched(here.canaries.db, project_id=2, call_id=first.call_id)
        assert len(await here.canaries.answers(canary.baseline_id)) == 36
        await forget_watched(here.canaries.db, project_id=1, call_id=first.call_id)
        assert len(await here.canaries.answers(canary.baseline_id)) == 35
