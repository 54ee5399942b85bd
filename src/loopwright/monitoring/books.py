"""The books of online evaluation: what was found of which call, what was not and why, and what it took. One transaction each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from loopwright.calls.erase import LOCK
from loopwright.core.call import Call
from loopwright.core.score import Score
from loopwright.feedback.given import Author
from loopwright.feedback.store import Feedback, Said
from loopwright.kit.db import Connection, Database
from loopwright.kit.seal import PLAIN, Seal

AUTHOR: Final = "monitor"
_LONGEST: Final = 500
_COUNT: Final = b"""
    insert into monitor_counts as m (project_id, task, hour, variant, name, what, calls, nano, engine_us, cpu_us)
    select * from unnest(%s::int[], %s::text[], %s::timestamptz[], %s::text[], %s::text[], %s::text[], %s::bigint[],
        %s::bigint[], %s::bigint[], %s::bigint[])
    on conflict (project_id, task, hour, variant, name, what) do update set calls = m.calls + excluded.calls,
        nano = m.nano + excluded.nano, engine_us = m.engine_us + excluded.engine_us, cpu_us = m.cpu_us + excluded.cpu_us
"""
_FAULT: Final = b"""
    insert into monitor_faults (project_id, task, name, what, call_id, said, sealed_by)
    values (%s, %s, %s, %s, %s, %s, %s)
    on conflict (project_id, task, name, what) do update
        set call_id = excluded.call_id, said = excluded.said, sealed_by = excluded.sealed_by, at = now()
