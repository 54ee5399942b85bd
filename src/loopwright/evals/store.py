"""The evaluations in the database: made, listed, cancelled, deleted, and brought to their end by whoever runs them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, fields
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from loopwright.core.errors import BadRequest, Conflict, LoopwrightError, NotFound, Spent, Unavailable
from loopwright.core.who import Principal
from loopwright.evals.evaluation import OPEN, Evaluation, Status, Tally, about, evaluation_of
from loopwright.evals.spec import Spec, check
from loopwright.kit.db import Connection, Database, plain
from loopwright.kit.ids import Ids
from loopwright.kit.jobs import Jobs
from loopwright.kit.seal import PLAIN, Seal
from loopwright.kit.settings_evals import EvaluationSettings

RUN: Final = "evals.run"
"""The job that runs evaluations."""
TIDY: Final = "evals.tidy"
"""The job that lets go of paid answers nobody shows."""
_NAME: Final = 200
_TALLY: Final = tuple(each.name for each in fields(Tally))
_SET_TALLY: Final = ", ".join(f"{name} = %s" for name in _TALLY)


class Evaluations:
    """The evaluations of all projects."""

    def __init__(self, db: Database, settings: EvaluationSettings, seal: Seal = PLAIN) -> None:
        self.db = db
        self.settings = settings
        self.seal = seal
        self._ids = Ids()
        self._jobs = Jobs(db)
        enlist(self._jobs, _elsewhere)

    async def create(
        self, who: Principal, spec: Spec, *, dataset: str, dataset_sha: str, total: int, name: str = ""
    ) -> Evaluation:
        """A new evaluation, to be run beside the recorder.

        Args:
            who: whose key asks; each question is asked as by it.
            spec: what is evaluated; checked already against datasets, evaluators and models.
            dataset: the version as `name@number`.
            dataset_sha: and what is in it.
            total: how many examples that are.
            name: for people; by default made of the targets.

        Raises:
            BadRequest: the spec makes no sense in itself.
            Spent: the project has too many evaluations that are not yet at their end.
        """
        check(spec)
        made = "eval_" + self._ids.new().replace("-", "")
        told = _told(spec)
        named = plain(name.strip() or _named(spec, dataset))[:_NAME]
        async with self.db.transaction() as connection:
            await connection.execute(
                b"select pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"evaluations of project {who.project_id}",)
            )
            await self._check_room(connection, who.project_id)
            cursor = await connection.execute(
                b"insert into evaluations (id, project_id, key_id, name, spec, sealed_by, dataset, dataset_sha, status,"
                b" total) values (%s, %s, %s, %s, %s, %s, %s, %s, 'queued', %s) returning *",
                (
                    made,
                    who.project_id,
                    who.key_id,
                    named,
                    self.seal.seal(told, about(made)),
                    self.seal.first,
                    dataset,
                    dataset_sha,
                    total,
                ),
            )
            row = await cursor.fetchone()
        assert row is not None
        with suppress(Unavailable):  # then it begins a minute later, by the schedule
            await self._jobs.defer(RUN)
        return evaluation_of(row, self.seal)

    async def _check_room(self, connection: Connection, project_id: int) -> None:
        cursor = await connection.execute(
            b"select count(*) as open from evaluations where project_id = %s and status = any(%s)",
            (project_id, list(OPEN)),
        )
        row = await cursor.fetchone()
        if row is not None and row["open"] >= self.settings.project_evaluations:
            raise Spent(
                f"{row['open']} evaluations of the project are not at their end, as many as may be"
                " (evaluations.project_evaluations): wait for one or cancel it"
            )

    async def show(self, evaluation_id: str, *, project_id: int | None) -> Evaluation:
        """One evaluation; `project_id` None is of any project.

        Raises:
            NotFound: there is none of this id.
        """
        row = await self.db.row(
            "select * from evaluations where id = %s and (%s::int is null or project_id = %s)",
            (plain(evaluation_id), project_id, project_id),
        )
        if row is None:
            raise missing(evaluation_id)
        return evaluation_of(row, self.seal)

    async def list(
        self,
        *,
        project_id: int | None,
        status: Status | None = None,
        dataset: str | None = None,
        after: str | None = None,
        limit: int = 20,
    ) -> Sequence[Evaluation]:
        """Evaluations, newest first; `after` is the id of the last one seen, `project_id` None is of all projects.

        `dataset` is a name, or `name@number`.
        """
        rows = await self.db.rows(
            "select * from evaluations where (%(project)s::int is null or project_id = %(project)s)"
            " and (%(status)s::text is null or status = %(status)s)"
            " and (%(dataset)s::text is null or dataset = %(dataset)s or split_part(dataset, '@', 1) = %(dataset)s)"
            " and (%(after)s::text is null or id < %(after)s) order by id desc limit %(limit)s",
            {
                "project": project_id,
                "status": status,
                "dataset": None if dataset is None else plain(dataset),
                "after": None if after is None else plain(after),
                "limit": limit,
            },
        )
        return [evaluation_of(row, self.seal) for row in rows]

    async def cancel(self, evaluation_id: str, *, project_id: int | None) -> Evaluation:
        """Have an evaluation end early: what was found by then stays. Again does nothing.

        Raises:
            NotFound: there is none of this id.
            Conflict: it is at its end.
        """
        row = await self.db.row(
            "update evaluations set status = 'cancelling' where id = %s and (%s::int is null or project_id = %s)"
            " and status in ('queued', 'running') returning *",
            (plain(evaluation_id), project_id, project_id),
        )
        if row is not None:
            return evaluation_of(row, self.seal)
        found = await self.show(evaluation_id, project_id=project_id)
        if found.status not in {"cancelling", "cancelled"}:
            raise Conflict(f"evaluation {found.id} is {found.status}: there is nothing left to cancel")
        return found

    async def delete(self, evaluation_id: str, *, project_id: int | None) -> None:
        """Forget an evaluation and what was found; what was paid for is kept a while to be used again.

        Raises:
            NotFound: there is none of this id.
            Conflict: it is not at its end.
        """
        found = await self.show(evaluation_id, project_id=project_id)
        if not await self.db.run("delete from evaluations where id = %s and status <> all(%s)", (found.id, list(OPEN))):
            raise Conflict(f"evaluation {found.id} is {found.status}: cancel it first")

    # ---- for whoever runs them ----

    async def waiting(self) -> int:
        """How many are not yet at their end."""
        row = await self.db.row("select count(*) as open from evaluations where status = any(%s)", (list(OPEN),))
        return 0 if row is None else int(row["open"])

    async def unfinished(self) -> Sequence[Evaluation]:
        """Those not yet at their end, oldest first."""
        rows = await self.db.rows("select * from evaluations where status = any(%s) order by id", (list(OPEN),))
        return [evaluation_of(row, self.seal) for row in rows]

    async def began(self, evaluation_id: str, *, total: int) -> bool:
        """It is at work. False when it was cancelled meanwhile."""
        return bool(
            await self.db.run(
                "update evaluations set status = 'running', total = %s, started_at = coalesce(started_at, now())"
                " where id = %s and status in ('queued', 'running')",
                (total, evaluation_id),
            )
        )

    async def note(self, evaluation_id: str, findings: Mapping[str, Any]) -> None:
        """What is found so far."""
        await self.db.run("update evaluations set findings = %s::jsonb where id = %s", (_json(findings), evaluation_id))

    async def finish(
        self,
        evaluation_id: str,
        status: Status,
        *,
        problem: str | None = None,
        findings: Mapping[str, Any] | None = None,
        verdict: str | None = None,
    ) -> None:
        """Its end; done already, it does nothing.

        Raises:
            Unavailable: the database cannot answer now; do it again.
        """
        await self.db.run(
            "update evaluations set status = %s, problem = %s, findings = coalesce(%s::jsonb, findings), verdict = %s,"
            " ended_at = now() where id = %s and status = any(%s)",
            (
                status,
                None if problem is None else plain(problem, 2_000),
                None if findings is None else _json(findings),
                verdict,
                evaluation_id,
                list(OPEN),
            ),
        )

    async def tidy(self, now: datetime) -> int:
        """Forget paid answers that no evaluation shows and that are old; how many."""
        before = now - timedelta(days=self.settings.cache_days)
        return await self.db.run(
            "delete from evaluation_answers a where created_at < %s"
            " and not exists (select 1 from evaluation_results r where r.answer_key = a.key)",
            (before,),
        )


def set_tally(tally: Tally) -> tuple[str, tuple[object, ...]]:
    """The assignments of an update, and their values."""
    return _SET_TALLY, astuple(tally)


def enlist(jobs: Jobs, run: Callable[[], Awaitable[None]]) -> None:
    """Register the job that runs evaluations: in the recorder to do it, elsewhere to have it done."""
    # By the schedule too, for evaluations whose runner ended; see `batches.store.enlist`.
    jobs.register(RUN, run, schedule="* * * * *", lock=RUN)


async def _elsewhere() -> None:
    raise LoopwrightError("evaluations are run beside the recorder")


def _told(spec: Spec) -> bytes:
    try:
        told = msgspec.json.encode(spec.as_json())
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        raise BadRequest(f"something in the evaluation cannot be kept: {error}") from None
    if b"\\u0000" in told:
        raise BadRequest("a text of the evaluation holds NUL, which cannot be kept")
    return told


def _json(findings: Mapping[str, Any]) -> str:
    """As PostgreSQL can keep it, whatever evaluators called their figures."""
    return msgspec.json.encode(findings, enc_hook=str).decode().replace("\\u0000", "\\ufffd")


def _named(spec: Spec, dataset: str) -> str:
    return f"{' vs '.join(target.name for target in spec.targets)} on {dataset}"


def missing(evaluation_id: str) -> NotFound:
    """There is no such evaluation."""
    return NotFound(f"there is no evaluation {evaluation_id[:80]!r}: it never was, or was deleted", param="id")
