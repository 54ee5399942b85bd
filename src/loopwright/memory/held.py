"""What each process holds of memory, so that a call costs a product with a matrix and asks no database.

A change reaches every process by NOTIFY; a slow look at what the database has covers a lost connection and what expires.
Of a memory that is larger than the bound, the nearest come from pgvector.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from loopwright.core.errors import Unavailable
from loopwright.kit.seal import Seal
from loopwright.memory.choosing import Near, Vector
from loopwright.memory.entry import Entry, marks_of
from loopwright.memory.store import ACTIVE, CHANNEL, COLUMNS, Memory, entry_of, vector_text

_POLL: Final = 15.0
"""Seconds between looks at what the database has."""
_CHUNK: Final = 1_000
"""Entries that are read at once."""
_BESIDE: Final = 700
"""Bytes of an entry in memory beside its vector and its content, rather too many."""
_INDEXED: Final = 384
"""Dimensions that the database has an index for."""
_IDLE: Final = 600.0
"""Seconds unused after which a memory makes room for another."""
_WITH_VECTOR: Final = f"{COLUMNS}, vector_send(embedding) as sent"
_log = logging.getLogger(__name__)
Key = tuple[int, str]
"""Project and task."""


class Matrix:
    """Vectors of one embedder, one a row; rows of what left are filled with the last."""

    def __init__(self, dimensions: int) -> None:
        self._rows: npt.NDArray[np.float32] = np.zeros((64, dimensions), dtype=np.float32)
        self.ids: list[str] = []
        self._at: dict[str, int] = {}

    def put(self, entry_id: str, vector: Vector) -> None:
        """Add a vector, or change it."""
        if vector.shape[0] != self._rows.shape[1]:
            return  # the model behind the name has changed: it is embedded anew
        at = self._at.get(entry_id)
        if at is None:
            at = self._at[entry_id] = len(self.ids)
            self.ids.append(entry_id)
            if at >= len(self._rows):
                grown = np.zeros((2 * at, self._rows.shape[1]), dtype=np.float32)
                grown[:at] = self._rows
                self._rows = grown
        self._rows[at] = vector

    def drop(self, entry_id: str) -> None:
        """Take a vector out."""
        at = self._at.pop(entry_id, None)
        if at is None:
            return
        last = self.ids.pop()
        if last != entry_id:
            self._rows[at] = self._rows[len(self.ids)]
            self.ids[at] = last
            self._at[last] = at

    def nearest(self, vector: Vector, most: int) -> list[tuple[str, float, Vector]]:
        """Ids with cosine and vector, the nearest first."""
        count = len(self.ids)
        if not count or vector.shape[0] != self._rows.shape[1]:
            return []
        # Not `@`: BLAS would share this among threads, and waking them takes longer where cores are busy.
        scores = np.einsum("ij,j->i", self._rows[:count], vector)
        near = np.argpartition(scores, count - most)[count - most :] if count > most else np.arange(count)
        order = near[np.argsort(-scores[near])]
        return [(self.ids[at], float(scores[at]), self._rows[at].copy()) for at in order]


@dataclass(slots=True)
class Shelf:
    """One task's memory, held or (`far`) left in the database."""

    far: bool = False
    state: tuple[int, int] = (0, 0)
    """Count and checksum of what the database had when it was read."""
    used: float = 0.0
    entries: dict[str, Entry] = field(default_factory=dict)
    by_sha: dict[bytes, set[str]] = field(default_factory=dict)
    matrices: dict[str, Matrix] = field(default_factory=dict)
    size: int = 0
    """Bytes, about."""

    def put(self, entry: Entry, vector: Vector | None) -> None:
        """Add an entry, or change it."""
        self.drop(entry.id)
        self.entries[entry.id] = entry
        self.by_sha.setdefault(entry.sha, set()).add(entry.id)
        self.size += _BESIDE + len(entry.content)
        if vector is not None and entry.embedder is not None:
            self.matrices.setdefault(entry.embedder, Matrix(vector.shape[0])).put(entry.id, vector)
            self.size += 4 * vector.shape[0]

    def drop(self, entry_id: str) -> None:
        """Take an entry out."""
        entry = self.entries.pop(entry_id, None)
        if entry is None:
            return
        same = self.by_sha[entry.sha]
        same.discard(entry_id)
        if not same:
            del self.by_sha[entry.sha]
        self.size -= _BESIDE + len(entry.content)
        for matrix in self.matrices.values():
            before = len(matrix.ids)
            matrix.drop(entry_id)
            self.size -= 4 * matrix._rows.shape[1] * (before - len(matrix.ids))  # noqa: SLF001 - of this file


