"""Rounds that look for drift, over a real database: what is normal is learnt, what moved is found, told and forgotten."""

from pathlib import Path

import pytest

from loopwright.core.errors import BadRequest, Conflict, NotFound
from loopwright.kit.keyring import SealingKey
from loopwright.kit.seal import Seal
from loopwright.monitoring.alerts import Alerts
from loopwright.monitoring.drift_findings import accept, dismiss
from loopwright.monitoring.drift_shown import distributions, examples
from loopwright.monitoring.forgetting import forget_watched
from loopwright.monitoring.resealing import DRIFT
from tests.monitoring.drifting import STRANGE, TOPICS, watched

pytestmark = pytest.mark.anyio


async def test_strangers_are_found_told_and_accepted(database_url: str, tmp_path: Path) -> None:
    async with watched(database_url, tmp_path, reference=150, window=100) as here:
        await here.ask(50)
        await here.round()
        assert (await here.watch()).state == "learning"
        await here.ask(200)
        await here.round()
        watch = await here.watch()
        assert (watch.state, watch.window_number, watch.problem) == ("watching", 2, None)
        assert not await here.drift.findings(project_id=1)

        strange = await here.ask(60, [STRANGE, *TOPICS[:2]])
        await here.round()
        [finding] = await here.drift.findings(project_id=1, watch_id=watch.id)
        assert finding.state == "open"
        assert {"input.strangers", "input.meaning"} & set(finding.features)
        assert set(finding.fresh) & set(strange)
        shown = await examples(here.drift, finding.fresh)
        assert any(STRANGE in each["input"] for each in shown)
        found = {each["says"]: each for each in await distributions(here.drift, watch, watch.window_number)}
        assert found["topics of inputs"]["psi"] > 0
        assert sum(row["now"] for row in found["topics of inputs"]["rows"]) == pytest.approx(1)
        assert all("about my" in row["example"] for row in found["topics of inputs"]["rows"])

        [alert] = (await Alerts(here.house.db).page(project_id=1)).alerts
        assert (alert.source, alert.labels, alert.state) == ("drift", {"task": "t"}, "open")
        assert alert.calls["task"] == "t"
        assert STRANGE not in alert.said
        await here.round()  # says the same again
        assert len((await Alerts(here.house.db).page(project_id=1)).alerts) == 1

        assert await accept(here.drift, await here.watch(), "ann") == finding.id
        [alert] = (await Alerts(here.house.db).page(project_id=1)).alerts
        assert alert.state == "resolved"
        await here.ask(90, [STRANGE, *TOPICS[:2]])
        await here.round()
        await here.ask(100, [STRANGE, *TOPICS[:2]])
        await here.round()
        watch = await here.watch()
        assert (watch.state, watch.problem) == ("watching", None)
        assert not await here.drift.findings(project_id=1, state="open")


async def test_longer_answers_refusals_and_broken_forms_are_found(database_url: str, tmp_path: Path) -> None:
    async with watched(database_url, tmp_path, reference=60, window=60) as here:
        await here.ask(60, said="a short answer about card")
        await here.ask(60, said="I'm sorry, but I cannot help with that. " * 3)
        await here.round()
        [finding] = await here.drift.findings(project_id=1)
        assert {"output.refusals", "output.length"} <= set(finding.features)
        assert finding.features["output.refusals"]["effect"] == pytest.approx(1.0)
        assert finding.features["output.length"]["effect"] == pytest.approx(1.0)


async def test_a_finding_that_does_not_matter_is_dismissed_and_one_that_is_over_passes(
    database_url: str, tmp_path: Path
) -> None:
    async with watched(database_url, tmp_path, reference=60, window=60) as here:
        await here.ask(60)
        await here.ask(30, [STRANGE])
        await here.round()
        assert await dismiss(here.drift, await here.watch(), "ann") is not None
        assert await dismiss(here.drift, await here.watch(), "ann") is None
        await here.ask(30, [STRANGE])
        await here.round()
        [finding] = await here.drift.findings(project_id=1, state="open")
        # The window goes on as it began, and the one after it is quiet.
        await here.ask(30)
        await here.ask(60)
        await here.round()
        assert [each.state for each in await here.drift.findings(project_id=1)] == ["passed", "dismissed"]
        [alert, _] = (await Alerts(here.house.db).page(project_id=1)).alerts
        assert alert.state == "resolved"
        assert alert.link.endswith(f"finding={finding.id}")


