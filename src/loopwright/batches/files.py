"""The files of projects: rows in the database, bytes in blobs. A file of another project is not there.

Who adds a file and who removes one hold the same lock on its blob, so that two files of one content never lose it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO, Final, Literal

from loopwright.batches.batch import OPEN, StoredFile, file_of
from loopwright.core.errors import BadRequest, Conflict, NotFound, Spent, Unavailable
from loopwright.kit.blobs import Blobs
from loopwright.kit.db import Connection, Database, plain
from loopwright.kit.ids import Ids
from loopwright.kit.settings_batches import FileSettings

PURPOSES: Final = ("batch", "user_data", "assistants", "fine-tune", "vision", "evals")
"""What an upload may be for."""
OUTPUT: Final = "batch_output"
SHORTEST, LONGEST = 3_600, 30 * 86_400
"""Seconds that `expires_after` may say."""
_NAME: Final = 255
_INSERT: Final = b"""
    insert into files (id, project_id, key_id, filename, purpose, bytes, blob, expires_at)
    values (%(id)s, %(project_id)s, %(key_id)s, %(filename)s, %(purpose)s, %(bytes)s, %(blob)s, %(expires_at)s)
    returning *
"""
_USED: Final = """
    select count(*) as files, coalesce(sum(bytes), 0)::bigint as bytes from files
    where project_id = %s and (expires_at is null or expires_at > now())
"""
_OLDEST: Final = """
    select * from files where project_id = %(project)s and (expires_at is null or expires_at > now())
    and (%(purpose)s::text is null or purpose = %(purpose)s) and (%(after)s::text is null or id > %(after)s)
    order by id limit %(limit)s
