"""Experiments and runs in the database: begun, told of, ended, listed, forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Self

from psycopg.types.json import Jsonb

from loopwright.core.errors import BadRequest, Conflict, NotFound
from loopwright.kit.blobs import Blobs
from loopwright.kit.db import Connection, Database
from loopwright.kit.ids import Ids
from loopwright.kit.seal import Seal
from loopwright.kit.settings import Settings
from loopwright.runs import words
from loopwright.runs.artifacts import Artifacts
from loopwright.runs.experiments import Experiments
from loopwright.runs.run import STATUSES, Point, Remark, Run, Status, metric_of, run_of

FOLDER: Final = "artifacts"
"""Of the data folder: the bytes of artifacts."""
_RUN: Final = "select r.*, e.name as experiment from runs r join experiments e on e.id = r.experiment_id"
_COPY: Final = "copy run_points (run, name, step, at, value) from stdin"
_INSERT: Final = b"""
    insert into runs (id, project_id, experiment_id, name, kind, status, author, params, tags, prompts, data, code,
        evaluation_id, target, parent_id, started_at)
    values (%(id)s, %(project_id)s, %(experiment_id)s, %(name)s, %(kind)s, 'running', %(author)s, %(params)s, %(tags)s,
        %(prompts)s, %(data)s, %(code)s, %(evaluation_id)s, %(target)s, %(parent_id)s, %(started_at)s)
    on conflict (evaluation_id, target) do nothing returning id
