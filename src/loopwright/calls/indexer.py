"""Fills full text behind the drain: takes queued calls in groups, and merges small groups into large ones."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any, Final, cast
from uuid import UUID

import numpy as np
import psycopg

from loopwright.calls.erase import GONE, LOCK
from loopwright.calls.groups import TIERS, clear_day, write_group
from loopwright.calls.payloads import Packer, Payload, about
from loopwright.calls.postings import Pairs, Row, bits_for, pack, pairs_of, unpack
from loopwright.calls.words import all_words_of, hash_of
from loopwright.core.errors import Sealed, Unavailable
from loopwright.kit.db import Connection, Database
from loopwright.kit.seal import PLAIN, Seal

_ALONE: Final = 0x776F7264
"""Of Postgres's advisory locks: one machine at a time fills full text."""
_LEAST: Final = 512
"""Calls queued for today that make up a group; fewer are searched by reading their texts."""
_MOST_LINES: Final = 8
"""Lines of the queue (each of up to 1,024 calls) that one group takes."""
_MOST_POSTINGS: Final = 2_000_000
_MOST_MERGED: Final = 8_000_000
"""Postings of a merged group: 64 MB while it is being made."""
_MERGED: Final = 8
_REMEMBERED: Final = 500_000
_READ: Final = 512
"""Calls whose texts are read at once when a group is made anew."""
_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 10.0
_LOOK: Final = 5.0
"""Seconds between looks at what other machines queued; what is stored here wakes it."""
_log = logging.getLogger(__name__)


