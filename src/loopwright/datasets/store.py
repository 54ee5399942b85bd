"""The datasets of all projects: made, imported into, taken away. Reading them is in `reading.py`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import psycopg
from psycopg.types.json import Jsonb

from loopwright.core.errors import BadRequest, Conflict, NotFound
from loopwright.datasets.batching import Upload, of_examples, of_file
from loopwright.datasets.dataset import Dataset, DatasetVersion, Shares, check_name
from loopwright.datasets.draft import Checking
from loopwright.datasets.example import Example
from loopwright.datasets.intake import Batch, Import, Intake, Mode, Told
from loopwright.datasets.reading import VERSIONS, Page, Reading, Which
from loopwright.datasets.rows import dataset_of, version_of
from loopwright.kit.db import Connection, Database, plain
from loopwright.kit.schema import Schema, schema
from loopwright.kit.seal import PLAIN, Seal

__all__ = ["Datasets", "Page", "Upload", "Which"]
_AT_ONCE: Final = 2
"""Imports of one process at once: each holds a connection of the pool to its end."""
_CREATE: Final = """
    insert into datasets (project_id, name, description, shares, input_schema, output_schema)
    values (%s, %s, %s, %s, %s, %s) returning *
"""


class Datasets(Reading):
    """Every method raises `Unavailable` while the database cannot answer."""

    def __init__(self, db: Database, *, seal: Seal = PLAIN, most: int = 2_000_000) -> None:
        """Datasets in `db`; a version has at most `most` examples."""
        super().__init__(db, seal=seal)
        self._most = most
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def create(
        self,
        project_id: int,
        name: str,
        *,
        description: str = "",
        shares: Shares | None = None,
        input_schema: Mapping[str, Any] | None = None,
        output_schema: Mapping[str, Any] | None = None,
    ) -> Dataset:
        """An empty dataset. Its schemas, if any, hold for every example that ever comes in; its shares are for ever.

        Raises:
            BadRequest: the name or a schema is not usable.
            Conflict: there is one of this name.
        """
        made = await self._made(project_id, name, description, shares, input_schema, output_schema)
        if made is None:
            raise Conflict(f"there is a dataset {name!r} already: import into it, or take another name", param="name")
        return made

    async def _made(
        self,
        project_id: int,
        name: str,
        description: str,
        shares: Shares | None,
        input_schema: Mapping[str, Any] | None,
        output_schema: Mapping[str, Any] | None,
    ) -> Dataset | None:
        check_name(name)
        for given, where in ((input_schema, "input_schema"), (output_schema, "output_schema")):
            if given is not None:
                schema(given, where)
        kept = [None if given is None else Jsonb(given) for given in (input_schema, output_schema)]
        told = (project_id, name, description[:2_000], Jsonb((shares or Shares()).shown()), *kept)
        try:
            row = await self._db.row(_CREATE, told)
        except psycopg.errors.UniqueViolation:
            return None
        assert row is not None
        return dataset_of(row)

    async def delete(self, project_id: int, name: str) -> None:
        """Remove a dataset with all its versions, for ever.

        Raises:
            NotFound: as `get`.
        """
        dataset = await self.get(project_id, name)
        await self._db.run("delete from datasets where id = %s", (dataset.id,))

    # ---- in ----

    async def import_(
        self,
        project_id: int,
        name: str,
        upload: Upload,
        *,
        author: str,
        note: str = "",
        mode: Mode = "append",
        schemas: tuple[Schema | None, Schema | None] = (None, None),
        told: Told | None = None,
    ) -> DatasetVersion:
        """Read a file into the next version of a dataset, which is made when there is none; all of it or nothing.

        Args:
            project_id: whose dataset.
            name: of the dataset.
            upload: the file; it stays the caller's.
            author: who does it.
            note: why.
            mode: `replace` makes a version of these examples alone; `append` adds to those that are there. One whose id
                is there takes its place.
            schemas: what inputs and references must keep, besides the dataset's own.
            told: hears how far it is.

        Raises:
            BadRequest: rows are wrong: the message names the first twenty, each with its number, and counts the rest.
            TooLarge: there are too many.
        """
        about = self._about(upload.source, author, note, mode, schemas, mixed=upload.mixed)
        return await self.add(project_id, name, of_file(upload), about, told=told)

    async def append(
        self,
        project_id: int,
        name: str,
        examples: Iterable[Example] | AsyncIterator[Example],
        *,
        author: str,
        source: str,
        note: str = "",
        mode: Mode = "append",
        schemas: tuple[Schema | None, Schema | None] = (None, None),
        mixed: bool = True,
        told: Told | None = None,
    ) -> DatasetVersion:
        """As `import_`, for examples that are there or come one by one."""
        about = self._about(source, author, note, mode, schemas, mixed=mixed)
        return await self.add(project_id, name, of_examples(examples), about, told=told)

    async def remove(
        self, project_id: int, name: str, ids: Sequence[str], *, author: str, note: str = ""
    ) -> DatasetVersion:
        """A version without some examples; those before keep them.

        Raises:
            NotFound: there is no such dataset.
            BadRequest: an id is not in its latest version.
        """
        version = await self.version(project_id, name)
        gone = set(ids)
        kept = [example async for example in self.examples(version) if example.id not in gone]
        if len(kept) + len(gone) != version.count:
            raise BadRequest(f"not every one of these ids is in {version.ref}", param="ids")
        source = f"{version.ref} without {len(gone)}"
        return await self.append(project_id, name, kept, author=author, source=source, note=note, mode="replace")

    async def add(
        self, project_id: int, name: str, batches: AsyncIterator[Batch], about: Import, *, told: Told | None = None
    ) -> DatasetVersion:
        """As `import_`, for batches of drafts."""
        # Made before, so that a dataset that is new does not keep others of its name waiting.
        fresh = await self._made(project_id, name, "", None, None, None)
        try:
            async with self._turns, self._db.transaction() as connection:
                dataset = await self._locked(connection, project_id, name)
                checking = replace(
                    about.checking,
                    inputs=about.checking.inputs or _schema(dataset.input_schema, "input_schema"),
                    expected=about.checking.expected or _schema(dataset.output_schema, "output_schema"),
                )
                about = replace(about, checking=checking)
                return await Intake(connection, dataset, about, self._seal, told or _silent).run(batches)
        except BaseException:
            if fresh is not None:
                await self._db.run(
                    "delete from datasets d where id = %s"
                    " and not exists (select 1 from dataset_versions v where v.dataset_id = d.id)",
                    (fresh.id,),
                )
            raise

    def _about(
        self,
        source: str,
        author: str,
        note: str,
        mode: Mode,
        schemas: tuple[Schema | None, Schema | None],
        *,
        mixed: bool,
    ) -> Import:
        checking = Checking(inputs=schemas[0], expected=schemas[1], mixed=mixed)
        return Import(
            source=plain(source) or "unnamed",
            author=plain(author),
            note=plain(note, 2_000),
            mode=mode,
            checking=checking,
            most=self._most,
        )

    async def _locked(self, connection: Connection, project_id: int, name: str) -> Dataset:
        cursor = await connection.execute(
            b"select * from datasets where project_id = %s and name = %s for update", (project_id, name)
        )
        row = await cursor.fetchone()
        if row is None:
            raise NotFound(f"there is no dataset {name!r} any more", param="dataset")
        cursor = await connection.execute(
            f"{VERSIONS} where dataset_id = %s order by number desc limit 1".encode(), (row["id"],)
        )
        last = await cursor.fetchone()
        return dataset_of(row, None if last is None else version_of(last))


def _schema(document: Mapping[str, Any] | None, where: str) -> Schema | None:
    return None if document is None else schema(document, where)


def _silent(_what: str, _done: int, _of: int | None) -> None:
    pass
