"""Objectives of every kind over real roll-ups: who is told, what stands, and that a restart reads the same."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from loopwright.core.score import Score
from loopwright.feedback.given import Author
from loopwright.kit.settings_alerts import ObjectiveSettings
from loopwright.monitoring.alerts import Alerts
from loopwright.monitoring.alerts_counts import Counts
from loopwright.monitoring.objectives import Tally
from loopwright.monitoring.objectives_ledger import Ledger
from loopwright.monitoring.objectives_standing import standings
from loopwright.monitoring.score_rollups import RollUps
from tests.monitoring.hearing import watched
from tests.monitoring.test_alerts import answered, failed

pytestmark = pytest.mark.anyio
OBJECTIVES = {
    "quick": ObjectiveSettings(kind="latency", under=2.0, goal=0.9, by=("target",)),
    "prompt": ObjectiveSettings(kind="ttft", under=0.5, goal=0.9),
    "cheap": ObjectiveSettings(kind="cost", usd=0.001, goal=0.9, model="m", by=()),
    "good": ObjectiveSettings(kind="quality", score="groundedness", goal=0.9, by=("task",)),
    "better": ObjectiveSettings(kind="quality", score="groundedness", at_least=0.9, goal=0.9, by=()),
    "elsewhere": ObjectiveSettings(project="nowhere", goal=0.9),
}


async def test_every_kind_of_objective(database_url: str, tmp_path: Path) -> None:
    async with watched(database_url, tmp_path, objectives=OBJECTIVES) as here:
        slow = [answered(ago, latency_us=5_000_000, target="x", cost_nano=2_000_000, task="t") for ago in range(1, 11)]
        quick = [answered(ago, latency_us=100_000, target="y", cost_nano=2_000_000, task="t") for ago in range(1, 11)]
        await here.house.keep(*slow, *quick)
        for each in slow:
            call = (await here.house.calls.get(each.id, project_id=None)).call
            async with here.db.transaction() as connection:
                score = Score(name="groundedness", value=0.1, passed=False)
                await here.house.feedback.put(connection, call, score, Author(name="monitor", source="code", key_id=0))
        await RollUps(here.db)()
        await here.look()
        found: dict[str, Any] = {each.rule: each for each in (await Alerts(here.db).page(project_id=1)).alerts}
        assert set(found) == {"quick", "cheap", "good", "better"}
        assert found["quick"].labels == {"target": "x"}
        assert found["quick"].calls["min_latency_ms"] == "2000"
        assert "10 of 10 calls of the last hour took longer than 2 s" in found["quick"].title
        assert "20 of 20 calls of the last hour cost more than $0.001 on average" in found["cheap"].title
        assert found["good"].labels == {"task": "t"}
        rows = await standings(here.db, OBJECTIVES, project_id=1)
        stands = {(each.objective, *each.labels.values()): each for each in rows}
        assert stands["quick", "x"].budget.tally == Tally(total=10, bad=10)
        assert stands["quick", "x"].state == "burning"
        assert stands["quick", "y"].budget.left == 1.0
        assert stands["better",].budget.tally == Tally(total=10, bad=10)
        assert await standings(here.db, OBJECTIVES, project_id=2) == []


async def test_reading_bit_by_bit_is_reading_anew(database_url: str, tmp_path: Path) -> None:
    async with watched(database_url, tmp_path) as here:
        objectives = {"answers": ObjectiveSettings(by=())}
        ledger, group = Ledger(Counts(here.db), objectives), (1, ())
        now = datetime.now(UTC)
        await here.house.keep(*[answered(ago) for ago in (1, 4_000, 9_000, 100_000, 200_000)], failed(30_000))
        await ledger.refresh(now)
        await here.house.keep(failed(2), failed(3))
        await ledger.refresh(now.replace(microsecond=0))  # too soon: nothing is read
        again = Ledger(Counts(here.db), objectives)
        later = datetime.fromtimestamp(now.timestamp() + 70, UTC)
        await ledger.refresh(later)
        await again.refresh(later)
        for seconds in (300, 3_600, 21_600, 259_200):
            assert ledger.tally("answers", group, seconds, later) == again.tally("answers", group, seconds, later)
        assert again.tally("answers", group, 3_600, later) == Tally(total=3, bad=2)
        assert again.tally("answers", group, 259_200, later) == Tally(total=8, bad=3)