"""
SKIPPED: Final[Mapping[str, str]] = {
    "unanswered": "there was no answer to score",
    "no_text": "no text of the call is kept",
    "sealed": "its text is sealed with a key that is not here",
    "deleted": "it was deleted before",
    "budget": "the budget of the day was used up",
    "unpriced": "what the judge costs is not known, so the budget cannot be kept",
    "late": "it waited longer than patience_hours",
    "failed": "the model could not be asked, several times",
    "raised": "the evaluator raised",
    "missing": "the evaluator found nothing to say",
    "unwatched": "the task is not watched any more, or not so",
}
"""Why a call that was seen has no score, for people."""


@dataclass(slots=True)
class Tally:
    """Counts that are written together."""

    lines: dict[tuple[int, str, str, str, str], list[int]] = field(default_factory=dict)
    """(project, task, variant, name, what) to calls, nanodollars, microseconds of engines and of our CPU."""

    def add(
        self, project_id: int, task: str, variant: str, name: str, what: str, *, nano: int = 0, engine_us: int = 0,
        cpu_us: int = 0, calls: int = 1,
    ) -> None:  # fmt: skip
        """Count a call."""
        line = self.lines.setdefault((project_id, task, variant, name, what), [0, 0, 0, 0])
        for at, more in enumerate((calls, nano, engine_us, cpu_us)):
            line[at] += more

    async def write(self, connection: Connection, now: datetime) -> None:
        """Add to what is on record."""
        if not self.lines:
            return
        hour = now.replace(minute=0, second=0, microsecond=0)
        lines = [
            (project, task, hour, variant, name, what, *counts)
            for (project, task, variant, name, what), counts in sorted(self.lines.items())
        ]
        await connection.execute(_COUNT, tuple(list(column) for column in zip(*lines, strict=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """Something to be found out of a call."""

    call_id: UUID
    name: str
    """Of the evaluator; empty is all that are computed."""
    project_id: int
    task: str
    variant: str
    draw: float
    floor: float
    arrived_at: datetime
    tries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What came of one evaluator and one call."""

    name: str
    what: str
    """`scored`, or why not: see SKIPPED."""
    score: Score | None = None
    judged: bool = False
    weight: float = 1.0
    nano: int = 0
    engine_us: int = 0
    cpu_us: int = 0
    said: str = ""
    """Of an evaluator that raised or found nothing: its words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """One due thing, found out."""

    due: Due
    call: Call | None
    """None: it is not there any more."""
    findings: Sequence[Finding]
    held_nano: int = 0
    """Money that was set aside for it."""
    held_on: date | None = None
    """The day of whose budget it was taken."""


@dataclass(frozen=True, slots=True)
class Books:
    """Writes what was found."""

    db: Database
    feedback: Feedback
    seal: Seal = PLAIN

    async def keep(self, done: Sequence[Done], now: datetime, *, explained: bool = True) -> int:
        """Keep findings with all that is counted of them, and let go of what was due; how many were still due.

        What another process has kept meanwhile counts there, not here, but for what it took. Scores of the same
        each other's place. A call that is being deleted is scored before, and then forgotten with it, or not at all.

        Raises:
            Unavailable: the database cannot answer now; then nothing is kept, and all of it still due.
        """
        tally = Tally()
        async with self.db.transaction() as connection:
            await connection.execute(b"select pg_advisory_xact_lock_shared(%s)", (LOCK,))
            ours, there = await _still(connection, done)
            said: list[Said] = []
            for each in done:
                if (each.due.call_id, each.due.name) not in ours:
                    continue
                for finding in each.findings:
                    gone = finding.what == "scored" and str(each.due.call_id) not in there
                    _count(tally, each.due, finding, "deleted" if gone else finding.what)
                    if finding.score is not None and each.call is not None and not gone:
                        said.append(_said(each.call, finding, explained=explained))
                    if finding.said and str(each.due.call_id) in there:
                        await self._fault(connection, each.due, finding)
            await self.feedback.put_many(connection, said)
            await _pay(connection, done, now)
            await tally.write(connection, now)
        return len(ours)

    async def begun(self, due: Sequence[Due]) -> None:
        """Note that some are looked at now, should that be the last of this process."""
        await self.db.run(
            "update monitor_due d set tries = d.tries + 1 from unnest(%s::uuid[], %s::text[]) as w (call_id, name)"
            " where d.call_id = w.call_id and d.name = w.name",
            ([each.call_id for each in due], [each.name for each in due]),
        )

    async def later(self, due: Due, seconds: float, *, failed: bool) -> None:
        """Look at something again after so many seconds; `failed` counts it as tried."""
        await self.db.run(
            "update monitor_due set after = now() + make_interval(secs => %s), tries = tries + %s"
            " where call_id = %s and name = %s",
            (seconds, int(failed), due.call_id, due.name),
        )

    async def _fault(self, connection: Connection, due: Due, finding: Finding) -> None:
        place = fault_about(due.project_id, due.task, finding.name, finding.what)
        sealed = self.seal.seal(finding.said[:_LONGEST].encode("utf-8", "replace"), place)
        await connection.execute(
            _FAULT,
            (due.project_id, due.task, finding.name, finding.what, due.call_id, sealed, self.seal.first),
        )


def fault_about(project_id: int, task: str, name: str, what: str) -> bytes:
    """What the words of an evaluator are sealed for."""
    return f"monitor_faults.said {project_id} {task} {name} {what}".encode()


async def _still(connection: Connection, done: Sequence[Done]) -> tuple[set[tuple[UUID, str]], set[str]]:
    """What of it was still due, now taken, and which of its calls are there."""
    cursor = await connection.execute(
        b"delete from monitor_due d using unnest(%s::uuid[], %s::text[]) as w (call_id, name)"
        b" where d.call_id = w.call_id and d.name = w.name returning d.call_id, d.name",
        ([each.due.call_id for each in done], [each.due.name for each in done]),
    )
    ours = {(row["call_id"], row["name"]) for row in await cursor.fetchall()}
    cursor = await connection.execute(
        b"select id::text from calls where id = any(%s)", ([each.due.call_id for each in done],)
    )
    return ours, {row["id"] for row in await cursor.fetchall()}


def _count(tally: Tally, due: Due, finding: Finding, what: str) -> None:
    tally.add(
        due.project_id,
        due.task,
        due.variant,
        finding.name,
        what,
        nano=finding.nano,
        engine_us=finding.engine_us,
        cpu_us=finding.cpu_us,
    )


def _said(call: Call, finding: Finding, *, explained: bool) -> Said:
    score = finding.score
    assert score is not None
    return Said(
        call=call,
        score=score if explained else Score(name=score.name, value=score.value, label=score.label, passed=score.passed,
                                            cost_nano=score.cost_nano),
        author=Author(name=AUTHOR, source="judge" if finding.judged else "code", key_id=0),
        weight=finding.weight,
    )  # fmt: skip


async def _pay(connection: Connection, done: Iterable[Done], now: datetime) -> None:
    """What it took in place of what was set aside for it; also of what another has kept meanwhile: its judge was paid, too."""
    took: dict[tuple[int, str, date], list[int]] = {}
    for each in done:
        line = took.setdefault((each.due.project_id, each.due.task, now.date()), [0, 0])
        line[0] += sum(finding.nano for finding in each.findings)
        line[1] += sum(finding.engine_us for finding in each.findings)
        if each.held_nano:
            took.setdefault((each.due.project_id, each.due.task, each.held_on or now.date()), [0, 0])[0] -= (
                each.held_nano
            )
    lines = [(*place, nano, us) for place, (nano, us) in sorted(took.items()) if nano or us]
    if lines:
        await connection.execute(
            b"""insert into monitor_spend as m (project_id, task, day, nano, engine_us)
                select * from unnest(%s::int[], %s::text[], %s::date[], %s::bigint[], %s::bigint[])
                on conflict (project_id, task, day) do update
                    set nano = m.nano + excluded.nano, engine_us = m.engine_us + excluded.engine_us""",
            tuple(list(column) for column in zip(*lines, strict=True)),
        )


def due_of(row: Mapping[str, Any]) -> Due:
    """From its row."""
    return Due(**{name: row[name] for name in Due.__dataclass_fields__})
