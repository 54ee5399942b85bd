"""The files of runs: rows in the database, bytes in blobs of a folder of their own.

Who adds a file and who removes one hold the same lock on its blob, so that two of one content never lose it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Sequence
from typing import BinaryIO, Final

from loopwright.core.errors import NotFound, Spent, TooLarge, Unavailable
from loopwright.kit.blobs import Blobs, Writing
from loopwright.kit.db import Connection, Database
from loopwright.runs import words
from loopwright.runs.run import Artifact, Run

MOST: Final = 1_000
"""Artifacts of one run."""
LARGEST: Final = 2 * 1024**3
"""Bytes of one artifact."""
_LIST: Final = "select path, blob, bytes, media_type, created_at from run_artifacts where run = %s order by path"
_GET: Final = _LIST.replace("order by path", "and path = %s")
_PUT: Final = b"""
    insert into run_artifacts (run, path, blob, bytes, media_type) values (%s, %s, %s, %s, %s)
    on conflict (run, path) do update
        set blob = excluded.blob, bytes = excluded.bytes, media_type = excluded.media_type, created_at = now()
    returning path, blob, bytes, media_type, created_at
"""


class Artifacts:
    """The artifacts of all runs."""

    def __init__(self, db: Database, blobs: Blobs) -> None:
        self._db = db
        self._blobs = blobs

    async def put(self, run: Run, path: str, source: bytes | AsyncIterable[bytes]) -> Artifact:
        """Keep a file of a run, in place of one of the same path.

        Raises:
            BadRequest: the path is none.
            TooLarge: it is over 2 GiB.
            Spent: the run has as many artifacts as it may.
            Unavailable: the bytes went with another file of the same content that was deleted just now.
        """
        placed = words.path(path)
        with self._blobs.writing() as writing:
            await _write(writing, source)
            size = writing.size
            blob = await asyncio.to_thread(writing.commit)
        async with self._db.transaction() as connection:
            await _lock(connection, blob)
            if blob not in self._blobs:
                raise Unavailable("the file was deleted while it came in: send it again", retry_after=1.0)
            cursor = await connection.execute(b"select path, blob from run_artifacts where run = %s", (run.number,))
            before = {found["path"]: found["blob"] for found in await cursor.fetchall()}
            if placed not in before and len(before) >= MOST:
                raise Spent(f"the run has {MOST:,} artifacts, as many as it may: log a folder as one archive")
            told = (run.number, placed, blob, size, words.media_type(placed))
            cursor = await connection.execute(_PUT, told)
            row = await cursor.fetchone()
            await connection.execute(b"update runs set updated_at = now() where number = %s", (run.number,))
        if before.get(placed, blob) != blob:
            await self._let_go(before[placed])
        assert row is not None
        return Artifact(**row)

    async def list(self, run: Run) -> Sequence[Artifact]:
        """The artifacts of a run, by path."""
        rows = await self._db.rows(_LIST, (run.number,))
        return [Artifact(**row) for row in rows]

    async def get(self, run: Run, path: str) -> Artifact:
        """One artifact.

        Raises:
            NotFound: there is none at this path.
        """
        row = await self._db.row(_GET, (run.number, words.stored(path)))
        if row is None:
            raise NotFound(f"{run.id} has no artifact {path[:80]!r}", param="path")
        return Artifact(**row)

    async def open(self, artifact: Artifact) -> BinaryIO:
        """The bytes of an artifact, verified.

        Raises:
            NotFound: they are not in this data folder.
        """
        try:
            return await asyncio.to_thread(self._blobs.open, artifact.blob)
        except NotFound:
            raise NotFound(f"the content of {artifact.path[:80]!r} is not in this data folder", param="path") from None

    async def remove(self, run: Run, path: str) -> None:
        """Forget an artifact, and its bytes when no other has the same.

        Raises:
            NotFound: there is none at this path.
        """
        artifact = await self.get(run, path)
        await self._db.run("delete from run_artifacts where run = %s and path = %s", (run.number, artifact.path))
        await self._let_go(artifact.blob)

    async def collect(self) -> int:
        """Remove stored bytes that no run has, a day after they came: of uploads that broke off. How many."""
        kept = {str(row["blob"]) for row in await self._db.rows("select distinct blob from run_artifacts")}
        return len(await asyncio.to_thread(self._blobs.collect, kept))

    async def _let_go(self, blob: str) -> None:
        async with self._db.transaction() as connection:
            await _lock(connection, blob)
            cursor = await connection.execute(b"select 1 from run_artifacts where blob = %s limit 1", (blob,))
            if await cursor.fetchone() is None:
                self._blobs.delete(blob)


async def _write(writing: Writing, source: bytes | AsyncIterable[bytes]) -> None:
    if isinstance(source, bytes):
        await asyncio.to_thread(writing.write, source)
        return
    async for piece in source:
        await asyncio.to_thread(writing.write, piece)
        if writing.size > LARGEST:
            raise TooLarge(f"an artifact has at most {LARGEST:,} bytes")


async def _lock(connection: Connection, what: str) -> None:
    await connection.execute(b"select pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"artifact {what}",))
