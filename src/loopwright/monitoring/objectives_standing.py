"""How objectives stand: what share of calls was good over their period, what is left of the budget, how fast it burns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from loopwright.kit.db import Database
from loopwright.kit.settings_alerts import ObjectiveSettings
from loopwright.monitoring.alerts_counts import Counts, Group
from loopwright.monitoring.objectives import WINDOWS, Budget, Burning, Tally, burning
from loopwright.monitoring.objectives_ledger import TIMED, Ledger, tallied
from loopwright.monitoring.objectives_watch import calls_of, labels_of, said, scope_text

_DAY: Final = 86_400
_MOST: Final = 200
"""Groups of an objective that are shown: those with the least left of their budget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An objective for one group of calls."""

    objective: str
    project_id: int
    labels: Mapping[str, str]
    budget: Budget
    burning: tuple[Burning, ...]
    days: tuple[tuple[datetime, Tally], ...]
    """Each day (UTC) of the period that had calls, the oldest first."""

    @property
    def state(self) -> str:
        """`burning` when it is told now, `spent` when nothing is left, else `kept`; `quiet` without calls."""
        if any(each.fires for each in self.burning):
            return "burning"
        left = self.budget.left
        return "quiet" if left is None else "spent" if left < 0 else "kept"


async def standings(
    db: Database, objectives: Mapping[str, ObjectiveSettings], *, project_id: int | None, now: datetime | None = None
) -> list[Standing]:
    """Each objective with each group of its calls; those with the least left first.

    Raises:
        Unavailable: the database cannot answer now.
    """
    moment = now or datetime.now(UTC)
    counts = Counts(db, project_id=project_id)
    ledger = Ledger(counts, objectives)
    await ledger.refresh(moment)
    found: list[Standing] = []
    for name, objective in objectives.items():
        here = [
            _standing(name, objective, group, days, ledger, moment)
            for group, days in (await _days(counts, name, objective, moment)).items()
        ]
        here.sort(key=lambda each: (each.budget.left if each.budget.left is not None else 2.0, str(each.labels)))
        found += here[:_MOST]
    return found


async def _days(
    counts: Counts, name: str, objective: ObjectiveSettings, now: datetime
) -> dict[Group, dict[int, Tally]]:
    today = int(now.timestamp()) // _DAY * _DAY
    since = today - (objective.days - 1) * _DAY
    rows = await counts.rows("1d", since, histograms=[objective.kind] if objective.kind in TIMED else ())
    scored = [] if objective.score is None else await counts.scores("1d", since, names=[objective.score])
    found: dict[Group, dict[int, Tally]] = defaultdict(dict)
    for _, group, at, tally in tallied(counts, {name: objective}, rows, scored):
        found[group][at] = found[group].get(at, Tally()) + tally
    return found


def _standing(
    name: str, objective: ObjectiveSettings, group: Group, days: Mapping[int, Tally], ledger: Ledger, now: datetime
) -> Standing:
    whole = Tally()
    for each in days.values():
        whole += each
    return Standing(
        objective=name,
        project_id=group[0],
        labels=labels_of(objective, group),
        budget=Budget(tally=whole, goal=objective.goal),
        burning=tuple(
            burning(
                objective,
                window,
                ledger.tally(name, group, window.long_s, now),
                ledger.tally(name, group, window.short_s, now),
            )
            for window in WINDOWS
        ),
        days=tuple((datetime.fromtimestamp(at, UTC), days[at]) for at in sorted(days)),
    )


def objective_shown(name: str, objective: ObjectiveSettings) -> dict[str, Any]:
    """An objective as JSON."""
    told = {key: value for key, value in asdict(objective).items() if value is not None}
    return {"name": name, "text": said(name, objective).partition(": ")[2], **told, "by": list(objective.by)}


def standing_shown(each: Standing, objective: ObjectiveSettings, project: str | None, now: datetime) -> dict[str, Any]:
    """A standing as JSON."""
    budget = each.budget
    return {
        "objective": each.objective,
        "project": project,
        "labels": dict(each.labels),
        "scope": scope_text(each.labels),
        "state": each.state,
        "calls": budget.tally.total,
        "bad": budget.tally.bad,
        "attained": budget.attained,
        "goal": budget.goal,
        "budget_left": budget.left,
        "burn": [
            {
                "window_s": one.window.long_s,
                "calls": one.long.total,
                "bad": one.long.bad,
                "rate": one.long_rate,
                "short_window_s": one.window.short_s,
                "short_rate": one.short_rate,
                "from": one.bound,
                "severity": one.window.severity,
                "fires": one.fires,
            }
            for one in each.burning
        ],
        "days": [{"at": at, "calls": day.total, "bad": day.bad} for at, day in each.days],
        "bad_calls": calls_of(objective, each.labels, now - timedelta(days=objective.days))
        | ({} if project is None else {"project": project}),
    }
