"""The batches in the database: made, listed, cancelled, and brought from status to status by whoever runs them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, fields
from datetime import datetime, timedelta
from typing import Any, Final, Self

from psycopg.types.json import Jsonb

from loopwright.batches.batch import ENDPOINTS, OPEN, Batch, Problem, Status, Tally, batch_of
from loopwright.batches.files import Files, NewFile
from loopwright.core.errors import BadRequest, Conflict, LoopwrightError, NotFound, Spent, Unavailable
from loopwright.core.who import Principal
from loopwright.kit.blobs import Blobs
from loopwright.kit.db import Database, plain
from loopwright.kit.ids import Ids
from loopwright.kit.jobs import Jobs
from loopwright.kit.seal import Seal
from loopwright.kit.settings import Settings
from loopwright.kit.settings_batches import BatchSettings

RUN: Final = "batches.run"
"""The job that runs batches."""
WINDOW: Final = 86_400
"""Seconds of the one completion window there is."""
_TALLY: Final = tuple(each.name for each in fields(Tally))
_SET_TALLY: Final = ", ".join(f"{name} = %s" for name in _TALLY)
_NOTE: Final = f"update batches set {_SET_TALLY} where id = %s"  # noqa: S608 - names of fields
_END: Final = f"""
    update batches set status = %s, MOMENT = now(), output_file_id = %s, error_file_id = %s, errors = %s, {_SET_TALLY}
    where id = %s