class Indexer:
    """Fills full text. Any number may run; one at a time works."""

    def __init__(self, db: Database, *, hurried: Callable[[], bool] = lambda: False, seal: Seal = PLAIN) -> None:
        """While `hurried` says that calls pile up before the drain, full text takes half of the time.

        With keys in `seal` words are hashed under a secret of the first one.
        """
        self._db = db
        self._hurried = hurried
        self._packer = Packer(seal)
        self._blind = seal.first
        self._secret = None if seal.first is None else seal.blind(seal.first)
        self._hashes: dict[str, int] = {}
        self._more = asyncio.Event()
        self.indexed = 0
        """Calls put into full text since this process began."""

    def wake(self) -> None:
        """Take note that there may be calls to index."""
        self._more.set()

    async def run(self) -> None:
        """Index until cancelled; an outage of the database is waited out."""
        pause = _PAUSE
        while True:
            began = time.monotonic()
            try:
                busy = await self.once() + await self.merge_once()
                if not busy and self._blind is not None:
                    busy = await self.blind_once()
                pause = _PAUSE
            except Sealed as error:
                _log.error("full text is not being filled: %s", error)
                busy, pause = 0, min(pause * 2, _LONGEST_PAUSE)
            except Unavailable:
                busy, pause = 0, min(pause * 2, _LONGEST_PAUSE)
            except (psycopg.Error, ValueError):
                # Full text must not take the recorder along: it says so and tries again.
                _log.exception("full text is not being filled")
                busy, pause = 0, min(pause * 2, _LONGEST_PAUSE)
            if not busy:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._more.wait(), _LOOK)
                self._more.clear()
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  (spreads load)
            elif self._hurried():
                await asyncio.sleep(time.monotonic() - began)

    async def once(self, today: date | None = None) -> int:
        """Put queued calls of one day into a group; how many. 0 when too few wait, or another machine is at it.

        Raises:
            Unavailable: the database cannot answer now.
        """
        async with self._db.transaction() as connection:
            if not await _alone(connection):
                return 0
            await connection.execute("select pg_advisory_xact_lock_shared(%s)", (LOCK,))
            day = await _day_to_do(connection, today or datetime.now(UTC).date())
            if day is None:
                return 0
            cursor = await connection.execute(
                "select * from call_unindexed where day = %s order by batch limit %s", (day, _MOST_LINES)
            )
            members: list[bytes] = []
            words: list[set[int]] = []
            done: list[int] = []
            postings = 0
            async for line in cursor:
                ids, hashes = await self._read(connection, day, line)
                members += ids
                words += hashes
                postings += sum(map(len, hashes))
                done.append(line["batch"])
                if postings > _MOST_POSTINGS:
                    break
            ordered, pairs, rows, bits = await asyncio.to_thread(_build, members, words)
            await write_group(connection, day, ordered, pairs, rows, bits=bits, blind=self._blind)
            await connection.execute("delete from call_unindexed where batch = any(%s)", (done,))
        self.indexed += len(ordered)
        return len(ordered)

    async def merge_once(self) -> int:
        """Merge some small groups of one day and tier; how many calls they hold. 0 when there are too few.

        Raises:
            Unavailable: the database cannot answer now.
        """
        async with self._db.transaction() as connection:
            if not await _alone(connection):
                return 0
            await connection.execute("select pg_advisory_xact_lock_shared(%s)", (LOCK,))
            chosen = await _groups_to_merge(connection)
            if not chosen:
                return 0
            day, numbers = chosen[0]["day"], [row["group_id"] for row in chosen]
            ordered, pairs, rows, bits = await self._merged(connection, day, chosen)
            await write_group(connection, day, ordered, pairs, rows, bits=bits, blind=chosen[0]["blind"], old=numbers)
            return len(ordered)

    async def blind_once(self) -> int:
        """Make a group anew whose words are hashed otherwise than with the first key; how many calls it holds.

        Raises:
            Unavailable: the database cannot answer now.
            Sealed: the texts are sealed with a key that is not here.
        """
        async with self._db.transaction() as connection:
            if not await _alone(connection):
                return 0
            await connection.execute("select pg_advisory_xact_lock_shared(%s)", (LOCK,))
            cursor = await connection.execute(
                "select day, group_id, ids from call_groups where blind is distinct from %s order by day, calls limit 1",
                (self._blind,),
            )
            row = await cursor.fetchone()
            if row is None:
                return 0
            day, members = row["day"], [bytes(row["ids"])[at : at + 16] for at in range(0, len(row["ids"]), 16)]
            pieces: list[Pairs] = []
            for start in range(0, len(members), _READ):
                words = await self._words_of(connection, day, members[start : start + _READ])
                # A group may be large: numbers take 8 bytes a posting, sets many times that.
                pieces.append(pairs_of(words) + np.uint64(start))
            pairs, rows, bits = await asyncio.to_thread(_joined, pieces)
            await write_group(
                connection, day, members, pairs, rows, bits=bits, blind=self._blind, old=[row["group_id"]]
            )
            return len(members)

    async def _words_of(self, connection: Connection, day: date, members: list[bytes]) -> list[set[int]]:
        """Word hashes of some calls of a day."""
        cursor = await connection.execute(
            "select id, block, slot from calls where id = any(%s) and block is not null",
            ([UUID(bytes=member) for member in members],),
        )
        places = {row["id"].bytes: (row["block"], row["slot"]) for row in await cursor.fetchall()}
        cursor = await connection.execute(
            "select block, body from call_payloads where day = %s and block = any(%s)",
            (day, sorted({block for block, _ in places.values()})),
        )
        bodies = {row["block"]: bytes(row["body"]) for row in await cursor.fetchall()}

        def read() -> list[set[int]]:
            texts = {block: self._packer.unpack(body, about(day, block)) for block, body in bodies.items()}
            found: list[set[int]] = []
            for member in members:
                block, slot = places.get(member, (None, 0))
                payload = texts[block][slot] if block in texts and slot < len(texts[block]) else None
                found.append(set() if payload is None else self._hashed(all_words_of(payload)))
            return found

        return await asyncio.to_thread(read)

    async def merge_day(self, day: date) -> int:
        """Put the full text of a day that is over into one group; how many calls. 0 when it is large enough as it is.

        Raises:
            Unavailable: the database cannot answer now, or somebody reads the day for long.
        """
        async with self._db.transaction() as connection:
            if not await _alone(connection):
                return 0
            await connection.execute("select pg_advisory_xact_lock_shared(%s)", (LOCK,))
            cursor = await connection.execute(
                "select group_id, postings, ids, blind from call_groups where day = %s order by first_id", (day,)
            )
            chosen = await cursor.fetchall()
            if len(chosen) < 2 or sum(row["postings"] for row in chosen) > _MOST_MERGED:
                return 0
            if len({row["blind"] for row in chosen}) > 1:
                return 0  # hashed in more than one way: they cannot be one group before they are made anew
            ordered, pairs, rows, bits = await self._merged(connection, day, chosen)
            await clear_day(connection, day)
            await write_group(connection, day, ordered, pairs, rows, bits=bits, blind=chosen[0]["blind"])
            return len(ordered)

    async def _merged(
        self, connection: Connection, day: date, chosen: Sequence[dict[str, Any]]
    ) -> tuple[list[bytes], Pairs, list[Row], int]:
        cursor = await connection.execute(
            "select group_id, body from call_postings where day = %s and group_id = any(%s) order by group_id, bucket",
            (day, [row["group_id"] for row in chosen]),
        )
        bodies: dict[int, list[bytes]] = {row["group_id"]: [] for row in chosen}
        async for row in cursor:
            bodies[row["group_id"]].append(bytes(row["body"]))
        parts = [(bytes(row["ids"]), bodies[row["group_id"]]) for row in chosen]
        return await asyncio.to_thread(_merge, parts)

    async def _read(
        self, connection: Connection, day: date, line: dict[str, Any]
    ) -> tuple[list[bytes], list[set[int]]]:
        """Ids and word hashes of the calls of a line of the queue, without those deleted meanwhile."""
        cursor = await connection.execute(
            "select block, body from call_payloads where day = %s and block = any(%s)", (day, line["blocks"])
        )
        bodies = {row["block"]: bytes(row["body"]) for row in await cursor.fetchall()}
        return await asyncio.to_thread(self._words, line, bodies)

    def _words(self, line: dict[str, Any], bodies: dict[int, bytes]) -> tuple[list[bytes], list[set[int]]]:
        ids, members, hashes = bytes(line["ids"]), [], []
        offset = 0
        if len(self._hashes) > _REMEMBERED:
            self._hashes.clear()
        for block, size in zip(line["blocks"], line["sizes"], strict=True):
            payloads: Sequence[Payload | None] = (
                self._packer.unpack(bodies[block], about(line["day"], block)) if block in bodies else []
            )
            for slot in range(size):
                member = ids[offset : offset + 16]
                offset += 16
                payload = payloads[slot] if slot < len(payloads) else None
                if payload is not None and member != GONE:
                    members.append(member)
                    hashes.append(self._hashed(all_words_of(payload)))
        return members, hashes

    def _hashed(self, words: Collection[str]) -> set[int]:
        known = self._hashes
        numbers = set(map(known.get, words))
        if None in numbers:
            known |= {word: hash_of(word, self._secret) for word in set(words).difference(known)}
            numbers = set(map(known.get, words))
        return cast("set[int]", numbers)