class Held:
    """The memories of all projects, as this process knows them."""

    def __init__(self, memory: Memory, *, most: int = 128_000_000) -> None:
        """At most about `most` bytes are held."""
        self._memory = memory
        self._most = most
        self._shelves: dict[Key, Shelf] = {}
        self._turn = asyncio.Lock()

    @property
    def seal(self) -> Seal:
        """Opens what they say."""
        return self._memory.seal

    def any(self, key: Key) -> bool:
        """Whether a task has a memory at all."""
        return key in self._shelves

    def count(self, key: Key) -> int:
        """Entries that are held of a task."""
        shelf = self._shelves.get(key)
        return 0 if shelf is None else len(shelf.entries)

    async def repeats(self, key: Key, inputs: Mapping[str, Any]) -> Sequence[Entry]:
        """Entries of the very same inputs.

        Raises:
            Unavailable: the memory is not held, and the database does not answer.
        """
        shelf = self._shelves.get(key)
        if shelf is None:
            return ()
        shelf.used = time.monotonic()
        wanted = marks_of(self._memory.seal, key, inputs)
        if not shelf.far:
            return [shelf.entries[each] for mark in wanted for each in shelf.by_sha.get(mark, ())]
        rows = await self._memory.db.rows(
            f"select {COLUMNS} from memory_entries where project_id = %s and task = %s and sha = any(%s) and {ACTIVE}",  # noqa: S608
            (*key, wanted),
        )
        return [entry_of(row) for row in rows]

    async def nearest(self, key: Key, embedder: str, vector: Sequence[float], most: int) -> list[Near]:
        """The entries most like a question, nearest first, at most `most`.

        Raises:
            Unavailable: the memory is not held, and the database does not answer.
        """
        shelf = self._shelves.get(key)
        if shelf is None:
            return []
        shelf.used = time.monotonic()
        if shelf.far:
            return await self._far(key, embedder, vector, most)
        matrix = shelf.matrices.get(embedder)
        if matrix is None:
            return []
        found = matrix.nearest(np.asarray(vector, dtype=np.float32), most)
        return [Near(entry=shelf.entries[each], similarity=score, vector=row) for each, score, row in found]

    async def load(self) -> None:
        """Look at all that the database has, and read what has changed.

        Raises:
            Unavailable: the database does not answer; what was known stays known.
        """
        async with self._turn:
            rows = await self._memory.db.rows(
                f"""select project_id, task, count(*)::int as entries, coalesce(sum(changed), 0)::bigint as sum,
                           sum(octet_length(content) + {_BESIDE} + 4 * coalesce(vector_dims(embedding), 0))::bigint as size
                    from memory_entries where {ACTIVE} group by 1, 2"""  # noqa: S608
            )
            there = {(row["project_id"], row["task"]): row for row in rows}
            for key in self._shelves.keys() - there.keys():
                del self._shelves[key]
            for key, row in there.items():
                state = (row["entries"], row["sum"])
                shelf = self._shelves.get(key)
                if shelf is None:
                    shelf = self._shelves[key] = Shelf(far=not self._fits(key, row["size"]), used=time.monotonic())
                    if shelf.far:
                        _log.warning("the memory of task %s of project %d is read from the database", key[1], key[0])
                elif shelf.far and self._fits(key, row["size"]):
                    shelf = self._shelves[key] = Shelf(used=shelf.used)
                if not shelf.far and shelf.state != state:
                    await self._refresh(key, shelf)
                    shelf.state = state
            self._shed()

    async def watch(self) -> None:
        """Keep them current until cancelled."""

        async def heard(payload: str) -> None:
            try:
                said = msgspec.json.decode(payload)
                key, ids = (int(said["project"]), str(said["task"])), said["ids"]
            except (msgspec.MsgspecError, KeyError, TypeError, ValueError):
                return
            if ids is None or key not in self._shelves:
                await self._reload()
            else:
                await self.take(key, ids)

        async with asyncio.TaskGroup() as group:
            group.create_task(self._memory.db.listen(CHANNEL, heard, reconnected=self._reload))
            group.create_task(self._poll())

    async def take(self, key: Key, ids: Sequence[str]) -> None:
        """Read some entries anew.

        Raises:
            Unavailable: the database does not answer.
        """
        async with self._turn:
            shelf = self._shelves.setdefault(key, Shelf(used=time.monotonic()))
            if not shelf.far:
                await self._read(key, shelf, ids)

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(_POLL)
            await self._reload()

    async def _reload(self) -> None:
        with suppress(Unavailable):
            await self.load()

    async def _refresh(self, key: Key, shelf: Shelf) -> None:
        rows = await self._memory.db.rows(
            f"select id::text, changed from memory_entries where project_id = %s and task = %s and {ACTIVE}",  # noqa: S608
            key,
        )
        there = {row["id"]: row["changed"] for row in rows}
        for gone in [each for each in shelf.entries if each not in there]:
            shelf.drop(gone)
        wanted = [
            each
            for each, changed in there.items()
            if (known := shelf.entries.get(each)) is None or known.changed != changed
        ]
        for begin in range(0, len(wanted), _CHUNK):
            await self._read(key, shelf, wanted[begin : begin + _CHUNK])

    async def _read(self, key: Key, shelf: Shelf, ids: Iterable[str]) -> None:
        ids = [*ids]
        rows = await self._memory.db.rows(
            f"select {_WITH_VECTOR} from memory_entries"  # noqa: S608
            f" where id = any(%s::uuid[]) and project_id = %s and task = %s and {ACTIVE}",
            (ids, *key),
        )
        found = {row["id"]: row for row in rows}
        for each in ids:
            row = found.get(each)
            if row is None:
                shelf.drop(each)
            else:
                shelf.put(entry_of(row), _vector(row["sent"]))

    def _fits(self, key: Key, size: int) -> bool:
        """Whether there is room for a memory, perhaps by leaving those in the database that nobody used for a while."""
        if size > self._most:
            return False
        others = {each: shelf for each, shelf in self._shelves.items() if each != key and not shelf.far}
        taken = sum(shelf.size for shelf in others.values())
        late = time.monotonic() - _IDLE
        for each, shelf in sorted(others.items(), key=lambda item: item[1].used):
            if taken + size <= self._most or shelf.used > late:
                break
            taken -= shelf.size
            self._shelves[each] = Shelf(far=True, used=shelf.used)
        return taken + size <= self._most

    def _shed(self) -> None:
        """Leave in the database what has grown beyond the bound, the least used first."""
        held = sorted(
            ((each, shelf) for each, shelf in self._shelves.items() if not shelf.far), key=lambda item: item[1].used
        )
        taken = sum(shelf.size for _, shelf in held)
        for each, shelf in held:
            if taken <= self._most:
                break
            taken -= shelf.size
            self._shelves[each] = Shelf(far=True, used=shelf.used)

    async def _far(self, key: Key, embedder: str, vector: Sequence[float], most: int) -> list[Near]:
        """From the database."""
        measured = "embedding" if len(vector) != _INDEXED else f"embedding::vector({_INDEXED})"
        sql = f"""
            select {_WITH_VECTOR} from memory_entries
            where project_id = %s and task = %s and embedder = %s and vector_dims(embedding) = {len(vector)} and {ACTIVE}
            order by {measured} <=> %s::vector limit %s
        """  # noqa: S608 - names and numbers of ours
        asked = np.asarray(vector, dtype=np.float32)
        async with self._memory.db.transaction() as connection:
            await connection.execute(b"set local hnsw.ef_search = 200")
            await connection.execute(b"set local hnsw.iterative_scan = relaxed_order")
            cursor = await connection.execute(sql.encode(), (*key, embedder, vector_text(vector), most))
            rows = await cursor.fetchall()
        near = []
        for row in rows:
            stored = _vector(row["sent"])
            if stored is not None:
                near.append(Near(entry=entry_of(row), similarity=float(stored @ asked), vector=stored))
        return sorted(near, key=lambda each: -each.similarity)


def _vector(sent: bytes | None) -> Vector | None:
    """What `vector_send` made: two 16-bit numbers, then floats, all big-endian."""
    return None if sent is None else np.frombuffer(bytes(sent), dtype=">f4", offset=4).astype(np.float32)
