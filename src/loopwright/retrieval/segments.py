"""Segments of a collection's lexical index: chunks that were indexed together, written, merged, and read by a search.

A segment's head says of each of its chunks: its id, its document, how many words it has. Heads never change.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import numpy as np
import zstandard
from numpy.typing import NDArray

from loopwright.kit.db import Connection
from loopwright.retrieval.postings import (
    MOST_CHUNKS,
    Numbers,
    Postings,
    bits_for,
    decompressed,
    joined,
    pack,
    planes,
    unpack,
    unplanes,
)

SMALL: Final = 4096
"""Chunks below which segments are merged as they come."""
MANY: Final = 24
"""Small segments that a collection may have."""
_GROWTH: Final = 3
"""A segment is merged with all smaller ones once these are together more than a third of it."""
_DEAD: Final = 8
"""A segment is written anew once an eighth of it is dead."""


K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of each chunk of a segment, by its number."""

    chunks: Numbers
    documents: Numbers
    lengths: Numbers
    """In words."""

    def __len__(self) -> int:
        return len(self.chunks)

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return 24 * len(self.chunks)

    def packed(self) -> bytes:
        """As it is stored."""
        columns = (
            planes(np.diff(self.chunks, prepend=0), "<i8"),
            planes(np.diff(self.documents, prepend=0), "<i8"),
            planes(self.lengths, "<u4"),
        )
        return zstandard.compress(b"".join(columns), 3)

    @classmethod
    def of(cls, stored: bytes) -> Head:
        """As it was.

        Raises:
            ValueError: it is damaged.
        """
        plain = decompressed(stored)
        count, left = divmod(len(plain), 20)
        if left:
            raise ValueError("a head of a segment is damaged: its length is wrong")
        return cls(
            np.cumsum(unplanes(plain[: 8 * count], "<i8")),
            np.cumsum(unplanes(plain[8 * count : 16 * count], "<i8")),
            unplanes(plain[16 * count :], "<u4"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One, as its row says."""

    id: int
    chunks: int
    bits: int
    language: str
    hashed_by: str | None
    dead: Numbers
    """Documents of it that are no more."""

    @property
    def kind(self) -> tuple[str, str | None]:
        """Only segments of one kind can be merged: their words are the same numbers."""
        return self.language, self.hashed_by


class Kept(Generic[K, V]):
    """Values by key, the latest used ones, as many as fit into some bytes. For one thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """What is kept; None when it is not."""
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[0]

    def keep(self, key: K, value: V, size: int) -> None:
        """Keep it for a while."""
        self._size += size - (self._kept[key][1] if key in self._kept else 0)
        self._kept[key] = (value, size)
        self._kept.move_to_end(key)
        while self._size > self._most and len(self._kept) > 1:
            _, (_, gone) = self._kept.popitem(last=False)
            self._size -= gone


async def segments_of(connection: Connection, collection_id: int) -> list[Segment]:
    """Those of a collection."""
    cursor = await connection.execute(
        b"select id, chunks, bits, language, hashed_by, dead from collection_segments"
        b" where collection_id = %s order by id",
        (collection_id,),
        binary=True,
    )
    return [segment_of_row(row) for row in await cursor.fetchall()]


async def segment_of(connection: Connection, segment_id: int) -> Segment | None:
    """One by its id; None when it is gone."""
    cursor = await connection.execute(
        b"select id, chunks, bits, language, hashed_by, dead from collection_segments where id = %s",
        (segment_id,),
        binary=True,
    )
    row = await cursor.fetchone()
    return None if row is None else segment_of_row(row)


async def discard(connection: Connection, segment: Segment) -> list[int]:
    """Take a segment away; its chunks that are still there."""
    cursor = await connection.execute(
        b"delete from collection_segments where id = %s returning head", (segment.id,), binary=True
    )
    row = await cursor.fetchone()
    assert row is not None
    head = Head.of(row["head"])
    return [int(chunk) for chunk in head.chunks[living(head, segment.dead)]]


async def write(
    connection: Connection, collection_id: int, kind: tuple[str, str | None], head: Head, postings: Postings
) -> None:
    """Store a segment."""
    bits = bits_for(len(postings))
    cursor = await connection.execute(
        b"insert into collection_segments (collection_id, chunks, bits, language, hashed_by, low, high, head)"
        b" values (%s, %s, %s, %s, %s, %s, %s, %s) returning id",
        (collection_id, len(head), bits, *kind, int(head.documents.min()), int(head.documents.max()), head.packed()),
    )
    made = await cursor.fetchone()
    assert made is not None
    async with cursor.copy(b"copy collection_postings (segment_id, bucket, body) from stdin (format binary)") as copy:
        copy.set_types(["int8", "int4", "bytea"])
        for bucket, body in pack(postings, bits):
            await copy.write_row((made["id"], bucket, body))


async def bury(connection: Connection, collection_id: int, document_ids: Iterable[int]) -> None:
    """Note that documents are no more."""
    gone = sorted(document_ids)
    await connection.execute(
        b"update collection_segments s set dead = s.dead || g.ids from (select id, (select string_agg(int8send(d), ''::bytea)"
        b" from unnest(%(gone)s::bigint[]) d where d between low and high) as ids from collection_segments"
        b" where collection_id = %(collection)s) g where g.id = s.id and g.ids is not null",
        {"gone": gone, "collection": collection_id},
    )


async def merge(connection: Connection, collection_id: int, segments: Sequence[Segment]) -> None:
    """Put one segment where several of one kind were, without what is dead. The collection is locked."""
    ids = [each.id for each in segments]
    cursor = await connection.execute(
        b"select id, head from collection_segments where id = any(%s)", (ids,), binary=True
    )
    heads = {row["id"]: Head.of(row["head"]) for row in await cursor.fetchall()}
    cursor = await connection.execute(
        b"select segment_id, body from collection_postings where segment_id = any(%s) order by segment_id, bucket",
        (ids,),
        binary=True,
    )
    bodies: dict[int, list[bytes]] = {}
    for row in await cursor.fetchall():
        bodies.setdefault(row["segment_id"], []).append(row["body"])
    kept: list[tuple[Head, Postings]] = []
    before = 0
    for each in segments:
        head, alive = heads[each.id], living(heads[each.id], each.dead)
        numbers = np.where(alive, np.cumsum(alive) - 1 + before, -1)
        before += int(alive.sum())
        left = Head(head.chunks[alive], head.documents[alive], head.lengths[alive])
        kept.append((left, unpack(bodies.get(each.id, [])).renumbered(numbers)))
    await connection.execute(b"delete from collection_segments where id = any(%s)", (ids,))
    if before:
        head = Head(
            np.concatenate([each.chunks for each, _ in kept]),
            np.concatenate([each.documents for each, _ in kept]),
            np.concatenate([each.lengths for each, _ in kept]),
        )
        await write(connection, collection_id, segments[0].kind, head, joined([each for _, each in kept]))


def living(head: Head, dead: Numbers) -> NDArray[np.bool_]:
    """Which chunks of a segment are of documents that are still there."""
    if not len(dead):
        return np.ones(len(head), dtype=np.bool_)
    return ~np.isin(head.documents, dead)


def due(segments: Sequence[Segment], *, small: bool) -> list[list[Segment]]:
    """What should be merged, each list into one.

    With `small`, only small ones, and only where they are many: between two documents there is no time for more.
    """
    kinds: dict[tuple[str, str | None], list[Segment]] = {}
    for each in segments:
        kinds.setdefault(each.kind, []).append(each)
    found = []
    for alike in kinds.values():
        if small:
            few = [each for each in alike if each.chunks < SMALL]
            found += [few] if len(few) > MANY else []
        else:
            found += _due(sorted(alike, key=lambda each: -each.chunks))
    return found


def _due(alike: Sequence[Segment]) -> list[list[Segment]]:
    """The longest tail whose first is not much larger than the rest; and what is dead in good part."""
    found: list[list[Segment]] = []
    ahead = list(alike)
    for at, each in enumerate(alike):
        rest = sum(other.chunks for other in alike[at + 1 :])
        if rest and rest * _GROWTH >= each.chunks and rest + each.chunks < MOST_CHUNKS:
            found.append(list(alike[at:]))
            ahead = list(alike[:at])
            break
    found += [[each] for each in ahead if len(each.dead) * _DEAD >= each.chunks]
    return found


def segment_of_row(row: Mapping[str, Any]) -> Segment:
    """A segment of its row."""
    return Segment(
        id=row["id"],
        chunks=row["chunks"],
        bits=row["bits"],
        language=row["language"],
        hashed_by=row["hashed_by"],
        dead=np.frombuffer(row["dead"], dtype=">i8").astype(np.int64),
    )
