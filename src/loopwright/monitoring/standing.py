"""How scoring stands: what was seen, scored and passed over and why, what it took, and how far behind it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from loopwright.core.errors import Sealed
from loopwright.core.money import usd
from loopwright.kit.db import Database
from loopwright.kit.seal import PLAIN, Seal
from loopwright.monitoring.books import SKIPPED, fault_about
from loopwright.monitoring.watched import Plan, Watch

_COUNTS: Final = """
    select name, what, sum(calls)::bigint as calls, sum(nano)::bigint as nano, sum(engine_us)::bigint as engine_us,
        sum(cpu_us)::bigint as cpu_us from monitor_counts
    where task = %(task)s and (%(project)s::int is null or project_id = %(project)s) and hour >= %(since)s group by 1, 2
"""
_DUE: Final = """
    select name, count(*)::bigint as calls, min(arrived_at) as oldest, max(tries) as tries from monitor_due
    where task = %(task)s and (%(project)s::int is null or project_id = %(project)s) group by 1
"""
_FAULTS: Final = """
    select distinct on (name, what) project_id, task, name, what, call_id::text as call_id, said, at from monitor_faults
    where task = %(task)s and (%(project)s::int is null or project_id = %(project)s) order by name, what, at desc
"""
_SPENT: Final = """
    select coalesce(sum(nano), 0)::bigint as nano, coalesce(sum(engine_us), 0)::bigint as engine_us from monitor_spend
    where task = %(task)s and (%(project)s::int is null or project_id = %(project)s) and day = %(day)s
"""
_ARRIVED: Final = "select coalesce(sum(calls), 0)::bigint as calls, min(arrived_at) as oldest from monitor_arrivals"
_DONE: Final = frozenset({"scored", "seen"})


@dataclass(frozen=True, slots=True)
class Standing:
    """Reads the books of online evaluation."""

    db: Database
    seal: Seal = PLAIN

    async def of(self, plan: Plan, project_id: int | None, *, hours: int = 24) -> dict[str, Any]:
        """How scoring of one task stands, as JSON; the counts are of the last `hours`, the budget of today (UTC).

        `project_id` None is every project together.

        Raises:
            Unavailable: the database cannot answer now.
        """
        now = datetime.now(UTC)
        since = (now - timedelta(hours=hours)).replace(minute=0, second=0, microsecond=0)
        params = {"task": plan.task, "project": project_id, "since": since, "day": now.date()}
        async with self.db.snapshot() as connection:
            # At one moment: what is drawn meanwhile is either still to come or already due, never neither.
            found = [
                await (await connection.execute(query.encode(), params)).fetchall()
                for query in (_COUNTS, _DUE, _FAULTS, _SPENT, _ARRIVED)
            ]
        counts, waiting, complaints, [spent], [arrived] = found
        counted: dict[str, dict[str, Mapping[str, Any]]] = {}
        for row in counts:
            counted.setdefault(row["name"], {})[row["what"]] = row
        due = {row["name"]: row for row in waiting}
        faults: dict[str, list[dict[str, Any]]] = {}
        for row in complaints:
            faults.setdefault(row["name"], []).append(self._fault(row))
        budget = plan.monitor.budget
        return {
            "task": plan.task,
            "since": since,
            "share": plan.monitor.share,
            "at_least": plan.monitor.at_least,
            "calls": _calls(counted.get("", {})),
            "evaluators": [
                self._evaluator(each, counted.get(each.name, {}), due, faults.get(each.name, []))
                for each in plan.watches
            ],
            "budget": {
                "day": now.date(),
                "usd": budget.usd,
                "spent_usd": usd(max(spent["nano"], 0)),
                "engine_seconds": budget.engine_seconds,
                "engine_seconds_used": round(spent["engine_us"] / 1e6, 3),
            },
            "behind": _behind(arrived, due, now),
        }

    def _evaluator(
        self,
        watch: Watch,
        counts: Mapping[str, Mapping[str, Any]],
        due: Mapping[str, Mapping[str, Any]],
        faults: list[dict[str, Any]],
    ) -> dict[str, Any]:
        waiting = due.get(watch.name if watch.asks else "")
        scored = counts.get("scored")
        return {
            "name": watch.name,
            "kind": watch.spec.get("kind"),
            "share": watch.share,
            "asks_models": watch.asks,
            "judges": watch.judges,
            "higher_is_better": watch.higher_is_better,
            "broken": watch.broken,
            "scored": 0 if scored is None else scored["calls"],
            "skipped": _skipped(counts),
            "waiting": 0 if waiting is None else waiting["calls"],
            "cost_usd": usd(max(sum(row["nano"] for row in counts.values()), 0)),
            "engine_seconds": round(sum(row["engine_us"] for row in counts.values()) / 1e6, 3),
            "cpu_ms_a_call": None if not scored else round(scored["cpu_us"] / max(scored["calls"], 1) / 1e3, 3),
            "faults": faults,
        }

    def _fault(self, row: Mapping[str, Any]) -> dict[str, Any]:
        try:
            place = fault_about(row["project_id"], row["task"], row["name"], row["what"])
            said = self.seal.open(bytes(row["said"]), place).decode("utf-8", "replace")
        except Sealed as error:
            said = error.message
        return {"what": row["what"], "said": said, "call_id": row["call_id"], "at": row["at"]}


def _behind(arrived: Mapping[str, Any], due: Mapping[str, Mapping[str, Any]], now: datetime) -> dict[str, Any]:
    """Calls of all tasks that are not drawn yet, and what of this one waits, with the age of the oldest."""
    moments = [row["oldest"] for row in (arrived, *due.values()) if row["oldest"] is not None]
    oldest = min(moments, default=None)
    return {
        "arrived": arrived["calls"],
        "computed": sum(row["calls"] for name, row in due.items() if not name),
        "asked": sum(row["calls"] for name, row in due.items() if name),
        "seconds": 0.0 if oldest is None else round(max((now - oldest).total_seconds(), 0.0), 1),
    }


def _calls(counts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    seen = sum(row["calls"] for row in counts.values())
    return {"seen": seen, "skipped": _skipped(counts)}


def _skipped(counts: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"what": what, "why": SKIPPED.get(what, what), "calls": row["calls"]}
        for what, row in sorted(counts.items(), key=lambda each: -each[1]["calls"])
        if what not in _DONE
    ]