async def _alone(connection: Connection) -> bool:
    cursor = await connection.execute("select pg_try_advisory_xact_lock(%s) as alone", (_ALONE,))
    row = await cursor.fetchone()
    return bool(row and row["alone"])


async def _day_to_do(connection: Connection, today: date) -> date | None:
    cursor = await connection.execute(
        """select day from call_unindexed group by day
           having day < %s or sum(length(ids)) >= %s order by day limit 1""",
        (today, 16 * _LEAST),
    )
    row = await cursor.fetchone()
    return None if row is None else row["day"]


async def _groups_to_merge(connection: Connection) -> list[dict[str, Any]]:
    """The oldest groups of a day and tier that has enough of them, up to what fits into memory.

    Only groups of at most half of that, so two always fit and no day holds up the others. What is left of a day that
    is over is for `merge_day`: merging it here would leave its table twice as large, half of it deleted rows.
    """
    half = _MOST_MERGED // 2
    cursor = await connection.execute(
        """select day, tier, blind from call_groups where tier < %s and postings <= %s
           group by day, tier, blind having count(*) >= %s limit 1""",
        (len(TIERS) - 1, half, _MERGED),
    )
    found = await cursor.fetchone()
    if found is None:
        return []
    cursor = await connection.execute(
        """select day, group_id, postings, ids, blind from call_groups
           where day = %s and tier = %s and postings <= %s and blind is not distinct from %s
           order by first_id limit %s""",
        (found["day"], found["tier"], half, found["blind"], _MERGED),
    )
    chosen: list[dict[str, Any]] = []
    total = 0
    for row in await cursor.fetchall():
        total += row["postings"]
        if total > _MOST_MERGED:
            break
        chosen.append(row)
    return chosen if len(chosen) > 1 else []


def _build(members: list[bytes], words: list[set[int]]) -> tuple[list[bytes], Pairs, list[Row], int]:
    order = sorted(range(len(members)), key=members.__getitem__)
    pairs = pairs_of([words[index] for index in order])
    bits = bits_for(len(pairs))
    return [members[index] for index in order], pairs, pack(pairs, bits), bits


def _joined(pieces: list[Pairs]) -> tuple[Pairs, list[Row], int]:
    pairs = np.concatenate(pieces)
    pairs.sort()
    bits = bits_for(len(pairs))
    return pairs, pack(pairs, bits), bits


def _merge(parts: list[tuple[bytes, list[bytes]]]) -> tuple[list[bytes], Pairs, list[Row], int]:
    """One group of several: (ids, rows) each."""
    members = [ids[start : start + 16] for ids, _ in parts for start in range(0, len(ids), 16)]
    order = sorted(range(len(members)), key=members.__getitem__)
    rank = np.empty(len(members), dtype=np.uint64)
    rank[order] = np.arange(len(members), dtype=np.uint64)
    pieces: list[Pairs] = []
    offset = 0
    for ids, bodies in parts:
        pairs = unpack(bodies)
        numbers = (pairs & np.uint64(0xFFFF_FFFF)).astype(np.int64) + offset
        pieces.append((pairs >> np.uint64(32) << np.uint64(32)) | rank[numbers])
        offset += len(ids) // 16
    merged = np.concatenate(pieces)
    merged.sort()
    bits = bits_for(len(merged))
    return [members[index] for index in order], merged, pack(merged, bits), bits
