"""What there is of datasets: by name, their versions, the examples of one in order. A dataset of another project is not there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from psycopg.types.json import Jsonb

from loopwright.core.errors import BadRequest, NotFound
from loopwright.datasets.dataset import Dataset, DatasetVersion, parted
from loopwright.datasets.example import Example, Split
from loopwright.datasets.rows import dataset_of, example_of, version_of
from loopwright.kit.db import Database, plain
from loopwright.kit.nearest import hint
from loopwright.kit.seal import PLAIN, Seal

_PAGE: Final = 500
_SLICE: Final = 300
"""Characters of a slice as it is named."""
VERSIONS: Final = """
    select v.*, d.name, d.project_id from dataset_versions v join datasets d on d.id = v.dataset_id
"""
"""Every version, as `rows.version_of` reads it."""
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


def slice_of(text: str | None) -> tuple[str, str] | None:
    """Name and value of a slice as a query names it: `name:value`.

    Raises:
        BadRequest: it is not written so.
    """
    if text is None:
        return None
    name, colon, value = text.partition(":")
    if not (colon and name) or "\x00" in text or len(text) > _SLICE:
        raise BadRequest(f"slice: {text[:60]!r} is not of the form name:value", param="slice")
    return name, value


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some examples, in order."""

    examples: tuple[Example, ...]
    next: int | None
    """Where the next page begins; None at the end."""


class Reading:
    """Every method raises `Unavailable` while the database cannot answer."""

    def __init__(self, db: Database, *, seal: Seal = PLAIN) -> None:
        """Datasets in `db`."""
        self._db = db
        self._seal = seal

    async def list(self, project_id: int | None = None, *, after: str = "", limit: int = 200) -> Sequence[Dataset]:
        """Datasets by name, of one project or of all; `after` is the name of the last one seen."""
        rows = await self._db.rows(
            "select * from datasets where (%s::int is null or project_id = %s) and name > %s order by name, project_id limit %s",
            (project_id, project_id, plain(after), limit),
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
            "select * from datasets where project_id = %s and name = %s", (project_id, plain(name))
        )
        if row is None:
            raise NotFound(
                f"there is no dataset {name[:100]!r}{hint(name[:100], await self.names(project_id))}", param="dataset"
            )
        return dataset_of(row, (await self._latest([row["id"]])).get(row["id"]))

    async def _latest(self, ids: Sequence[int]) -> dict[int, DatasetVersion]:
        rows = await self._db.rows(
            f"select distinct on (dataset_id) * from ({VERSIONS}) v where dataset_id = any(%s)"  # noqa: S608 - our own words
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
        row = await self._db.row(f"{VERSIONS} where dataset_id = %s and number = %s", (dataset.id, number))
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
        rows = await self._db.rows(f"{VERSIONS} where dataset_id = %s order by number desc limit 1000", (dataset.id,))
        return [version_of(row) for row in rows]

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
            (version.dataset_id, plain(example_id), version.number, version.number),
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
