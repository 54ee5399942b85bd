"""Answers in PostgreSQL that do not lie with their calls, where every worker and machine finds them. All SQL on them.

They are put together from streams, found by likeness, vectors, or differ from what is on record of their calls.

With keys an answer is compressed, then sealed for its row; PostgreSQL compresses the others by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import zstandard

from loopwright.cache.entry import OVERHEAD, Entry, Erasure, Likeness
from loopwright.cache.memory import MOST_KNOWN, short
from loopwright.core.money import Usage
from loopwright.kit.db import Connection, Database
from loopwright.kit.seal import PLAIN, Seal, key_of

CHANNEL: Final = "loopwright_cache"
_NEAR: Final = 5_000
"""Newest answers of a partition that are compared."""
_NOTICE: Final = 150
"""Keys in one NOTIFY, which holds 8,000 bytes."""
_LEVEL: Final = 3
_LARGEST: Final = 1 << 30
_COLUMNS: Final = (
    "key, call_id::text, started_ns, extract(epoch from expires_at)::float8 as expires, cost_nano, project_id, key_id,"
    " model, target, session, tags, usage, body"
)
_INSERT: Final = """
    with put as (insert into cache_entries (key, call_id, started_ns, expires_at, cost_nano, project_id, key_id, size, model, target,
        session, tags, usage, body, partition, guard, vector, sealed_by)
    select decode(key, 'base64'), call_id, started_ns, to_timestamp(expires), cost_nano, project_id, key_id, length + %s,
        model, target, session, coalesce(tags, '{}'), usage, substr(%b::bytea, start, length), decode(partition, 'base64'), guard,
        vector::text::vector, %s
    from json_to_recordset(%s::json) as r (key text, call_id uuid, started_ns bigint, expires float8, cost_nano bigint,
        project_id int, key_id int, start int, length int, model text, target text, session text, tags jsonb, usage jsonb,
        partition text, guard text, vector json)
    on conflict (key) do update set call_id = excluded.call_id, started_ns = excluded.started_ns, stored_at = now(),
        expires_at = excluded.expires_at, cost_nano = excluded.cost_nano, key_id = excluded.key_id,
        size = excluded.size, target = excluded.target, session = excluded.session, tags = excluded.tags,
        usage = excluded.usage, body = excluded.body, guard = excluded.guard, vector = excluded.vector,
        sealed_by = excluded.sealed_by)
    select pg_notify(%s, payload::text) from json_array_elements(%s::json) as payload
"""
"""One statement for a batch: a statement an answer costs the worker five times the CPU. It tells the workers too, and is a
transaction by itself: each further round trip would cost as much as storing three answers. All answers are one parameter,
of which each row takes its part: as texts of the JSON they would be written and read twice more on their way."""


class _Row(msgspec.Struct, gc=False, omit_defaults=True):
    """A row as JSON; bytes are Base64."""

    key: bytes
    call_id: str
    started_ns: int
    expires: float
    cost_nano: int | None
    project_id: int
    key_id: int
    start: int
    """Of its answer within all answers, from 1."""
    length: int
    model: str
    target: str
    usage: Usage | None
    tags: dict[str, str] | None = None
    session: str | None = None
    partition: bytes | None = None
    guard: str | None = None
    vector: tuple[float, ...] | None = None


async def store(db: Database, batch: Sequence[tuple[Entry, Likeness | None]], seal: Seal = PLAIN) -> None:
    """Write answers and tell every worker of their keys.

    Raises:
        Unavailable: the database cannot answer now; nothing was written.
    """
    notices = _notices([(short(entry.key), int(entry.expires)) for entry, _ in batch])
    bodies = [closed(entry.body, entry.key, seal) for entry, _ in batch]
    rows, start = [], 1
    for (entry, likeness), body in zip(batch, bodies, strict=True):
        rows.append(_row(entry, likeness, start, len(body)))
        start += len(body)
    told = msgspec.json.encode(notices).decode()
    meant = msgspec.json.encode(rows).decode()
    await db.run(_INSERT, (OVERHEAD, b"".join(bodies), seal.first, meant, CHANNEL, told))


async def fetch(db: Database, key: bytes, seal: Seal = PLAIN) -> Entry | None:
    """The answer to a key, if it is still good.

    Raises:
        Sealed: it cannot be opened.
    """
    row = await db.row(f"select {_COLUMNS} from cache_entries where key = %s and expires_at > now()", (key,))  # noqa: S608
    return None if row is None else _entry(row, seal)


async def nearest(db: Database, likeness: Likeness, seal: Seal = PLAIN) -> tuple[Entry, float] | None:
    """The good answer of the partition and guard whose question is most alike, and the cosine of the two."""
    row = await db.row(
        f"select {_COLUMNS}, 1 - (vector <=> %s::float4[]::vector) as cosine from ("  # noqa: S608
        f" select * from cache_entries where partition = %s and guard = %s and expires_at > now()"
        f" order by stored_at desc limit {_NEAR}) as newest order by cosine desc limit 1",
        (list(likeness.vector), likeness.partition, likeness.guard),
    )
    return None if row is None else (_entry(row, seal), float(row["cosine"]))


async def known(db: Database) -> list[tuple[int, int]]:
    """(short key, Unix time of expiry) of the newest good answers, oldest first."""
    rows = await db.rows(
        "select substring(key for 8) as short, extract(epoch from expires_at)::bigint as expires from cache_entries"  # noqa: S608
        f" where expires_at > now() order by stored_at desc limit {MOST_KNOWN}"
    )
    return [(short(bytes(row["short"])), int(row["expires"])) for row in reversed(rows)]


async def questions_of(db: Database, call_id: str) -> list[bytes]:
    """The keys of questions that a call's answer is given to here."""
    rows = await db.rows("select key from cache_entries where call_id = %s::uuid", (call_id,))
    return [bytes(row["key"]) for row in rows]


