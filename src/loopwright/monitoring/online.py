"""Scores calls as they go by: what is computed here in batches, and what models are asked for one by one, in their turn.

Two rounds, so that a busy engine holds up nothing that needs none. Whatever ends this process, what is due stays due until
its scores are kept in the same transaction; what was asked meanwhile is asked once more, and takes its own place.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final, Protocol

from loopwright.calls.query import Calls
from loopwright.core.call import CallDetail
from loopwright.core.errors import Busy, LoopwrightError, Spent
from loopwright.evals.evaluator import Evaluator
from loopwright.kit.db import Database
from loopwright.monitoring.books import Books, Done, Due, Finding, due_of
from loopwright.monitoring.drawing import PlanOf
from loopwright.monitoring.finding import example_of, found, output_of
from loopwright.monitoring.metered import Meter, Yielded
from loopwright.monitoring.purse import Purse
from loopwright.monitoring.watched import Plan, Watch

_BATCH: Final = 200
_AT_ONCE: Final = 4
"""Questions to models."""
_WAITING: Final = 64
_TRIES: Final = 6
_DEATHS: Final = 3
"""Times that something computed here may be begun and not kept."""
_MOMENT: Final = 1.0
_FIRST: Final = 10.0
_LONGEST: Final = 900.0
"""Seconds between two attempts."""
_NEXT: Final = "select * from monitor_due where lane = %s and after <= now() order by lane, after, call_id limit %s"
_log = logging.getLogger(__name__)


class Makes(Protocol):
    """Makes evaluators; the house does."""

    async def computed(self, plan: Plan, project_id: int) -> Mapping[str, Evaluator]:
        """Those that ask nobody, by name."""
        ...

    async def asked(self, plan: Plan, watch: Watch, project_id: int, meter: Meter) -> Evaluator:
        """One that asks models, at low priority, and tells the meter what that takes.

        Raises:
            LoopwrightError: it cannot be made now.
        """
        ...

    def costs(self, evaluator: Evaluator) -> bool:
        """Whether it may cost money: it judges by a model that has a price, or is not on an engine of ours."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Online:
    """What both rounds need."""

    db: Database
    calls: Calls
    books: Books
    plan_of: PlanOf
    makes: Makes
    seconds: float
    """For one finding."""
    purse: Purse

    def nothing(self, due: Due, plan: Plan | None, what: str, *, said: str = "") -> Done:
        """Something due of which nothing is found out."""
        names = [due.name] if due.name else [each.name for each in _drawn(due, plan)]
        return Done(due=due, call=None, findings=[Finding(name=name, what=what, said=said) for name in names or [""]])


@dataclass(frozen=True, slots=True)
class Computed:
    """The round that finds out what takes nobody but us."""

    name: ClassVar[str] = "monitoring.computed"
    every: ClassVar[float] = 1.0
    online: Online

    async def __call__(self) -> None:
        """Find out all that is due."""
        more = True
        while more:
            more = bool(await self.once())

    async def once(self) -> int:
        """Find out a first part of it; how much that was.

        What was begun and never kept may have taken the process with it: it is looked at alone, and at last passed over.
        """
        online = self.online
        due = [due_of(row) for row in await online.db.rows(_NEXT, (0, _BATCH))]
        if not due:
            return 0
        due = [each for each in due if each.tries][:1] or due
        if due[0].tries >= _DEATHS:
            plan = online.plan_of(due[0].project_id, due[0].task)
            over = online.nothing(due[0], plan, "failed", said="the process ended over it, several times")
            return await online.books.keep([over], datetime.now(UTC))
        await online.books.begun(due)
        details = await online.calls.many([str(each.call_id) for each in due])
        plain: list[Done] = []
        explained: list[Done] = []
        for each in due:
            plan = online.plan_of(each.project_id, each.task)
            done = await self._one(each, plan, details.get(str(each.call_id)))
            (explained if plan is None or plan.monitor.explanations else plain).append(done)
        now = datetime.now(UTC)
        await online.books.keep(explained, now)
        await online.books.keep(plain, now, explained=False)
        return len(due)

    async def _one(self, due: Due, plan: Plan | None, detail: CallDetail | None) -> Done:
        if plan is None or not plan.computed:
            return self.online.nothing(due, None, "unwatched")
        why = _unfit(detail)
        if detail is None or why is not None:
            return self.online.nothing(due, plan, why or "deleted")
        example, output = example_of(detail), output_of(detail, formed=plan.formed)
        if example is None or output is None:
            return self.online.nothing(due, plan, "no_text")
        made = await self.online.makes.computed(plan, due.project_id)
        await asyncio.sleep(0)  # what is computed never waits by itself: others are to be served meanwhile
        findings = [
            await _finding(
                found(watch, made[watch.name], example, output, floor=due.floor, seconds=self.online.seconds), watch
            )
            for watch in _drawn(due, plan)
        ]
        return Done(due=due, call=detail.call, findings=findings)


