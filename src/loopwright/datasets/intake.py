"""One import: batches of examples are copied beside the dataset, then placed and made its next version, or nothing is.

All in one transaction. What this process holds at a time is one batch of rows, and of all examples 128 bytes each.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from psycopg.types.json import Jsonb

from loopwright.core.errors import BadRequest, TooLarge
from loopwright.datasets.dataset import Changes, Dataset, DatasetVersion
from loopwright.datasets.draft import Checking, Draft, Problem, Problems
from loopwright.datasets.likeness import VALUES, Hashes, Signatures, common, signature
from loopwright.datasets.rows import STAGED, Read, about_boilerplate, example_of, identified, read, staged, version_of
from loopwright.datasets.sides import Placed, Rows, code_of, place, split_of
from loopwright.kit.db import Connection
from loopwright.kit.seal import Seal

Mode = Literal["append", "replace"]
Batch = Sequence[Draft | Problem]
Told = Callable[[str, int, int | None], None]
"""Hears what is being done, how many rows or examples are done, and of how many if that is known."""

_STAGE: Final = b"""
create temp table staged (
    row bigint, id text, named boolean, sha bytea, content bytea, sealed_by text, key bigint, signature bytea,
    split text, tags text[], slices jsonb, origin text, call_id uuid, seed text, kin bigint
) on commit drop
"""
_IDS: Final = ("row", "id", "named")
_TWICE: Final = b"""
select id, array_agg(row order by row) as rows, count(*) over () as ids from staged
group by id having count(*) > 1 and bool_or(named) order by min(row) limit 20
"""
_REPEATED: Final = b"""
delete from staged s using (select id, min(row) as first from staged group by id having count(*) > 1) f
where s.id = f.id and s.row > f.first
"""
_UNCHANGED: Final = b"""
delete from staged s using dataset_examples e
where e.dataset_id = %s and e.removed is null and e.id = s.id and e.sha = s.sha
"""
_GONE: Final = b"""
update dataset_examples set removed = %(number)s where dataset_id = %(dataset)s and removed is null
and not exists (select 1 from kept k where k.id = dataset_examples.id)
"""
_REPLACED: Final = b"""
update dataset_examples e set removed = %(number)s from staged s
where e.dataset_id = %(dataset)s and e.removed is null and e.id = s.id
"""
_ADDED: Final = b"""
insert into dataset_examples
    (dataset_id, id, added, sha, content, sealed_by, key, signature, kin, split, tags, slices, origin, call_id)
select %(dataset)s, id, %(number)s, sha, content, sealed_by, key, signature, kin, split, tags, slices, origin, call_id
from staged order by row
"""
_SPLITS: Final = b"""
select coalesce(split, '') as split, count(*) as examples from dataset_examples
where dataset_id = %s and removed is null group by 1
"""
_TAGS: Final = b"""
select tag, count(*) as examples from dataset_examples, unnest(tags) as tag
where dataset_id = %s and removed is null group by tag order by 2 desc, 1 limit 50
"""
_SLICES: Final = b"""
select name, value, count(*) as examples from dataset_examples, jsonb_each_text(slices) as s(name, value)
where dataset_id = %s and removed is null group by name, value order by 3 desc, 1, 2 limit 200
"""
_VERSION: Final = b"""
insert into dataset_versions
    (dataset_id, number, sha, examples, splits, slices, tags, source, author, note, changes)
values (%(dataset)s, %(number)s, %(sha)s, %(examples)s, %(splits)s, %(slices)s, %(tags)s, %(source)s, %(author)s,
    %(note)s, %(changes)s)