"""  # noqa: S608 - names of fields
_METADATA: Final = (16, 64, 512)
_ENDED: Final[Mapping[str, str]] = {
    "completed": "completed_at",
    "failed": "failed_at",
    "expired": "expired_at",
    "cancelled": "cancelled_at",
}


class Batches:
    """The batches of all projects, and the files they read and write."""

    def __init__(self, db: Database, files: Files, settings: BatchSettings) -> None:
        self._db = db
        self._ids = Ids()
        self._jobs = Jobs(db)
        enlist(self._jobs, _elsewhere)
        self.files = files
        self.settings = settings

    @classmethod
    def of(cls, db: Database, settings: Settings) -> Self:
        """Those of a house."""
        blobs = Blobs(settings.home / "blobs", Seal.of(settings.encryption))
        return cls(db, Files(db, blobs, settings.files), settings.batches)

    async def create(
        self,
        who: Principal,
        *,
        input_file_id: str,
        endpoint: str,
        metadata: Mapping[str, str] | None = None,
        output_seconds: int | None = None,
    ) -> Batch:
        """A new batch, to be checked and run by the recorder.

        Args:
            who: whose key asks; each line is asked as by it.
            input_file_id: a file of purpose `batch`.
            endpoint: which route all lines ask.
            metadata: texts of the client's own.
            output_seconds: after which the files it writes expire.

        Raises:
            BadRequest: one of these is not usable.
            NotFound: there is no such file in the project.
            Spent: the project has too many batches that are not yet at their end.
        """
        if endpoint not in ENDPOINTS:
            raise BadRequest(f"endpoint: {endpoint[:80]!r} is none of {', '.join(ENDPOINTS)}", param="endpoint")
        _check_metadata(metadata)
        file = await self.files.get(input_file_id, project_id=who.project_id, param="input_file_id")
        if file.purpose != "batch":
            raise BadRequest(
                f"input_file_id: {file.id} is for {file.purpose}; upload it with purpose batch", param="input_file_id"
            )
        row = await self._insert(who, file.id, endpoint, metadata, output_seconds)
        with suppress(Unavailable):  # then it begins a minute later, by the schedule
            await self._jobs.defer(RUN)
        return batch_of(row)

    async def _insert(
        self,
        who: Principal,
        file_id: str,
        endpoint: str,
        metadata: Mapping[str, str] | None,
        output_seconds: int | None,
    ) -> dict[str, Any]:
        async with self._db.transaction() as connection:
            await connection.execute(
                b"select pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"batches of project {who.project_id}",)
            )
            cursor = await connection.execute(
                b"select count(*) as open from batches where project_id = %s and status = any(%s)",
                (who.project_id, list(OPEN)),
            )
            row = await cursor.fetchone()
            if row is not None and row["open"] >= self.settings.project_batches:
                raise Spent(
                    f"{row['open']} batches of the project are not at their end, as many as may be"
                    " (batches.project_batches): wait for one or cancel it"
                )
            cursor = await connection.execute(
                b"insert into batches (id, project_id, key_id, endpoint, input_file_id, status, metadata,"
                b" output_seconds, expires_at) values (%s, %s, %s, %s, %s, 'validating', %s, %s, now() + %s) returning *",
                (
                    "batch_" + self._ids.new().replace("-", ""),
                    who.project_id,
                    who.key_id,
                    endpoint,
                    file_id,
                    None if metadata is None else Jsonb(dict(metadata)),
                    output_seconds,
                    timedelta(seconds=WINDOW),
                ),
            )
            row = await cursor.fetchone()
        assert row is not None
        return row

    async def show(self, batch_id: str, *, project_id: int | None) -> Batch:
        """One batch; `project_id` None is of any project.

        Raises:
            NotFound: there is none of this id.
        """
        row = await self._db.row(
            "select * from batches where id = %s and (%s::int is null or project_id = %s)",
            (plain(batch_id), project_id, project_id),
        )
        if row is None:
            raise _missing(batch_id)
        return batch_of(row)

    async def list(
        self,
        *,
        project_id: int | None,
        status: Status | None = None,
        after: str | None = None,
        limit: int = 20,
    ) -> Sequence[Batch]:
        """Batches, newest first; `after` is the id of the last one seen, `project_id` None is of all projects."""
        rows = await self._db.rows(
            "select * from batches where (%(project)s::int is null or project_id = %(project)s)"
            " and (%(status)s::text is null or status = %(status)s)"
            " and (%(after)s::text is null or id < %(after)s) order by id desc limit %(limit)s",
            {
                "project": project_id,
                "status": status,
                "after": None if after is None else plain(after),
                "limit": limit,
            },
        )
        return [batch_of(row) for row in rows]

    async def cancel(self, batch_id: str, *, project_id: int | None) -> Batch:
        """Have a batch end early: what is answered by then is in its files. Again does nothing.

        Raises:
            NotFound: there is none of this id.
            Conflict: it is at its end, or writes its files already.
        """
        row = await self._db.row(
            "update batches set status = 'cancelling', cancelling_at = now() where id = %s"
            " and (%s::int is null or project_id = %s) and status in ('validating', 'in_progress') returning *",
            (plain(batch_id), project_id, project_id),
        )
        if row is not None:
            return batch_of(row)
        found = await self.show(batch_id, project_id=project_id)
        if found.status not in {"cancelling", "cancelled"}:
            raise Conflict(f"batch {found.id} is {found.status}: there is nothing left to cancel", param="batch_id")
        return found

    # ---- for whoever runs them ----

    async def unfinished(self) -> Sequence[Batch]:
        """Those not yet at their end, oldest first."""
        rows = await self._db.rows("select * from batches where status = any(%s) order by id", (list(OPEN),))
        return [batch_of(row) for row in rows]

    async def began(self, batch_id: str, *, total: int, model: str) -> bool:
        """Its input is in order: the lines may be asked. False when it was cancelled meanwhile."""
        return bool(
            await self._db.run(
                "update batches set status = 'in_progress', in_progress_at = now(), total = %s, model = %s"
                " where id = %s and status = 'validating'",
                (total, model, batch_id),
            )
        )

    async def note(self, batch_id: str, tally: Tally) -> None:
        """How far it is."""
        await self._db.run(_NOTE, (*astuple(tally), batch_id))

    async def finalizing(self, batch_id: str) -> bool:
        """All lines are asked: its files are being written. False when it was cancelled meanwhile."""
        return bool(
            await self._db.run(
                "update batches set status = 'finalizing', finalizing_at = coalesce(finalizing_at, now())"
                " where id = %s and status in ('in_progress', 'finalizing')",
                (batch_id,),
            )
        )

    async def fail(self, batch_id: str, problems: Sequence[Problem]) -> None:
        """Its input is not in order: nothing is asked."""
        await self.finish(batch_id, "failed", Tally(), output=None, errors=None, problems=problems)

    async def finish(
        self,
        batch_id: str,
        status: Status,
        tally: Tally,
        *,
        output: NewFile | None,
        errors: NewFile | None,
        problems: Sequence[Problem] = (),
    ) -> None:
        """Its end and its files, in one transaction; done already, it does nothing.

        Raises:
            Unavailable: the database cannot answer now; do it again.
        """
        told = Jsonb([problem.shown() for problem in problems]) if problems else None
        async with self._db.transaction() as connection:
            cursor = await connection.execute(
                b"select 1 from batches where id = %s and status = any(%s) for update", (batch_id, list(OPEN))
            )
            if await cursor.fetchone() is None:
                return
            made = [None if new is None else (await self.files.insert(connection, new)).id for new in (output, errors)]
            await connection.execute(
                _END.replace("MOMENT", _ENDED[status]).encode(),
                (status, *made, told, *astuple(tally), batch_id),
            )

    async def tidy(self, now: datetime) -> int:
        """Forget batches long at their end; how many. Their files have an end of their own."""
        before = now - timedelta(days=self.settings.retention_days)
        return await self._db.run(
            "delete from batches where status <> all(%s) and created_at < %s", (list(OPEN), before)
        )


def enlist(jobs: Jobs, run: Callable[[], Awaitable[None]]) -> None:
    """Register the job that runs batches: in the recorder to do it, elsewhere to have it done."""
    # By the schedule too, for batches whose runner ended; the lock has one runner at a time. Without retries: what is
    # left to do is in the database, and a waiting job of this name would be in the way of one that comes back.
    jobs.register(RUN, run, schedule="* * * * *", lock=RUN)


async def _elsewhere() -> None:
    raise LoopwrightError("batches are run by the recorder")


def _check_metadata(metadata: Mapping[str, str] | None) -> None:
    most, key_length, value_length = _METADATA
    if metadata is None:
        return
    if len(metadata) > most:
        raise BadRequest(f"metadata: {len(metadata)} entries; allowed are {most}", param="metadata")
    for name, value in metadata.items():
        if not 0 < len(name) <= key_length or len(value) > value_length or "\x00" in name + value:
            raise BadRequest(
                f"metadata: keys have up to {key_length} characters, values up to {value_length}", param="metadata"
            )


def _missing(batch_id: str) -> NotFound:
    return NotFound(f"there is no batch {batch_id[:80]!r}: it never was, or is past its retention", param="batch_id")
