"""How the calls of a task do, by what they are scored on: how scoring stands, how far its judges are trusted, its figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loopwright.app import App
from loopwright.core.errors import LoopwrightError, NotFound
from loopwright.evals.evaluator import Tools
from loopwright.evals.evaluators import make
from loopwright.kit.seal import Seal
from loopwright.monitoring.standing import Standing
from loopwright.monitoring.watched import Plan, Watch, plan_of
from loopwright.tasks.task import Task


def planned(app: App, task: Task) -> Plan | None:
    """How a task is watched; None when it is not."""
    return plan_of(task, may=lambda function: function in app.settings.evaluations.functions)


async def quality(app: App, task: Task, project_id: int | None, *, hours: int = 24) -> dict[str, Any]:
    """How scoring of a task stands, with what is known of its judges.

    Args:
        app: the house.
        task: that is watched.
        project_id: whose calls; None is every project's.
        hours: of which the counts are.

    Raises:
        NotFound: it is not watched.
    """
    plan = planned(app, task)
    if plan is None:
        raise NotFound(f"task {task.name!r} is not watched: its definition has no `monitor`", param="task")
    told = await Standing(app.db, Seal.of(app.settings.encryption)).of(plan, project_id, hours=hours)
    whose = task.project_id if task.project_id is not None else project_id
    for each, watch in zip(told["evaluators"], plan.watches, strict=True):
        each["trust"] = await _trust(app, plan, watch, whose) if watch.judges and watch.broken is None else None
    return told


async def _trust(app: App, plan: Plan, watch: Watch, project_id: int | None) -> dict[str, Any]:
    """Whether a judge may gate: otherwise its scores inform, and no more."""
    if project_id is None:
        return {"may_gate": False, "why": "name a project to see the card of its judge"}
    try:
        [spec] = await app.workshop.fitting.resolved(project_id, [watch.spec])
        made = make(spec, Tools(chat=app.chat))
        judging = getattr(made, "judging", None) or spec.get("args") or {}
        args: Mapping[str, Any] = judging if isinstance(judging, Mapping) else {}
        behind = app.leads_to(str(args.get("model", "")))
        weighed = await app.workshop.cards.trust(project_id, args, bar=plan.bar, behind=behind)
    except LoopwrightError as error:
        return {"may_gate": False, "why": error.message}
    return {"may_gate": weighed.trusted, "why": "; ".join(weighed.reasons)}