async def forget(db: Database, erasure: Erasure, *, tell: bool = True) -> int:
    """Delete what `erasure` names and, with `tell`, have every worker do so with what it holds; how many there were."""
    name, value = erasure.tag or (None, None)
    async with db.transaction() as connection:
        cursor = await connection.execute(
            b"""delete from cache_entries where (%(project)s::int is null or project_id = %(project)s)
                and started_ns <= %(before)s
                and (%(call)s::uuid is null or call_id = %(call)s::uuid or key = any(%(questions)s::bytea[]))
                and (%(key)s::int is null or key_id = %(key)s)
                and (%(session)s::text is null or session = %(session)s)
                and (%(name)s::text is null or tags @> jsonb_build_object(%(name)s::text, %(value)s::text))""",
            {
                "project": erasure.project_id,
                "before": erasure.before_ns,
                "call": erasure.call_id,
                "questions": erasure.questions,
                "key": erasure.key_id,
                "session": erasure.session,
                "name": name,
                "value": value,
            },
        )
        if tell:
            await notify(connection, forget=msgspec.to_builtins(erasure))
        return max(cursor.rowcount, 0)


async def expire(db: Database, limit: int) -> int:
    """Delete what is no longer good, and the oldest over `limit` bytes; how many there were."""
    gone = await db.run("delete from cache_entries where expires_at <= now()")
    return gone + await db.run(
        """delete from cache_entries using (
               select key, sum(size) over (order by stored_at desc, key) as total from cache_entries) as measured
           where cache_entries.key = measured.key and measured.total > %s""",
        (limit,),
    )


async def tell(connection: Connection, keys: Sequence[tuple[bytes, int]]) -> None:
    """Tell every worker of answers that came to the database, by key and Unix time of expiry, when the transaction commits."""
    if keys:
        told = msgspec.json.encode(_notices([(short(key), until) for key, until in keys])).decode()
        await connection.execute(
            "select pg_notify(%s, payload::text) from json_array_elements(%s::json) as payload", (CHANNEL, told)
        )


def _notices(keys: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
    return [{"learn": keys[start : start + _NOTICE]} for start in range(0, len(keys), _NOTICE)]


async def notify(connection: Connection, **what: Any) -> None:
    """Tell every worker, when the transaction commits."""
    await connection.execute("select pg_notify(%s, %s)", (CHANNEL, msgspec.json.encode(what).decode()))


def closed(body: bytes, key: bytes, seal: Seal) -> bytes:
    """An answer as it is stored in the row of `key`."""
    if not seal:
        return body
    return seal.seal(zstandard.ZstdCompressor(level=_LEVEL).compress(body), b"cache_entries.body " + key)


def opened(stored: bytes, key: bytes, seal: Seal) -> bytes:
    """What `closed` was given.

    Raises:
        Sealed: with a key that is not here, or it was changed.
    """
    if key_of(stored) is None:
        return stored
    packed = seal.open(stored, b"cache_entries.body " + key)
    return zstandard.ZstdDecompressor().decompress(packed, max_output_size=_LARGEST)


def _row(entry: Entry, likeness: Likeness | None, start: int, length: int) -> _Row:
    row = _Row(
        entry.key, entry.call_id, entry.started_ns, entry.expires, entry.cost_nano, entry.project_id, entry.key_id, start,
        length, entry.model, entry.target, entry.usage,
    )  # fmt: skip
    if entry.tags:
        row.tags = {_text(name): _text(value) for name, value in entry.tags.items()}
    if entry.session is not None:
        row.session = _text(entry.session)
    if likeness is not None:
        row.partition, row.guard, row.vector = likeness.partition, _text(likeness.guard), likeness.vector
    return row


def _text(value: str) -> str:
    return value.replace("\0", "\ufffd")  # PostgreSQL's texts hold no NUL


def _entry(row: dict[str, Any], seal: Seal) -> Entry:
    key = bytes(row["key"])
    return Entry(
        key=key,
        body=opened(bytes(row["body"]), key, seal),
        expires=row["expires"],
        call_id=row["call_id"],
        project_id=row["project_id"],
        key_id=row["key_id"],
        session=row["session"],
        tags=row["tags"],
        model=row["model"],
        target=row["target"],
        usage=None if row["usage"] is None else Usage(**row["usage"]),
        cost_nano=row["cost_nano"],
        started_ns=row["started_ns"],
    )