returning *, %(name)s as name, %(project)s::integer as project_id
"""
_OLD: Final = b"""
select position as at, key, kin, signature, split from dataset_examples where dataset_id = %s order by position
"""
_NEW: Final = b"select row as at, key, 0 as kin, signature, split from staged order by row"
_TIED: Final = b"""
select s.row, max(e.position) as position, min(o.row) as seed
from staged s
left join dataset_examples e on e.dataset_id = %s and (e.id = s.id or e.id = s.seed)
left join staged o on o.id = s.seed and o.row <> s.row
group by s.row, e.id having max(e.position) is not null or min(o.row) is not null
"""
_PAGE: Final = 20_000

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """What one import is, beside its rows."""

    source: str
    """The name of a file, or what it was made from."""
    author: str
    note: str = ""
    mode: Mode = "append"
    """`replace`: examples that do not come again are not in the new version."""
    checking: Checking
    most: int
    """Examples a version may have."""


class Intake:
    """One import on its way, within the transaction of the caller, who holds the lock on the dataset."""

    def __init__(self, connection: Connection, dataset: Dataset, about: Import, seal: Seal, told: Told) -> None:
        self._connection = connection
        self._dataset = dataset
        self._about = about
        self._seal = seal
        self._told = told
        self._problems = Problems()
        self._boilerplate: Hashes | None = None
        self._known = False
        """Whether what is boilerplate is decided for this import."""
        self._rows = 0

    async def run(self, batches: AsyncIterator[Batch]) -> DatasetVersion:
        """The next version of the dataset; the present one when nothing changes.

        Raises:
            BadRequest: rows are wrong; names the first of them, and nothing is stored.
            TooLarge: the version would have more examples than it may.
        """
        await self._connection.execute(_STAGE)
        async for batch in batches:
            await self._take(batch)
        await self._check_ids()
        if not self._rows and self._about.mode == "append":
            raise BadRequest(f"{self._about.source}: there is no example in it", param="file")
        return await self._version()

    # ---- rows in ----

    async def _take(self, batch: Batch) -> None:
        """Check a batch, and copy it unless something is wrong already."""
        good: list[Draft] = []
        for one in batch:
            if isinstance(one, Problem):
                self._problems.add(one)
                continue
            found = self._about.checking.problems(one)
            if found:
                self._problems.add(Problem(one.row, "; ".join(found[:3])))
            else:
                good.append(one)
        self._rows += len(batch)
        if self._rows > self._about.most:
            raise TooLarge(f"{self._about.source}: more than {self._about.most:,} examples (datasets.examples)")
        if not good:
            return
        if self._problems.count:
            # Nothing of it will be stored; what is still looked for is ids that come twice.
            await self._copy(_IDS, [(one.row, identified(one.example), bool(one.example.id)) for one in good])
            return
        reads = await asyncio.to_thread(lambda: [read(draft) for draft in good])
        if not self._known:
            await self._decide(reads)
        rows = await asyncio.to_thread(
            lambda: [staged(each, signature(each.pieces, self._boilerplate), self._seal) for each in reads]
        )
        await self._copy(STAGED, rows)
        self._told("reading", self._rows, None)

    async def _copy(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        async with (
            self._connection.cursor() as cursor,
            cursor.copy(f"copy staged ({', '.join(columns)}) from stdin".encode()) as copy,
        ):
            for row in rows:
                await copy.write_row(row)

    async def _decide(self, reads: Sequence[Read]) -> None:
        """What counts as boilerplate: as decided by an earlier import, or by the examples that are there and these."""
        self._known = True
        row = await self._one("select boilerplate from datasets where id = %s", (self._dataset.id,))
        about = about_boilerplate(self._dataset.id)
        if row["boilerplate"] is not None:
            self._boilerplate = np.frombuffer(self._seal.open(bytes(row["boilerplate"]), about), np.uint32)
            return
        # While nothing is decided the dataset is small: all of it ever was fewer than the sample takes.
        rows = await self._all(
            "select * from dataset_examples where dataset_id = %s order by position", (self._dataset.id,)
        )
        former = [read(Draft(row=0, example=example_of(row, self._seal))) for row in rows]
        self._boilerplate = await asyncio.to_thread(common, [each.pieces for each in (*former, *reads)])
        if self._boilerplate is None:
            return
        await self._connection.execute(
            b"update datasets set boilerplate = %s where id = %s",
            (self._seal.seal(self._boilerplate.tobytes(), about), self._dataset.id),
        )
        for row, each in zip(rows, former, strict=True):
            await self._connection.execute(
                b"update dataset_examples set signature = %s where dataset_id = %s and position = %s",
                (signature(each.pieces, self._boilerplate), self._dataset.id, row["position"]),
            )

    async def _check_ids(self) -> None:
        rows = await self._all(_TWICE.decode(), ())
        wrong = self._problems.count
        for row in rows:
            first, second = row["rows"][:2]
            self._problems.add(Problem(second, f"id {row['id'][:80]!r} is there already, in row {first}"))
        if rows:
            self._problems.count = wrong + rows[0]["ids"]
        self._problems.check(self._about.source)

    # ---- the version ----

    async def _version(self) -> DatasetVersion:
        dataset, latest = self._dataset, self._dataset.latest
        number = 1 if latest is None else latest.number + 1
        told = {"dataset": dataset.id, "number": number}
        repeated = (await self._connection.execute(_REPEATED)).rowcount
        if self._about.mode == "replace":
            await self._connection.execute(b"create temp table kept on commit drop as select id from staged")
        unchanged = (await self._connection.execute(_UNCHANGED, (dataset.id,))).rowcount
        # Before any of them goes: the new content of an example stays on the side of the one before.
        held_back = await self._place()
        removed = (await self._connection.execute(_GONE, told)).rowcount if self._about.mode == "replace" else 0
        replaced = (await self._connection.execute(_REPLACED, told)).rowcount
        added = (await self._connection.execute(_ADDED, told)).rowcount
        if latest is not None and not added and not removed:
            return latest
        changes = Changes(
            added=added - replaced,
            replaced=replaced,
            removed=removed,
            unchanged=unchanged,
            repeated=repeated,
            held_back=held_back,
        )
        return await self._written(number, changes)

    async def _place(self) -> int:
        """Give every staged example its side; how many are on none."""
        self._told("comparing", 0, None)
        rows, lines = await self._compared()
        placed = await asyncio.to_thread(place, rows, self._dataset.shares)
        await self._connection.execute(b"create temp table placed (row bigint, split text, kin bigint) on commit drop")
        async with (
            self._connection.cursor() as cursor,
            cursor.copy(b"copy placed (row, split, kin) from stdin") as copy,
        ):
            for line in _lines(lines, placed):
                await copy.write_row(line)
        await self._connection.execute(
            b"update staged s set split = p.split, kin = p.kin from placed p where p.row = s.row"
        )
        return placed.held_back

    async def _compared(self) -> tuple[Rows, Numbers]:
        """All that was ever in the dataset and all that is new, as far as sides go; and the rows of the new."""
        this = (self._dataset.id,)
        old = await self._gathered(_OLD, this)
        new = await self._gathered(_NEW, ())
        tied: list[tuple[int, int]] = []
        for row in await self._all(_TIED.decode(), this):
            at = len(old.at) + int(np.searchsorted(new.at, row["row"]))
            if row["position"] is not None:
                tied.append((int(np.searchsorted(old.at, row["position"])), at))
            if row["seed"] is not None:
                tied.append((len(old.at) + int(np.searchsorted(new.at, row["seed"])), at))
        rows = Rows(
            keys=np.concatenate([old.keys, new.keys]),
            signatures=np.concatenate([old.signatures, new.signatures]),
            codes=np.concatenate([old.codes, new.codes]),
            kin=np.concatenate([old.kin, new.kin]),
            old=len(old.at),
            tied=np.array(tied, np.int64).reshape(-1, 2),
        )
        return rows, new.at

    async def _gathered(self, sql: bytes, params: Sequence[object]) -> _Gathered:
        numbers, codes, signatures = array("q"), bytearray(), bytearray()
        async with self._connection.cursor(name="gathered") as cursor:
            await cursor.execute(sql, params or None)
            while some := await cursor.fetchmany(_PAGE):
                for row in some:
                    numbers.extend((row["at"], row["key"], row["kin"]))
                    codes.append(code_of(row["split"]))
                    signatures += row["signature"]
        at, keys, kin = np.frombuffer(numbers, np.int64).reshape(-1, 3).T.copy()
        return _Gathered(
            at=at,
            keys=keys,
            kin=kin,
            codes=np.frombuffer(codes, np.uint8),
            signatures=np.frombuffer(signatures, np.uint8).reshape(-1, VALUES),
        )

    async def _written(self, number: int, changes: Changes) -> DatasetVersion:
        """The row of the version, with what can be counted of it."""
        whole = sha256()
        async with self._connection.cursor(name="written") as cursor:
            await cursor.execute(
                b"select sha, split from dataset_examples where dataset_id = %s and removed is null order by position",
                (self._dataset.id,),
            )
            count = 0
            while some := await cursor.fetchmany(_PAGE):
                count += len(some)
                for row in some:
                    whole.update(bytes(row["sha"]) + code_of(row["split"]).to_bytes())
        if count > self._about.most:
            raise TooLarge(
                f"{self._dataset.name} would have {count:,} examples, and may have {self._about.most:,} (datasets.examples)"
            )
        this = (self._dataset.id,)
        slices: dict[str, dict[str, int]] = {}
        for row in await self._all(_SLICES.decode(), this):
            slices.setdefault(row["name"], {})[row["value"]] = row["examples"]
        row = await self._one(
            _VERSION.decode(),
            {
                "dataset": self._dataset.id,
                "number": number,
                "sha": whole.hexdigest(),
                "examples": count,
                "splits": Jsonb({row["split"]: row["examples"] for row in await self._all(_SPLITS.decode(), this)}),
                "slices": Jsonb(slices),
                "tags": Jsonb({row["tag"]: row["examples"] for row in await self._all(_TAGS.decode(), this)}),
                "source": self._about.source,
                "author": self._about.author,
                "note": self._about.note,
                "changes": Jsonb(changes.shown()),
                "name": self._dataset.name,
                "project": self._dataset.project_id,
            },
        )
        return version_of(row)

    async def _all(self, sql: str, params: Sequence[object] | Mapping[str, object]) -> list[dict[str, Any]]:
        return await (await self._connection.execute(sql.encode(), params or None)).fetchall()

    async def _one(self, sql: str, params: Sequence[object] | Mapping[str, object]) -> dict[str, Any]:
        [row] = await self._all(sql, params)
        return row


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gathered:
    """Examples as columns, as small as they can be held, in order."""

    at: Numbers
    keys: Numbers
    kin: Numbers
    codes: NDArray[np.uint8]
    signatures: Signatures


def _lines(rows: Numbers, placed: Placed) -> Iterator[tuple[int, str | None, int]]:
    for row, code, kin in zip(rows, placed.codes, placed.kin, strict=True):
        yield int(row), split_of(int(code)), int(kin)