"""
_NEWEST: Final = _OLDEST.replace("id > ", "id < ").replace("order by id", "order by id desc")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFile:
    """A file whose bytes are stored and which has no row yet."""

    project_id: int
    key_id: int
    filename: str
    purpose: str
    bytes: int
    blob: str
    seconds: int | None = None
    """After which it expires; None is as the house keeps files of its purpose."""


class Files:
    """The files of all projects."""

    def __init__(self, db: Database, blobs: Blobs, settings: FileSettings) -> None:
        self._db = db
        self.blobs = blobs
        self.settings = settings
        self._ids = Ids()

    async def room(self, project_id: int) -> int:
        """Bytes one more upload of a project may have.

        Raises:
            Spent: none.
        """
        row = await self._db.row(_USED, (project_id,))
        assert row is not None
        self._check_quota(row["files"], row["bytes"], 1)
        return min(self.settings.limit, self.settings.project_bytes - int(row["bytes"]))

    async def add(self, new: NewFile) -> StoredFile:
        """Make a file of stored bytes.

        Raises:
            BadRequest: purpose or expiry are not usable.
            Spent: the project has too many files, or bytes.
            Unavailable: the bytes went with another file of the same content that was deleted just now.
        """
        try:
            _check_words(new)
            async with self._db.transaction() as connection:
                await _lock(connection, f"files of project {new.project_id}")
                row = await (await connection.execute(_USED.encode(), (new.project_id,))).fetchone()
                assert row is not None
                self._check_quota(row["files"], row["bytes"], new.bytes)
                return await self.insert(connection, new)
        except (BadRequest, Spent):
            await self.drop(new.blob)
            raise

    async def insert(self, connection: Connection, new: NewFile) -> StoredFile:
        """As `add`, in a transaction of the caller's and without looking at quotas."""
        await _lock(connection, new.blob)
        if new.blob not in self.blobs:
            raise Unavailable("the file was deleted while it came in: send it again", retry_after=1.0)
        seconds = new.seconds
        if seconds is None and new.purpose in {"batch", OUTPUT}:
            seconds = self.settings.retention_days * 86_400
        cursor = await connection.execute(
            _INSERT,
            {
                "id": "file-" + self._ids.new().replace("-", ""),
                "project_id": new.project_id,
                "key_id": new.key_id,
                "filename": new.filename[:_NAME],
                "purpose": new.purpose,
                "bytes": new.bytes,
                "blob": new.blob,
                "expires_at": None if seconds is None else datetime.now(UTC) + timedelta(seconds=seconds),
            },
        )
        row = await cursor.fetchone()
        assert row is not None
        return file_of(row)

    async def get(self, file_id: str, *, project_id: int, param: str = "file_id") -> StoredFile:
        """One file.

        Raises:
            NotFound: there is none of this id in the project, or no longer.
        """
        row = await self._db.row(
            "select * from files where id = %s and project_id = %s and (expires_at is null or expires_at > now())",
            (plain(file_id), project_id),
        )
        if row is None:
            raise NotFound(
                f"{param}: there is no file {file_id[:80]!r}: it was deleted, has expired, or never was", param=param
            )
        return file_of(row)

    async def stored(self, file_id: str) -> StoredFile:
        """One file of any project, also when its time is over: a batch that reads it keeps it.

        Raises:
            NotFound: there is none of this id.
        """
        row = await self._db.row("select * from files where id = %s", (file_id,))
        if row is None:
            raise NotFound(f"there is no file {file_id!r} any more", param="input_file_id")
        return file_of(row)

    async def list(
        self,
        project_id: int,
        *,
        purpose: str | None = None,
        after: str | None = None,
        limit: int = 10_000,
        order: Literal["asc", "desc"] = "desc",
    ) -> Sequence[StoredFile]:
        """Files of a project, newest first unless `order` is asc; `after` is the id of the last one seen."""
        rows = await self._db.rows(
            _NEWEST if order == "desc" else _OLDEST,
            {
                "project": project_id,
                "purpose": None if purpose is None else plain(purpose),
                "after": None if after is None else plain(after),
                "limit": limit,
            },
        )
        return [file_of(row) for row in rows]

    async def open(self, file: StoredFile) -> BinaryIO:
        """The bytes of a file, verified.

        Raises:
            NotFound: they are not in this data folder.
        """
        try:
            return await asyncio.to_thread(self.blobs.open, file.blob)
        except NotFound:
            raise NotFound(f"the content of {file.id} is not in this data folder", param="file_id") from None

    async def delete(self, file_id: str, *, project_id: int) -> None:
        """Remove a file, and its bytes when no other has the same.

        Raises:
            NotFound: there is none of this id in the project.
            Conflict: a batch reads it.
        """
        file = await self.get(file_id, project_id=project_id)
        reader = await self._db.row(
            "select id from batches where input_file_id = %s and status = any(%s)", (file.id, list(OPEN))
        )
        if reader is not None:
            raise Conflict(f"{reader['id']} reads {file.id}: cancel it first, or wait for its end", param="file_id")
        await self._remove(file.id, file.blob)

    async def expire(self) -> int:
        """Remove the files whose time is over; how many. For an hourly job.

        Raises:
            Unavailable: the database cannot answer now.
        """
        rows = await self._db.rows(
            "select id, blob from files f where expires_at <= now() and not exists (select 1 from batches b"
            " where b.input_file_id = f.id and b.status = any(%s)) order by id limit 10000",
            (list(OPEN),),
        )
        for row in rows:
            await self._remove(row["id"], row["blob"])
        return len(rows)

    async def collect(self) -> int:
        """Remove stored bytes that no file has, a day after they came: of uploads that broke off. How many."""
        rows = await self._db.rows("select distinct blob from files")
        kept: set[Any] = {row["blob"] for row in rows}
        return len(await asyncio.to_thread(self.blobs.collect, kept))

    async def _remove(self, file_id: str, blob: str) -> None:
        async with self._db.transaction() as connection:
            await _lock(connection, blob)
            await connection.execute(b"delete from files where id = %s", (file_id,))
            await self._let_go(connection, blob)

    async def drop(self, blob: str) -> None:
        """Forget bytes that became no file."""
        async with self._db.transaction() as connection:
            await _lock(connection, blob)
            await self._let_go(connection, blob)

    async def _let_go(self, connection: Connection, blob: str) -> None:
        cursor = await connection.execute(b"select 1 from files where blob = %s limit 1", (blob,))
        if await cursor.fetchone() is None:
            self.blobs.delete(blob)

    def _check_quota(self, files: int, size: int, more: int) -> None:
        if files >= self.settings.project_files:
            raise Spent(f"the project has {files:,} files, as many as it may (files.project_files): delete some")
        if size + more > self.settings.project_bytes:
            raise Spent(
                f"the project's files have {size:,} bytes and may have {self.settings.project_bytes:,}"
                " (files.project_bytes): delete some"
            )


def _check_words(new: NewFile) -> None:
    if new.purpose not in PURPOSES:
        raise BadRequest(f"purpose: {new.purpose[:40]!r} is none of {', '.join(PURPOSES)}", param="purpose")
    if new.seconds is not None and not SHORTEST <= new.seconds <= LONGEST:
        raise BadRequest(f"expires_after.seconds: from {SHORTEST} to {LONGEST}", param="expires_after")


async def _lock(connection: Connection, what: str) -> None:
    await connection.execute(b"select pg_advisory_xact_lock(hashtextextended(%s, 0))", (what,))