@dataclass(frozen=True, slots=True)
class Asked:
    """The round that has models asked: judges, embeddings."""

    name: ClassVar[str] = "monitoring.asked"
    every: ClassVar[float] = 1.0
    online: Online
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

    async def __call__(self) -> None:
        """Ask for all that is due, as far as engines have time."""
        while rows := await self.online.db.rows(_NEXT, (1, _WAITING)):
            due = [due_of(row) for row in rows]
            details = await self.online.calls.many([str(each.call_id) for each in due])
            await asyncio.gather(*(self._turn(each, details.get(str(each.call_id))) for each in due))

    async def _turn(self, due: Due, detail: CallDetail | None) -> None:
        async with self.turns:
            plan = self.online.plan_of(due.project_id, due.task)
            done = await self._one(due, plan, detail)
            if done is None:
                return
            try:
                explained = plan is None or plan.monitor.explanations
                await self.online.books.keep([done], datetime.now(UTC), explained=explained)
            finally:
                self.online.purse.landed(due.project_id, due.task, done.held_nano)

    async def _one(self, due: Due, plan: Plan | None, detail: CallDetail | None) -> Done | None:
        """None: it is to be looked at again."""
        online = self.online
        watch = None if plan is None else plan.by_name.get(due.name)
        why = self._passed_over(due, plan, watch, detail)
        if plan is None or watch is None or detail is None or why is not None:
            return online.nothing(due, plan, why or "unwatched")
        day, meter, held = datetime.now(UTC).date(), Meter(), None
        try:
            evaluator = await online.makes.asked(plan, watch, due.project_id, meter)
            held = await online.purse.hold(plan.monitor.budget, _key(due), day, costs=online.makes.costs(evaluator))
        except LoopwrightError as error:
            return await self._again(due, plan, error)
        if held is None and online.purse.flying[due.project_id, due.task]:
            await online.books.later(due, _MOMENT, failed=False)  # what others have set aside may come back
            return None
        if held is None:
            return online.nothing(due, plan, "budget")
        try:
            return replace(await self._ask(due, plan, watch, detail, evaluator, meter), held_nano=held, held_on=day)
        except LoopwrightError as error:
            await online.purse.give_back(due.project_id, due.task, day, held)
            online.purse.landed(due.project_id, due.task, held)
            return await self._again(due, plan, error)

    def _passed_over(self, due: Due, plan: Plan | None, watch: Watch | None, detail: CallDetail | None) -> str | None:
        """Why nobody is asked; None when somebody is."""
        if plan is None or watch is None or not watch.asks:
            return "unwatched"
        if datetime.now(UTC) - due.arrived_at > timedelta(hours=plan.monitor.patience_hours):
            return "late"
        if plan.monitor.budget.usd is not None and _key(due) in self.online.purse.unpriced:
            return "unpriced"
        return _unfit(detail)

    async def _again(self, due: Due, plan: Plan, error: LoopwrightError) -> Done | None:
        """What becomes of something that could not be found out now."""
        if isinstance(error, Spent):
            return self.online.nothing(due, plan, "budget", said=error.message)
        yielded = isinstance(error, Yielded)
        if not yielded and due.tries + 1 >= _TRIES:
            return self.online.nothing(due, plan, "failed", said=error.message)
        pause = (error.retry_after or _FIRST) if yielded else max(_FIRST * 2.0**due.tries, error.retry_after or 0.0)
        await self.online.books.later(due, min(pause, _LONGEST), failed=not yielded)
        return None

    async def _ask(
        self, due: Due, plan: Plan, watch: Watch, detail: CallDetail, evaluator: Evaluator, meter: Meter
    ) -> Done:
        online = self.online
        example, output = example_of(detail), output_of(detail, formed=plan.formed)
        if example is None or output is None:
            return online.nothing(due, plan, "no_text")
        finding = await found(watch, evaluator, example, output, floor=due.floor, seconds=online.seconds)
        cost: int | None = finding.nano
        if finding.score is not None:
            cost = finding.score.cost_nano
        if watch.judges:
            online.purse.learn(_key(due), cost, foreign=meter.foreign)
        return Done(due=due, call=detail.call, findings=[replace(finding, engine_us=meter.engine_us, cpu_us=0)])


def _key(due: Due) -> tuple[int, str, str]:
    return due.project_id, due.task, due.name


def _drawn(due: Due, plan: Plan | None) -> Sequence[Watch]:
    return [] if plan is None else [each for each in plan.computed if due.draw < each.chance(due.floor)]


def _unfit(detail: CallDetail | None) -> str | None:
    if detail is None:
        return "deleted"
    if detail.sealed is not None:
        return "sealed"
    return "no_text" if detail.request is None or detail.response is None else None


async def _finding(finding: Any, watch: Watch) -> Finding:
    """What is computed here asks nobody: should it say that somebody is busy, it raised."""
    try:
        made: Finding = await finding
    except (Busy, LoopwrightError) as error:
        return Finding(name=watch.name, what="raised", said=error.message)
    return made
