"""The datasets of all projects: made, imported into, read in order. A dataset of another project is not there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Final

import psycopg
from psycopg.types.json import Jsonb

from loopwright.core.errors import BadRequest, Conflict, NotFound
from loopwright.datasets.columns import Taking
from loopwright.datasets.dataset import Dataset, DatasetVersion, Shares, check_name, parted
from loopwright.datasets.draft import Checking, Draft, Problem
from loopwright.datasets.example import Example, Split
from loopwright.datasets.formats import Format, rows
from loopwright.datasets.intake import Batch, Import, Intake, Mode, Told
from loopwright.datasets.rows import dataset_of, example_of, version_of
from loopwright.kit.db import Connection, Database
from loopwright.kit.nearest import hint
from loopwright.kit.schema import Schema, schema
from loopwright.kit.seal import PLAIN, Seal

_BATCH: Final = 500
_PAGE: Final = 500
_CREATE: Final = """
    insert into datasets (project_id, name, description, shares, input_schema, output_schema)
    values (%s, %s, %s, %s, %s, %s) returning *
"""
_VERSIONS: Final = """
    select v.*, d.name, d.project_id from dataset_versions v join datasets d on d.id = v.dataset_id
"""
_EXAMPLES: Final = """
    select position, id, sha, content, split, tags, slices, origin, call_id, kin from dataset_examples
    where dataset_id = %(dataset)s and added <= %(number)s and (removed is null or removed > %(number)s)
    and position > %(after)s
    and (%(split)s::text is null or split = %(split)s)
    and (%(tag)s::text is null or tags @> array[%(tag)s::text])
    and (%(slice)s::jsonb is null or slices @> %(slice)s::jsonb)
    and (%(origin)s::text is null or origin = %(origin)s)
    order by position limit %(limit)s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Which examples of a version; all of them without a word."""

    split: Split | None = None
    tag: str | None = None
    slice: tuple[str, str] | None = None
    """Name and value."""
    origin: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some examples, in order."""

    examples: tuple[Example, ...]
    next: int | None
    """Where the next page begins; None at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file of rows, and what is done with them."""

    file: BinaryIO
    format: Format
    source: str
    """Its name."""
    taking: Taking
    mixed: bool = False
    """Let a column hold texts in some rows and numbers in others."""


