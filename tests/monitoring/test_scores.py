"""Scores rolled up: exact under changes of mind, weighted by lot, split by what calls have in common."""

import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from loopwright.core.errors import BadRequest
from loopwright.core.score import Score
from loopwright.feedback.given import Author
from loopwright.monitoring.score_rollups import MOST_LABELS, OTHER, RollUps
from loopwright.monitoring.scores import ScoreFilter, Scores
from tests.monitoring.keeping import Kept, kept, record

pytestmark = pytest.mark.anyio
CODE = Author(name="monitor", source="code", key_id=0)
ANN = Author(name="ann", key_id=1)


async def say(house: Kept, call_id: str, author: Author = CODE, *, weight: float = 1.0, **said: Any) -> None:
    call = (await house.calls.get(call_id, project_id=None)).call
    score = Score(**({"name": "quality", "value": None} | said))
    async with house.db.transaction() as connection:
        await house.feedback.put(connection, call, score, author, weight=weight)


async def test_a_mean_is_of_all_calls_also_those_not_drawn(database_url: str, tmp_path: Path) -> None:
    async with kept(database_url, tmp_path) as house:
        often, rare = [record() for _ in range(4)], [record(variant="b") for _ in range(2)]
        await house.keep(*often, *rare)
        for at, each in enumerate(often):
            await say(house, each.id, value=float(at % 2), weight=10.0, passed=bool(at % 2), cost_nano=5)
        for each in rare:
            await say(house, each.id, value=1.0, passed=True)
        await RollUps(house.db)()
        scores = Scores(house.db)
        [whole] = await scores.summary(ScoreFilter(project_id=1))
        assert (whole.name, whole.source, whole.value) == ("quality", "code", None)
        assert whole.figure.scores == 6
        assert whole.figure.calls == pytest.approx(42)
        assert whole.figure.mean == pytest.approx(22 / 42)
        assert whole.figure.passed == pytest.approx(22 / 42)
        assert (whole.figure.least, whole.figure.most, whole.figure.failed) == (0.0, 1.0, 2)
        assert whole.figure.cost_nano == 20
        assert whole.figure.low is not None
        assert whole.figure.low < 22 / 42
        by = await scores.by("variant", ScoreFilter(project_id=1, name="quality"))
        assert [(each.value, each.figure.mean) for each in by] == [("a", 0.5), ("b", 1.0)]
        assert await scores.summary(ScoreFilter(project_id=2)) == []
        assert await scores.names(1, task="t") == ["quality"]
        worst = await scores.calls(ScoreFilter(project_id=1, name="quality"), below=0.5)
        assert {each.call_id for each in worst} == {often[0].id, often[2].id}


async def test_who_changes_their_mind_is_counted_once(database_url: str, tmp_path: Path) -> None:
    async with kept(database_url, tmp_path) as house:
        one = record()
        await house.keep(one)
        for value in (0.0, 1.0):
            await say(house, one.id, ANN, value=value)
            await RollUps(house.db)()
        await say(house, one.id, value=0.25)
        await RollUps(house.db)()
        found = await Scores(house.db).summary(ScoreFilter())
        assert [(each.source, each.figure.scores, each.figure.mean) for each in found] == [
            ("code", 1, 0.25),
            ("person", 1, 1.0),
        ]
        assert await house.db.rows("select * from feedback_marks") == []


async def test_what_is_said_while_a_bucket_is_made_is_not_lost(database_url: str, tmp_path: Path) -> None:
    async with kept(database_url, tmp_path) as house:
        one, other = record(), record()
        await house.keep(one, other)
        call = (await house.calls.get(one.id, project_id=None)).call
        await say(house, other.id, value=1.0)
        async with house.db.transaction() as connection:
            await house.feedback.put(connection, call, Score(name="quality", value=0.0), CODE)
            await RollUps(house.db)()
        [half] = await Scores(house.db).summary(ScoreFilter())
        assert half.figure.scores == 1
        await RollUps(house.db)()
        [whole] = await Scores(house.db).summary(ScoreFilter())
        assert whole.figure.scores == 2