async def test_a_trailing_reference_moves_with_quiet_windows(database_url: str, tmp_path: Path) -> None:
    async with watched(database_url, tmp_path, reference=60, window=50, trailing=True) as here:
        await here.ask(60)
        newest = await here.ask(50)
        await here.round()
        watch = await here.watch()
        reference = await here.drift.sample(watch, 0)
        assert watch.window_number == 2
        assert reference.ids[-50:] == newest
        assert len(reference) == 60


async def test_a_day_has_its_budget(database_url: str, tmp_path: Path) -> None:
    async with watched(database_url, tmp_path, reference=60, window=60, per_day=20) as here:
        await here.ask(60)
        await here.round()
        await here.ask(100)
        await here.round()
        watch = await here.watch()
        assert watch.taken <= 20
        assert (await here.drift.counts(watch)).get(watch.window_number, 0) <= 20


async def test_what_was_kept_goes_with_its_call(database_url: str, tmp_path: Path) -> None:
    async with watched(database_url, tmp_path, reference=60, window=60) as here:
        mine = await here.ask(60, session="s-1")
        await here.ask(20)
        await here.round()
        watch = await here.watch()
        await forget_watched(here.house.db, project_id=2, call_id=mine[0])
        assert len(await here.drift.sample(watch, 0)) == 60
        await forget_watched(here.house.db, project_id=1, call_id=mine[0])
        assert len(await here.drift.sample(watch, 0)) == 59
        await forget_watched(here.house.db, project_id=1, session="s-1")
        assert len(await here.drift.sample(watch, 0)) == 0
        await here.house.calls.delete(project_id=1, session="s-1")
        # What is normal is learnt anew, of what is left and of what comes.
        await here.round()
        assert (await here.watch()).state == "learning"
        await here.ask(60)
        await here.round()
        assert (await here.watch()).state == "watching"


async def test_calls_that_go_by_retention_leave_with_the_next_round(database_url: str, tmp_path: Path) -> None:
    async with watched(database_url, tmp_path, reference=60, window=60) as here:
        ids = await here.ask(70)
        await here.round()
        await here.house.db.run("delete from calls where id = %s::uuid", (ids[0],))
        await here.round()
        assert len(await here.drift.sample(await here.watch(), 0)) == 59


async def test_vectors_are_sealed_and_sealed_anew(database_url: str, tmp_path: Path) -> None:
    old, new = SealingKey(id="old", secret=b"o" * 32), SealingKey(id="new", secret=b"n" * 32)
    async with watched(database_url, tmp_path, seal=Seal([old]), reference=60, window=60) as here:
        await here.ask(70)
        await here.round()
        assert set(await DRIFT.keys_used(here.house.db)) == {"old"}
        both = Seal([new, old])
        while await DRIFT.reseal(here.house.db, both):
            pass
        assert set(await DRIFT.keys_used(here.house.db)) == {"new"}
        here.drift.seal = Seal([new])
        await here.ask(20)
        await here.round()
        watch = await here.watch()
        assert (watch.problem, len(await here.drift.sample(watch, 0))) == (None, 60)


async def test_without_an_embedder_the_watch_says_so(database_url: str, tmp_path: Path) -> None:
    async with watched(database_url, tmp_path, embedder="gone") as here:
        await here.ask(5)
        await here.round()
        assert "'gone'" in ((await here.watch()).problem or "")


async def test_a_watch_is_made_once_and_is_of_its_project(database_url: str, tmp_path: Path) -> None:
    async with watched(database_url, tmp_path) as here:
        told = {"embedder": "minilm", "trailing": False, "reference": 60, "window": 60, "per_day": 9, "alpha": 0.01}
        with pytest.raises(Conflict):
            await here.drift.watch(1, "task/t", "ann", seen_to=None, **told)
        with pytest.raises(BadRequest):
            await here.drift.watch(1, " ", "ann", seen_to=None, **told)
        with pytest.raises(NotFound):
            await here.drift.get(here.id, project_id=2)
        other = await here.drift.watch(2, "small", "ann", seen_to=None, **told)
        assert (other.kind, other.subject) == ("model", "small")
        assert [each.id for each in await here.drift.watches(2)] == [other.id]
        await here.drift.remove(other)
        assert not await here.drift.watches(2)
