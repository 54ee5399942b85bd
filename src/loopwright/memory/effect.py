"""What memory is good for, as a number: how often answers were found wanting with it, and without it by chance.

Only calls for which memory had something to show count: of those a share drawn by chance was answered without it. Intervals
are Wilson's (1927) for a share, and Newcombe's (1998, method 10) for the difference of two.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from psycopg.types.json import Jsonb

from loopwright.core.call import Call
from loopwright.kit.db import Connection, Database
from loopwright.memory.tally import TAG

ARMS: Final[Mapping[str, tuple[str, ...]]] = {"memory": ("shown", "answered"), "held_out": ("held-out",)}
ENOUGH: Final = 30
"""Calls an arm must have before a difference is spoken of."""
EVALUATED: Final = "loopwright.evaluation"
"""Tag of calls that an evaluation made: they are no users'."""
_Z: Final = 1.959963984540054
"""Of 95 %."""
_NOTE: Final = b"""
    insert into memory_outcomes (call_id, project_id, task, variant, day, outcome, key_id, session, tags, corrected, bad)
    values (%s::uuid, %s, %s, %s, %s, %s, %s, %s, %s, coalesce(%s, false), coalesce(%s, false))
    on conflict (call_id) do update set corrected = coalesce(%s, memory_outcomes.corrected),
        bad = coalesce(%s, memory_outcomes.bad)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """Calls of one kind."""

    calls: int
    corrected: int
    bad: int
    wanting: int
    """Corrected, or scored bad, or both."""

    @property
    def rate(self) -> float | None:
        """Of those found wanting; None without calls."""
        return self.wanting / self.calls if self.calls else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's, 95 %."""
        return wilson(self.wanting, self.calls) if self.calls else None

    def shown(self) -> dict[str, Any]:
        """JSON."""
        low, high = self.interval or (None, None)
        return {
            "calls": self.calls, "corrected": self.corrected, "bad": self.bad, "wanting": self.wanting,
            "rate": self.rate, "low": low, "high": high,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """Of one task, or one variant of it."""

    project_id: int
    task: str
    memory: Arm
    held_out: Arm
    others: Mapping[str, int]
    """Calls that do not count: `none`, memory had nothing for them; `late`, it was not asked in time."""

    @property
    def difference(self) -> tuple[float, float, float] | None:
        """How much rarer answers are found wanting with memory, with its interval; None while an arm is empty."""
        one, other = self.held_out, self.memory
        if one.rate is None or other.rate is None or one.interval is None or other.interval is None:
            return None
        found = one.rate - other.rate
        low = found - math.hypot(one.rate - one.interval[0], other.interval[1] - other.rate)
        high = found + math.hypot(one.interval[1] - one.rate, other.rate - other.interval[0])
        return found, low, high

    @property
    def verdict(self) -> str:
        """`too few`, `better`, `worse` or `not told apart`."""
        if min(self.memory.calls, self.held_out.calls) < ENOUGH or self.difference is None:
            return "too few"
        _, low, high = self.difference
        return "better" if low > 0 else "worse" if high < 0 else "not told apart"

    def shown(self) -> dict[str, Any]:
        """JSON."""
        found, low, high = self.difference or (None, None, None)
        return {
            "task": self.task,
            "project_id": self.project_id,
            "memory": self.memory.shown(),
            "held_out": self.held_out.shown(),
            "difference": found,
            "low": low,
            "high": high,
            "verdict": self.verdict,
            "enough": ENOUGH,
            "others": dict(self.others),
        }


async def note(connection: Connection, call: Call, *, corrected: bool | None = None, bad: bool | None = None) -> None:
    """Remember how a call that memory had something for was judged; what is None stays as it was."""
    outcome = call.tags.get(TAG)
    counts = outcome in ("shown", "answered", "held-out") and EVALUATED not in call.tags
    if not counts or call.task is None or call.variant is None:
        return
    said = (
        call.id, call.project_id, call.task, call.variant, call.started_at.date(), outcome, call.key_id, call.session,
        Jsonb(dict(call.tags)), corrected, bad, corrected, bad,
    )  # fmt: skip
    await connection.execute(_NOTE, said)


async def effects(
    db: Database,
    *,
    project_id: int | None,
    task: str | None = None,
    variant: str | None = None,
    since: date | None = None,
) -> Sequence[Effect]:
    """Of each task that has a memory in use, by name.

    Raises:
        Unavailable: the database cannot answer now.
    """
    where = """(%(project)s::int is null or project_id = %(project)s) and (%(task)s::text is null or task = %(task)s)
        and (%(variant)s::text is null or variant = %(variant)s) and (%(since)s::date is null or day >= %(since)s)"""
    said = {"project": project_id, "task": task, "variant": variant, "since": since}
    calls = await db.rows(
        f"select project_id, task, outcome, sum(calls)::bigint as calls from memory_days where {where} group by 1, 2, 3",  # noqa: S608
        said,
    )
    judged = await db.rows(
        f"""select project_id, task, outcome, count(*) filter (where corrected) as corrected,
                   count(*) filter (where bad) as bad, count(*) filter (where corrected or bad) as wanting
            from memory_outcomes where {where} group by 1, 2, 3""",  # noqa: S608
        said,
    )
    tasks = sorted({(row["project_id"], row["task"]) for row in (*calls, *judged)}, key=lambda key: (key[1], key[0]))
    return [_effect(key, calls, judged) for key in tasks]


def wilson(hits: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share; `of` is above 0."""
    share, square = hits / of, _Z * _Z
    middle = (share + square / (2 * of)) / (1 + square / of)
    reach = _Z / (1 + square / of) * math.sqrt(share * (1 - share) / of + square / (4 * of * of))
    return max(middle - reach, 0.0), min(middle + reach, 1.0)


def _effect(key: tuple[int, str], calls: Sequence[Mapping[str, Any]], judged: Sequence[Mapping[str, Any]]) -> Effect:
    of = {row["outcome"]: int(row["calls"]) for row in calls if (row["project_id"], row["task"]) == key}
    said = {row["outcome"]: row for row in judged if (row["project_id"], row["task"]) == key}

    def arm(outcomes: Sequence[str]) -> Arm:
        rows = [said[each] for each in outcomes if each in said]
        wanting = sum(row["wanting"] for row in rows)
        return Arm(
            # Calls that a crash left uncounted are at least those that were judged.
            calls=max(sum(of.get(each, 0) for each in outcomes), wanting),
            corrected=sum(row["corrected"] for row in rows),
            bad=sum(row["bad"] for row in rows),
            wanting=wanting,
        )

    arms = {name: arm(outcomes) for name, outcomes in ARMS.items()}
    others = {name: of.get(name, 0) for name in ("none", "late")}
    return Effect(project_id=key[0], task=key[1], memory=arms["memory"], held_out=arms["held_out"], others=others)