class Datasets:
    """Every method raises `Unavailable` while the database cannot answer."""

    def __init__(self, db: Database, *, seal: Seal = PLAIN, most: int = 2_000_000) -> None:
        """Datasets in `db`; a version has at most `most` examples."""
        self._db = db
        self._seal = seal
        self._most = most

    # ---- datasets ----

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

    async def list(self, project_id: int | None = None, *, after: str = "", limit: int = 200) -> Sequence[Dataset]:
        """Datasets by name, of one project or of all; `after` is the name of the last one seen."""
        rows = await self._db.rows(
            "select * from datasets where (%s::int is null or project_id = %s) and name > %s order by name, project_id limit %s",
            (project_id, project_id, _plain(after), limit),
        )
        latest = await self._latest([row["id"] for row in rows])
        return [dataset_of(row, latest.get(row["id"])) for row in rows]

    async def names(self, project_id: int) -> Sequence[str]:
        """The names of a project's datasets."""
        rows = await self._db.rows("select name from datasets where project_id = %s order by name", (project_id,))
        return [row["name"] for row in rows]

    async def get(self, project_id: int, name: str) -> Dataset:
        """One dataset.

        Raises:
            NotFound: the project has none of this name; the message names the nearest.
        """
        row = await self._db.row(
            "select * from datasets where project_id = %s and name = %s", (project_id, _plain(name))
        )
        if row is None:
            raise NotFound(
                f"there is no dataset {name[:100]!r}{hint(name[:100], await self.names(project_id))}", param="dataset"
            )
        return dataset_of(row, (await self._latest([row["id"]])).get(row["id"]))

    async def delete(self, project_id: int, name: str) -> None:
        """Remove a dataset with all its versions, for ever.

        Raises:
            NotFound: as `get`.
        """
        dataset = await self.get(project_id, name)
        await self._db.run("delete from datasets where id = %s", (dataset.id,))

    async def _latest(self, ids: Sequence[int]) -> dict[int, DatasetVersion]:
        rows = await self._db.rows(
            f"select distinct on (dataset_id) * from ({_VERSIONS}) v where dataset_id = any(%s)"  # noqa: S608 - our own words
            " order by dataset_id, number desc",
            (list(ids),),
        )
        return {row["dataset_id"]: version_of(row) for row in rows}

    # ---- versions ----

    async def version(self, project_id: int, name: str, ref: str = "latest") -> DatasetVersion:
        """One version: by its number, or `latest`. `name` may carry it: `NAME@3`.

        Raises:
            NotFound: there is no such dataset, or no such version of it.
        """
        if "@" in name:
            name, ref = parted(name)
        dataset = await self.get(project_id, name)
        if ref == "latest" and dataset.latest is not None:
            return dataset.latest
        number = int(ref) if ref.isascii() and ref.isdigit() and len(ref) < 9 else 0
        row = await self._db.row(f"{_VERSIONS} where dataset_id = %s and number = %s", (dataset.id, number))
        if row is None:
            last = "nothing is in it yet" if dataset.latest is None else f"the latest is {dataset.latest.number}"
            raise NotFound(f"there is no version {ref[:40]!r} of dataset {name!r}: {last}", param="version")
        return version_of(row)

    async def versions(self, project_id: int, name: str) -> Sequence[DatasetVersion]:
        """Every version of a dataset, newest first.

        Raises:
            NotFound: as `get`.
        """
        dataset = await self.get(project_id, name)
        rows = await self._db.rows(f"{_VERSIONS} where dataset_id = %s order by number desc limit 1000", (dataset.id,))
        return [version_of(row) for row in rows]

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
        source = _batches(_drafts(upload))

        async def batches() -> AsyncIterator[Batch]:
            while batch := await asyncio.to_thread(next, source, None):
                yield batch

        about = self._about(upload.source, author, note, mode, schemas, mixed=upload.mixed)
        return await self.add(project_id, name, batches(), about, told=told)

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

        async def batches() -> AsyncIterator[Batch]:
            batch: list[Draft | Problem] = []
            at = 0
            async for example in _each(examples):
                at += 1
                batch.append(_draft(at, example))
                if len(batch) == _BATCH:
                    yield batch
                    batch = []
            yield batch

        about = self._about(source, author, note, mode, schemas, mixed=mixed)
        return await self.add(project_id, name, batches(), about, told=told)

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
            async with self._db.transaction() as connection:
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
            source=_plain(source) or "unnamed",
            author=_plain(author),
            note=_plain(note, 2_000),
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
            f"{_VERSIONS} where dataset_id = %s order by number desc limit 1".encode(), (row["id"],)
        )
        last = await cursor.fetchone()
        return dataset_of(row, None if last is None else version_of(last))

    # ---- out ----

    async def page(self, version: DatasetVersion, which: Which, *, after: int = 0, limit: int = 50) -> Page:
        """Some examples of a version, in order; `after` is the `next` of the page before.

        Raises:
            Sealed: they are sealed with a key that is not here.
        """
        found = await self._db.rows(
            _EXAMPLES,
            {
                "dataset": version.dataset_id,
                "number": version.number,
                "after": after,
                "split": which.split,
                "tag": which.tag,
                "slice": None if which.slice is None else Jsonb(dict([which.slice])),
                "origin": which.origin,
                "limit": limit + 1,
            },
        )
        more = len(found) > limit
        kept = found[:limit]
        examples = await asyncio.to_thread(lambda: tuple(example_of(row, self._seal) for row in kept))
        return Page(examples=examples, next=kept[-1]["position"] if more else None)

    async def examples(
        self,
        version: DatasetVersion,
        *,
        split: Split | None = None,
        tag: str | None = None,
        slice: tuple[str, str] | None = None,  # noqa: A002 - the word of the field
    ) -> AsyncIterator[Example]:
        """Every example of a version, or of a part of it, always in the same order; holds a page at a time.

        Raises:
            Sealed: as `page`.
        """
        after: int | None = 0
        which = Which(split=split, tag=tag, slice=slice)
        while after is not None:
            page = await self.page(version, which, after=after, limit=_PAGE)
            for example in page.examples:
                yield example
            after = page.next

    async def example(self, version: DatasetVersion, example_id: str) -> Example:
        """One example of a version.

        Raises:
            NotFound: it is not in it.
        """
        row = await self._db.row(
            "select * from dataset_examples where dataset_id = %s and id = %s and added <= %s"
            " and (removed is null or removed > %s)",
            (version.dataset_id, _plain(example_id), version.number, version.number),
        )
        if row is None:
            raise NotFound(f"there is no example {example_id[:80]!r} in {version.ref}", param="example")
        return example_of(row, self._seal)

    async def groups(self, version: DatasetVersion) -> tuple[int, int]:
        """How many groups of near-duplicates its examples make, and how many examples the largest has."""
        row = await self._db.row(
            "select count(*) as groups, coalesce(max(size), 0) as largest from (select count(*) as size"
            " from dataset_examples where dataset_id = %s and added <= %s and (removed is null or removed > %s)"
            " group by kin) g",
            (version.dataset_id, version.number, version.number),
        )
        assert row is not None
        return row["groups"], row["largest"]


def _drafts(upload: Upload) -> Iterator[Draft | Problem]:
    for row in rows(upload.file, upload.format):
        if isinstance(row, Problem):
            yield row
            continue
        number, said = row
        try:
            yield _draft(number, upload.taking.example(said))
        except BadRequest as error:
            yield Problem(number, error.message)


def _draft(row: int, example: Example) -> Draft:
    seed = example.metadata.get("seed") if example.origin == "synthetic" else None
    return Draft(row=row, example=example, seed=seed if isinstance(seed, str) else None)


def _batches(drafts: Iterator[Draft | Problem]) -> Iterator[Batch]:
    batch: list[Draft | Problem] = []
    for draft in drafts:
        batch.append(draft)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


async def _each(examples: Iterable[Example] | AsyncIterator[Example]) -> AsyncIterator[Example]:
    if isinstance(examples, AsyncIterator):
        async for example in examples:
            yield example
    else:
        for example in examples:
            yield example


def _schema(document: Mapping[str, Any] | None, where: str) -> Schema | None:
    return None if document is None else schema(document, where)


def _silent(_what: str, _done: int, _of: int | None) -> None:
    pass


def _plain(text: str, longest: int = 200) -> str:
    """PostgreSQL's text has no NUL."""
    return text.replace("\x00", "")[:longest]