"""


class Runs:
    """The experiments and runs of all projects; `project_id` None is of any project."""

    def __init__(self, db: Database, blobs: Blobs) -> None:
        self._db = db
        self._ids = Ids()
        self.experiments = Experiments(db)
        self.artifacts = Artifacts(db, blobs)

    @classmethod
    def of(cls, db: Database, settings: Settings) -> Self:
        """Those of a house."""
        return cls(db, Blobs(settings.home / FOLDER, Seal.of(settings.encryption)))

    async def start(
        self,
        project_id: int,
        experiment: str,
        *,
        name: str = "",
        kind: str = "run",
        author: str = "",
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        prompts: Sequence[str] = (),
        data: Sequence[Mapping[str, Any]] = (),
        code: Mapping[str, Any] | None = None,
        evaluation_id: str | None = None,
        target: str = "",
        parent_id: str | None = None,
        started_at: datetime | None = None,
    ) -> Run:
        """Begin a run; its experiment is made when it is not there.

        An evaluation has one run for each `target` of it. Of one that has it already, it is that run: beginning twice
        begins once.

        Raises:
            BadRequest: one of these cannot be kept.
            Conflict: the evaluation has a run in another project.
        """
        values = {
            "name": words.name(name, "name", empty=True),
            "kind": words.name(kind, "kind", most=40),
            "author": author[:200],
            "params": Jsonb(words.params(params or {})),
            "tags": Jsonb(words.tags(tags or {})),
            "prompts": Jsonb([words.name(each, "prompts") for each in prompts]),
            "data": Jsonb(words.storable([dict(each) for each in data], "data")),
            "code": Jsonb(words.storable(dict(code or {}), "code")),
            "evaluation_id": words.stored(evaluation_id),
            "target": words.name(target, "target", empty=True),
            "parent_id": words.stored(parent_id),
            "started_at": _aware(started_at) or datetime.now(UTC),
            "project_id": project_id,
            "id": "run_" + self._ids.new().replace("-", ""),
        }
        values["name"] = values["name"] or f"{values['kind']} {str(values['id'])[-6:]}"
        owner = await self.experiments.make(project_id, experiment)
        async with self._db.transaction() as connection:
            cursor = await connection.execute(_INSERT, {**values, "experiment_id": owner.id})
            row = await cursor.fetchone()
        if row is not None:
            return await self.show(row["id"], project_id=project_id)
        known = await self._db.row(
            "select id from runs where evaluation_id = %s and target = %s", (values["evaluation_id"], values["target"])
        )
        assert known is not None
        try:
            return await self.show(known["id"], project_id=project_id)
        except NotFound:
            raise Conflict("evaluation_id: this evaluation has a run already", param="evaluation_id") from None

    async def log(
        self,
        run_id: str,
        *,
        project_id: int | None,
        params: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float | None] | Sequence[Point] = (),
        tags: Mapping[str, str] | None = None,
        prompts: Sequence[str] = (),
        data: Sequence[Mapping[str, Any]] = (),
    ) -> Run:
        """Say more of a run. A parameter is set once; a tag may change; prompts and data are added.

        Args:
            run_id: of the run.
            project_id: whose it must be.
            params: by name; JSON.
            metrics: points, or values by name at step 0.
            tags: texts by name.
            prompts: versions, as `name@number`.
            data: versions of datasets.

        Raises:
            NotFound: there is no such run.
            BadRequest: something cannot be kept; then nothing is.
            Conflict: a parameter has another value already; then nothing is kept.
        """
        given = (
            [Point(name=key, value=value) for key, value in metrics.items()]
            if isinstance(metrics, Mapping)
            else metrics
        )
        new, set_to, tagged = words.points(given), words.params(params or {}), words.tags(tags or {})
        async with self._db.transaction() as connection:
            row = await self._locked(connection, run_id, project_id)
            _check_set_once(row["params"], set_to)
            known = {name: metric_of(told) for name, told in row["metrics"].items()}
            shown = {name: metric.shown() for name, metric in words.merged(known, new).items()}
            if new:
                await _copy(connection, row["number"], new)
            more = [each for each in (words.name(each, "prompts") for each in prompts) if each not in row["prompts"]]
            sets = [each for each in words.storable([dict(each) for each in data], "data") if each not in row["data"]]
            await connection.execute(
                b"update runs set params = %s, tags = tags || %s, metrics = %s, prompts = prompts || %s,"
                b" data = data || %s, updated_at = now() where number = %s",
                (
                    Jsonb(words.params({**row["params"], **set_to})),
                    Jsonb(tagged),
                    Jsonb(shown),
                    Jsonb(more),
                    Jsonb(sets),
                    row["number"],
                ),
            )
        return await self.show(run_id, project_id=project_id)

    async def change(
        self,
        run_id: str,
        *,
        project_id: int | None,
        name: str | None = None,
        status: Status | None = None,
        ended_at: datetime | None = None,
        error: str | None = None,
    ) -> Run:
        """Name it anew, end it, or have it run again.

        Raises:
            NotFound: there is no such run.
            BadRequest: the status is none.
        """
        if status is not None and status not in STATUSES:
            raise BadRequest(f"status: is one of {', '.join(STATUSES)}", param="status")
        ended = None if status in (None, "running") else _aware(ended_at) or datetime.now(UTC)
        async with self._db.transaction() as connection:
            row = await self._locked(connection, run_id, project_id)
            await connection.execute(
                b"update runs set name = %s, status = %s, ended_at = %s, error = %s, updated_at = now()"
                b" where number = %s",
                (
                    row["name"] if name is None else words.name(name, "name"),
                    status or row["status"],
                    row["ended_at"] if status is None else ended,
                    row["error"] if error is None else words.text(error, "error"),
                    row["number"],
                ),
            )
        return await self.show(run_id, project_id=project_id)

    async def finish(
        self, run_id: str, *, project_id: int | None, status: Status = "finished", error: str | None = None
    ) -> Run:
        """As `change`, for the end of a run."""
        return await self.change(run_id, project_id=project_id, status=status, error=error)

    async def untag(self, run_id: str, tag: str, *, project_id: int | None) -> None:
        """Take a tag off; of one that is not there it does nothing.

        Raises:
            NotFound: there is no such run.
        """
        async with self._db.transaction() as connection:
            row = await self._locked(connection, run_id, project_id)
            await connection.execute(
                b"update runs set tags = tags - %s::text where number = %s", (words.stored(tag), row["number"])
            )

    async def show(self, run_id: str, *, project_id: int | None) -> Run:
        """One run.

        Raises:
            NotFound: there is none of this id.
        """
        row = await self._db.row(
            f"{_RUN} where r.id = %s and (%s::int is null or r.project_id = %s)",
            (words.stored(run_id), project_id, project_id),
        )
        if row is None:
            raise _missing(run_id)
        return run_of(row)

    async def list(
        self,
        *,
        project_id: int | None,
        experiment: str | int | None = None,
        status: Status | None = None,
        kind: str | None = None,
        tag: tuple[str, str] | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> Sequence[Run]:
        """Runs, newest first; `before` is the id of the last one seen.

        Raises:
            NotFound: there is no such experiment.
        """
        owner = None if experiment is None else await self.experiments.find(experiment, project_id=project_id)
        rows = await self._db.rows(
            f"{_RUN} where (%(project)s::int is null or r.project_id = %(project)s)"
            " and (%(experiment)s::bigint is null or r.experiment_id = %(experiment)s)"
            " and (%(status)s::text is null or r.status = %(status)s)"
            " and (%(kind)s::text is null or r.kind = %(kind)s)"
            " and (%(tag)s::text is null or r.tags ->> %(tag)s = %(value)s)"
            " and (%(before)s::text is null or r.id < %(before)s) order by r.id desc limit %(limit)s",
            {
                "project": project_id,
                "experiment": None if owner is None else owner.id,
                "status": status,
                "kind": words.stored(kind),
                "tag": None if tag is None else words.stored(tag[0]),
                "value": None if tag is None else words.stored(tag[1]),
                "before": words.stored(before),
                "limit": limit,
            },
        )
        return [run_of(row) for row in rows]

    async def forget(self, run_id: str, *, project_id: int | None) -> None:
        """Delete a run, its points, notes and artifacts.

        Raises:
            NotFound: there is none of this id.
        """
        run = await self.show(run_id, project_id=project_id)
        for artifact in await self.artifacts.list(run):
            await self.artifacts.remove(run, artifact.path)
        await self._db.run("delete from runs where id = %s", (run.id,))

    async def forget_experiment(self, which: str | int, *, project_id: int | None) -> int:
        """Delete an experiment and its runs; how many runs.

        Raises:
            NotFound: there is none.
        """
        found = await self.experiments.find(which, project_id=project_id)
        rows = await self._db.rows("select id from runs where experiment_id = %s", (found.id,))
        for row in rows:
            await self.forget(row["id"], project_id=project_id)
        await self._db.run("delete from experiments where id = %s", (found.id,))
        return len(rows)

    # ---- what is said of one ----

    async def note(self, run_id: str, text: str, *, project_id: int | None, author: str) -> Remark:
        """Note something of a run.

        Raises:
            NotFound: there is no such run.
            BadRequest: there is no text, or too much of it.
        """
        run = await self.show(run_id, project_id=project_id)
        if not text.strip():
            raise BadRequest("text: is empty", param="text")
        row = await self._db.row(
            "insert into run_notes (run, author, text) values (%s, %s, %s) returning id, at, author, text",
            (run.number, author[:200], words.text(text, "text")),
        )
        assert row is not None
        return Remark(**row)

    async def notes(self, run: Run) -> Sequence[Remark]:
        """What was noted of a run, oldest first."""
        rows = await self._db.rows(
            "select id, at, author, text from run_notes where run = %s order by id", (run.number,)
        )
        return [Remark(**row) for row in rows]

    async def curves(
        self, run: Run, *, names: Sequence[str] | None = None, points: int = 500
    ) -> Mapping[str, Sequence[Point]]:
        """The points of a run's metrics by step, each curve thinned evenly to at most `points`, its ends kept.

        Of two points of one step the later counts.
        """
        rows = await self._db.rows(
            "with whole as (select distinct on (name, step) name, step, at, value from run_points"
            " where run = %(run)s and (%(names)s::text[] is null or name = any(%(names)s)) order by name, step, at desc),"
            " counted as (select *, row_number() over (partition by name order by step) - 1 as place,"
            " count(*) over (partition by name) as count from whole)"
            " select name, step, at, value from counted where count <= %(points)s or place = count - 1"
            " or place %% ((count + %(points)s - 2) / (%(points)s - 1)) = 0 order by name, step",
            {
                "run": run.number,
                "names": None if names is None else [words.stored(name) for name in names],
                "points": max(points, 2),
            },
        )
        found: dict[str, list[Point]] = {}
        for row in rows:
            found.setdefault(row["name"], []).append(Point(**row))
        return found

    async def _locked(self, connection: Connection, run_id: str, project_id: int | None) -> dict[str, Any]:
        cursor = await connection.execute(
            b"select * from runs where id = %s and (%s::int is null or project_id = %s) for update",
            (words.stored(run_id), project_id, project_id),
        )
        row = await cursor.fetchone()
        if row is None:
            raise _missing(run_id)
        return row


async def _copy(connection: Connection, number: int, new: Sequence[Point]) -> None:
    cursor = connection.cursor()
    async with cursor.copy(_COPY.encode()) as copy:
        for point in new:
            await copy.write_row((number, point.name, point.step, point.at, point.value))


def _check_set_once(known: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    other = next((name for name, value in given.items() if name in known and known[name] != value), None)
    if other is not None:
        raise Conflict(
            f"params: {other[:80]!r} is {str(known[other])[:80]!r} already; a parameter is set once", param="params"
        )


def _aware(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def _missing(run_id: str) -> NotFound:
    return NotFound(f"there is no run {run_id[:80]!r}", param="run_id")