async def test_words_are_shares_and_rare_ones_are_put_together(database_url: str, tmp_path: Path) -> None:
    async with kept(database_url, tmp_path) as house:
        records = [record() for _ in range(MOST_LABELS + 5)]
        await house.keep(*records)
        for at, each in enumerate(records):
            await say(house, each.id, label=f"word {at}" if at else "often", weight=7.0 if at == 0 else 1.0)
        await RollUps(house.db)()
        [found] = await Scores(house.db).summary(ScoreFilter())
        assert found.figure.scores == len(records)
        assert next(iter(found.figure.labels)) == "often"
        assert found.figure.labels[OTHER] == pytest.approx(5 / (MOST_LABELS + 11))
        assert found.figure.mean is None


async def test_over_time_there_are_no_gaps_and_long_ago_is_told_by_the_hour_and_day(
    database_url: str, tmp_path: Path
) -> None:
    async with kept(database_url, tmp_path) as house:
        now = datetime.now(UTC)
        ages = (timedelta(minutes=1), timedelta(days=3), timedelta(days=20))
        for at, age in enumerate(ages):
            started = time.time_ns() - int(age.total_seconds()) * 10**9
            one = record(started_ns=started, session="s", key_id=9, tags={"team": "x"})
            await house.keep(one)
            await say(house, one.id, value=float(at))
        await RollUps(house.db)()
        scores = Scores(house.db)
        for days, step, found in ((1, 3600, 1), (7, 21600, 2), (30, 86400, 3)):
            asked = ScoreFilter(since=now - timedelta(days=days))
            [series] = await scores.series(asked, points=48)
            assert series.step_seconds == step
            times = [point.at for point in series.points]
            assert {(b - a).total_seconds() for a, b in pairwise(times)} == {series.step_seconds}
            assert sum(point.figure.scores for point in series.points) == found
        month = ScoreFilter(since=now - timedelta(days=30))
        assert [each.value for each in await scores.by("key", month)] == [9]
        assert [each.value for each in await scores.by("tag", month, tag="team")] == ["x"]
        session = ScoreFilter(since=now - timedelta(days=30), session="s", tags=(("team", "x"),))
        [group] = await scores.summary(session)
        assert group.figure.mean == 1.0
        for refused in (scores.by("tag", month), scores.series(month, points=0)):
            with pytest.raises(BadRequest):
                await refused
        with pytest.raises(BadRequest):
            await scores.by("key", ScoreFilter(since=now - timedelta(days=40)))


async def test_what_is_forgotten_goes_from_figures_and_old_words_go_with_their_calls(
    database_url: str, tmp_path: Path
) -> None:
    async with kept(database_url, tmp_path) as house:
        now = datetime.now(UTC)
        old = [record(started_ns=time.time_ns() - 20 * 86_400 * 10**9) for _ in range(3)]
        stays, goes = record(), record(session="s")
        await house.keep(*old, stays, goes)
        for at, each in enumerate(old):
            await say(house, each.id, label=f"word {at}", value=float(at))
        for each in (stays, goes):
            await say(house, each.id, label="Ann said so" if each is goes else "yes", passed=True)
        await RollUps(house.db)()
        await house.calls.delete(project_id=None, session="s")
        assert await house.feedback.forget(project_id=None, session="s") == 1
        await RollUps(house.db)()
        [left] = await Scores(house.db).summary(ScoreFilter())
        assert (left.figure.scores, list(left.figure.labels)) == (1, ["yes"])
        month = ScoreFilter(since=now - timedelta(days=30))
        [whole] = await Scores(house.db).summary(month)
        assert whole.figure.scores == 4
        for _ in range(2):
            await RollUps(house.db).tidy(now, 400, worded=10)
        [whole] = await Scores(house.db).summary(month)
        assert whole.figure.labels == {OTHER: pytest.approx(3 / 4), "yes": pytest.approx(1 / 4)}
        assert (whole.figure.scores, whole.figure.least, whole.figure.most) == (4, 0.0, 2.0)
        await RollUps(house.db).tidy(now, 10, worded=5)
        [whole] = await Scores(house.db).summary(month)
        assert whole.figure.scores == 1
