"""Online evaluation: what is drawn, found out, passed over and paid, whatever dies in between."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from loopwright.core.errors import Busy, UpstreamBroke
from loopwright.core.score import Score
from loopwright.datasets.example import Example
from loopwright.evals.evaluator import Evaluator, Method, Output, Tools
from loopwright.evals.evaluators import make
from loopwright.evals.safety import Refusal
from loopwright.kit.keyring import SealingKey
from loopwright.kit.seal import Seal
from loopwright.kit.settings import CallsSettings
from loopwright.kit.settings_tasks import TaskSettings
from loopwright.monitoring.arriving import arriving
from loopwright.monitoring.books import Books
from loopwright.monitoring.drawing import Drawing
from loopwright.monitoring.metered import Meter, Yielded
from loopwright.monitoring.online import Asked, Computed, Online
from loopwright.monitoring.purse import Purse
from loopwright.monitoring.resealing import COMPLAINTS
from loopwright.monitoring.score_rollups import RollUps
from loopwright.monitoring.scores import ScoreFilter, Scores
from loopwright.monitoring.standing import Standing
from loopwright.monitoring.watched import Plan, Watch, plan_of
from loopwright.monitoring.watchlist import Watchlist, forget_faults, waiting
from loopwright.tasks.task import task_of
from tests.monitoring.keeping import Kept, drawn_by, kept, record
from tests.monitoring.keeping import watched_task as settings

pytestmark = pytest.mark.anyio
JUDGE = {"kind": "judge", "name": "helpful", "args": {"judge": "helpful", "model": "m"}}


class Judging:
    """Stands for a judge that a provider answers."""

    method: Method = "judge"
    higher_is_better = True
    name = "helpful"
    spec: Mapping[str, Any] = JUDGE

    def __init__(self, cost: int | None, fails: list[Exception]) -> None:
        self.cost, self.fails, self.asked = cost, fails, Counter[str]()

    async def __call__(self, _example: Any, output: Any, /) -> Score:
        self.asked[output.call_id] += 1
        if self.fails:
            raise self.fails.pop(0)
        return Score(name="helpful", value=1.0, label="yes", passed=True, explanation="so", cost_nano=self.cost)


class Making:
    """Makes evaluators."""

    def __init__(self, judge: Judging) -> None:
        self.judge, self.foreign = judge, True

    async def computed(self, plan: Plan, project_id: int) -> Mapping[str, Evaluator]:
        del project_id
        return {each.name: make(each.spec) for each in plan.computed}

    async def asked(self, plan: Plan, watch: Watch, project_id: int, meter: Meter) -> Evaluator:
        del plan, watch, project_id
        meter.foreign, meter.engine_us = self.foreign, 0 if self.foreign else 1_000_000
        return self.judge

    def costs(self, evaluator: Evaluator) -> bool:
        del evaluator
        return self.foreign


class House(Kept):
    """All that takes part."""

    judge: Judging
    online: Online

    def watch(self, task: TaskSettings, *, cost: int | None = 10_000_000, fails: list[Exception] | None = None) -> None:
        plan = plan_of(task_of("t", task), may=lambda _: False)
        self.judge = Judging(cost, fails or [])
        self.making = Making(self.judge)
        self.online = Online(
            db=self.db,
            calls=self.calls,
            books=Books(self.db, self.feedback),
            plan_of=lambda _, name: plan if name == "t" else None,
            makes=self.making,
            seconds=5.0,
            purse=Purse(self.db),
        )
        self.task = task

    async def begin(self) -> None:
        await Watchlist(self.db, {"t": self.task})()

    async def go(self) -> None:
        await Drawing(self.db, self.online.plan_of)()
        await Computed(self.online)()
        await Asked(self.online)()

    async def ask_all(self, *others: Online) -> None:
        """Ask until nothing is due, however often something is to be looked at again."""
        while await self.due():
            await asyncio.gather(*(Asked(each)() for each in (self.online, *others)))
            await self.db.run("update monitor_due set after = now() where lane = 1")

    async def counts(self) -> dict[tuple[str, str], int]:
        rows = await self.db.rows("select name, what, sum(calls)::int as n from monitor_counts group by 1, 2")
        return {(row["name"], row["what"]): row["n"] for row in rows}

    async def scored(self) -> list[dict[str, Any]]:
        return await self.db.rows(
            "select call_id::text as id, name, source, author, value, label, weight from feedback_scores order by 1, 2"
        )

    async def due(self) -> int:
        row = await self.db.row("select count(*)::int as n from monitor_due")
        return row["n"] if row else 0


@asynccontextmanager
async def house(url: str, folder: Path, task: TaskSettings, **about: Any) -> AsyncIterator[House]:
    async def nothing(_connection: Any, _calls: Any) -> None:
        return

    kinds = {name: about.pop(name) for name in ("calls",) if name in about}
    async with kept(url, folder, charge=arriving(nothing), settings=kinds.get("calls")) as found:
        found.__class__ = House
        assert isinstance(found, House)
        found.watch(task, **about)
        await found.begin()
        yield found


async def test_calls_of_a_watched_task_are_scored_once(database_url: str, tmp_path: Path) -> None:
    task = settings(evaluators=["language", "refusal", JUDGE], share=1)
    async with house(database_url, tmp_path, task) as here:
        fine = record(said="The invoice is paid, and you will hear of us within the week.")
        failed, other = record(outcome="error", status=502, answer=b""), record(task="u", model="task/u")
        ours = record(tags={"loopwright.evaluation": "x"})
        await here.keep(fine, failed, other, ours)
        assert await waiting(here.db)
        await here.go()
        await here.go()
        assert not await waiting(here.db)
        found = await here.scored()
        assert [(each["id"], each["name"], each["source"], each["weight"]) for each in found] == [
            (fine.id, "helpful", "judge", 1.0),
            (fine.id, "language", "code", 1.0),
            (fine.id, "refusal", "code", 1.0),
        ]
        assert await here.counts() == {
            ("", "seen"): 1,
            ("", "unanswered"): 1,
            ("helpful", "scored"): 1,
            ("language", "scored"): 1,
            ("refusal", "scored"): 1,
        }
        [given] = [each for each in await here.feedback.scores([fine.id]) if each.score.name == "helpful"]
        assert (given.score.explanation, given.score.cost_nano) == ("so", 10_000_000)


async def test_a_rare_variant_is_seen_and_the_mean_is_not_skewed(database_url: str, tmp_path: Path) -> None:
    task = settings(evaluators=["refusal"], share=0.1, at_least=120)
    async with house(database_url, tmp_path, task) as here:
        often = [record(said="no" if at % 2 else "I'm sorry, but I can't help with that.") for at in range(600)]
        rare = [record(variant="b", said="fine") for _ in range(5)]
        await here.keep(*often, *rare)
        await here.go()
        drawn = {each["id"]: each["weight"] for each in await here.scored()}
        assert drawn == {
            **{each.id: pytest.approx(10.0) for each in often if drawn_by(each.id) < 0.1},
            **{each.id: 1.0 for each in rare},
        }
        await RollUps(here.db)()
        [found] = await Scores(here.db).summary(ScoreFilter(name="refusal"))
        share = Counter(drawn[each.id] for at, each in enumerate(often) if each.id in drawn and not at % 2)
        assert found.figure.calls == pytest.approx(sum(drawn.values()))
        assert found.figure.mean == pytest.approx(sum(weight * n for weight, n in share.items()) / sum(drawn.values()))
        again = Drawing(here.db, here.online.plan_of)
        await again()
        assert await here.due() == 0


async def test_a_burst_after_quiet_is_not_scored_whole(database_url: str, tmp_path: Path) -> None:
    task = settings(evaluators=["refusal"], share=0.02, at_least=12)
    async with house(database_url, tmp_path, task) as here:
        drawing = Drawing(here.db, here.online.plan_of)
        for number in (1, 1, 10, *([50] * 6)):
            await here.keep(*(record() for _ in range(number)))
            await drawing()
        await here.go()
        weights = [each["weight"] for each in await here.scored()]
        assert 1 <= len(weights) <= 60
        assert all(1 <= weight <= 50 for weight in weights)


async def test_who_dies_between_asking_and_keeping_asks_again_and_keeps_once(database_url: str, tmp_path: Path) -> None:
    task = settings(evaluators=["refusal", JUDGE], share=1, budget={"usd": 0.5})
    async with house(database_url, tmp_path, task) as here:
        await here.keep(*(record() for _ in range(3)))
        await Drawing(here.db, here.online.plan_of)()
        held = asyncio.Event()

        class Dies(Books):
            async def keep(self, *_: Any, **__: Any) -> int:
                held.set()
                return await asyncio.Event().wait()

        dying = Online(**{
            name: getattr(here.online, name) for name in Online.__dataclass_fields__
        } | {"books": Dies(here.db, here.feedback)})  # fmt: skip
        asking = asyncio.create_task(Asked(dying)())
        await held.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert await here.scored() == []
        await here.go()
        await here.go()
        assert Counter(each["name"] for each in await here.scored()) == {"helpful": 3, "refusal": 3}
        assert await here.counts() == {("", "seen"): 3, ("helpful", "scored"): 3, ("refusal", "scored"): 3}
        spent = await here.db.row("select nano from monitor_spend")
        assert spent is not None
        assert 30_000_000 < spent["nano"] <= 500_000_000  # what was set aside by who died counts as spent


async def test_money_of_a_day_holds_on_all_machines_together(database_url: str, tmp_path: Path) -> None:
    task = settings(evaluators=["refusal", JUDGE], share=1, budget={"usd": 0.05})
    async with house(database_url, tmp_path, task) as here:
        await here.keep(*(record() for _ in range(20)))
        await Drawing(here.db, here.online.plan_of)()
        other = Online(**{name: getattr(here.online, name) for name in Online.__dataclass_fields__}
                       | {"purse": Purse(here.db)})  # fmt: skip
        await Computed(here.online)()
        await here.ask_all(other)
        counts = await here.counts()
        assert counts["helpful", "scored"] + counts["helpful", "budget"] == 20
        assert 1 <= counts["helpful", "scored"] <= 5  # what the other has set aside is not there for this one
        assert counts["refusal", "scored"] == 20
        spent = await here.db.row("select nano from monitor_spend")
        assert spent is not None
        assert spent["nano"] == 10_000_000 * sum(here.judge.asked.values())
        assert await here.due() == 0


async def test_engine_time_of_a_day_holds_and_a_busy_engine_is_left_to_others(
    database_url: str, tmp_path: Path
) -> None:
    task = settings(evaluators=[JUDGE], share=1, budget={"engine_seconds": 2.5, "usd": 0})
    async with house(database_url, tmp_path, task, cost=None) as here:
        here.watch(settings(evaluators=[JUDGE], share=1, budget={"engine_seconds": 2.5}), cost=None)
        here.making.foreign = False
        here.judge.fails = [Yielded("busy", retry_after=0.01)]
        await here.keep(*(record() for _ in range(8)))
        await here.go()
        assert sum(here.judge.asked.values()) >= 4
        await asyncio.sleep(0.05)
        await here.go()
        counts = await here.counts()
        assert 3 <= counts["helpful", "scored"] <= 7
        assert counts["helpful", "scored"] + counts["helpful", "budget"] == 8


async def test_a_judge_without_a_price_stops_where_there_is_a_budget(database_url: str, tmp_path: Path) -> None:
    task = settings(evaluators=[JUDGE], share=1, budget={"usd": 1})
    async with house(database_url, tmp_path, task, cost=None) as here:
        await here.keep(*(record() for _ in range(10)))
        await here.go()
        counts = await here.counts()
        assert counts["helpful", "unpriced"] >= 6
        assert counts["helpful", "scored"] + counts["helpful", "unpriced"] == 10


async def test_who_cannot_answer_is_asked_later_and_at_last_passed_over(database_url: str, tmp_path: Path) -> None:
    fails: list[Exception] = [UpstreamBroke("away"), Busy("full", retry_after=1.0)]
    async with house(database_url, tmp_path, settings(evaluators=[JUDGE], share=1), fails=fails) as here:
        await here.keep(record())
        await here.go()
        assert await here.due() == 1
        assert not await waiting(here.db)
        for _ in range(2):
            await here.db.run("update monitor_due set after = now()")
            await here.go()
        assert (await here.counts())["helpful", "scored"] == 1
        here.judge.fails = [UpstreamBroke("away") for _ in range(9)]
        await here.keep(record())
        for _ in range(6):
            await here.go()
            await here.db.run("update monitor_due set after = now()")
        assert (await here.counts())["helpful", "failed"] == 1
        assert await here.due() == 0


async def test_what_has_no_text_was_deleted_or_waited_too_long_is_counted(database_url: str, tmp_path: Path) -> None:
    task = settings(evaluators=["refusal", JUDGE, {"kind": "exact_match"}], share=1, patience_hours=1)
    async with house(database_url, tmp_path, task) as here:
        gone, late = record(), record()
        await here.keep(gone, late)
        await Drawing(here.db, here.online.plan_of)()
        await here.calls.delete(project_id=1, call_id=gone.id)
        await here.db.run("update monitor_due set arrived_at = %s", (datetime.now(UTC) - timedelta(hours=2),))
        await here.go()
        assert await here.counts() == {
            ("", "seen"): 2,
            ("refusal", "deleted"): 1,
            ("exact_match", "deleted"): 1,
            ("refusal", "scored"): 1,
            ("exact_match", "missing"): 1,
            ("helpful", "late"): 2,
        }
    async with house(
        database_url, tmp_path / "bare", task, calls=CallsSettings(payloads=False, full_text=False)
    ) as here:
        await here.keep(record())
        await here.go()
        assert (await here.counts())["", "no_text"] == 1


async def test_what_no_watch_wants_is_not_noted(database_url: str, tmp_path: Path) -> None:
    async with house(database_url, tmp_path, settings(evaluators=["refusal"], share=1)) as here:
        await Watchlist(here.db, {})()
        await here.keep(record())
        assert not await waiting(here.db)
        await Watchlist(here.db, {"t": here.task})()
        await here.keep(record())
        assert await waiting(here.db)


async def test_complaints_are_sealed_and_go_with_their_call(database_url: str, tmp_path: Path) -> None:
    first, second = (SealingKey(id=name, secret=name.encode() * 16) for name in ("aa", "bb"))
    one, two, both = Seal([first]), Seal([second]), Seal([second, first])
    async with house(database_url, tmp_path, settings(evaluators=["exact_match"], share=1)) as here:
        here.online = replace(here.online, books=Books(here.db, here.feedback, one))
        call = record()
        await here.keep(call)
        await here.go()
        [row] = await here.db.rows("select said, sealed_by from monitor_faults")
        assert row["sealed_by"] == "aa"
        assert b"expected" not in bytes(row["said"])
        plan = here.online.plan_of(1, "t")
        assert plan is not None
        told = await Standing(here.db, one).of(plan, 1)
        assert "expected" in told["evaluators"][0]["faults"][0]["said"]
        closed = await Standing(here.db, two).of(plan, 1)
        assert "expected" not in closed["evaluators"][0]["faults"][0]["said"]
        assert await COMPLAINTS.reseal(here.db, both) == 1
        assert await COMPLAINTS.keys_used(here.db) == {"bb": 1}
        assert await COMPLAINTS.reseal(here.db, both) == 0
        await here.calls.delete(project_id=1, call_id=call.id)
        await forget_faults(here.db)
        assert await COMPLAINTS.keys_used(here.db) == {}


async def test_a_call_that_ends_the_process_again_and_again_is_passed_over(database_url: str, tmp_path: Path) -> None:
    async with house(database_url, tmp_path, settings(evaluators=["refusal"], share=1)) as here:
        bad, good = record(said="bad"), [record(said="good") for _ in range(5)]
        await here.keep(bad, *good)
        await Drawing(here.db, here.online.plan_of)()

        class Deadly(Refusal):
            def find(self, example: Example, output: Output) -> Score:
                if output.text == "bad":
                    raise asyncio.CancelledError
                return super().find(example, output)

        class MakingDeadly(Making):
            async def computed(self, plan: Plan, project_id: int) -> Mapping[str, Evaluator]:
                del plan, project_id
                return {"refusal": Deadly(kind="refusal", name="refusal", args={}, tools=Tools())}

        here.online = replace(here.online, makes=MakingDeadly(here.judge))
        for _ in range(4):
            await asyncio.gather(asyncio.create_task(Computed(here.online)()), return_exceptions=True)
        assert await here.counts() == {("", "seen"): 6, ("refusal", "scored"): 5, ("refusal", "failed"): 1}
        assert await here.due() == 0
