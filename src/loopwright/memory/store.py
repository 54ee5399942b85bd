"""Corrections of all projects in the database: added, read, switched off, forgotten. Embeds nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from loopwright.core.errors import BadRequest, NotFound
from loopwright.kit.db import Connection, Database, plain
from loopwright.kit.ids import Ids
from loopwright.kit.seal import PLAIN, Seal
from loopwright.memory.entry import Entry, Lesson, Source, about, marks, packed

CHANNEL: Final = "loopwright_memory"
ACTIVE: Final = "disabled_at is null and superseded_by is null and (expires_at is null or expires_at > now())"
COLUMNS: Final = (
    "id::text, project_id, task, source, call_id::text, sha, output_sha, content, embedder, author, scope,"
    " beside::text[], expires_at, disabled_at, superseded_by::text, created_at, changed"
)
_TOLD: Final = 150
"""Entries that one notice names (it has room for 8,000 bytes); of more, whoever hears it looks for itself."""
_INSERT: Final = b"""
    insert into memory_entries (id, project_id, task, source, call_id, correction_id, key_id, session, tags, sha,
        output_sha, content, sealed_by, author, by_key_id, scope, expires_at)
    values (%s::uuid, %s, %s, %s, %s::uuid, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_SUPERSEDE: Final = b"""
    update memory_entries set superseded_by = %s::uuid, changed = nextval('memory_changes')
    where project_id = %s and task = %s and call_id = %s::uuid and id <> %s::uuid and superseded_by is null
    returning id::text
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an entry comes from: what its call is deleted by."""

    call_id: str
    correction_id: int
    key_id: int
    session: str | None
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class New:
    """What is to be remembered."""

    project_id: int
    task: str
    lesson: Lesson
    author: str
    by_key_id: int
    origin: Origin | None = None
    scope: Mapping[str, str] = field(default_factory=dict)
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Part of a listing."""

    entries: Sequence[Entry]
    next: str | None
    """Id to go on after; None at the end."""


class Memory:
    """Every method raises `Unavailable` while the database cannot answer."""

    def __init__(self, db: Database, seal: Seal = PLAIN) -> None:
        self.db = db
        self.seal = seal
        self._ids = Ids()

    async def add(self, connection: Connection, new: New) -> str:
        """Remember something; its id. A correction takes the place of an earlier one of the same call.

        Raises:
            BadRequest: it cannot be kept.
        """
        [made] = await self.add_all(connection, [new])
        return made

    async def add_all(self, connection: Connection, news: Sequence[New]) -> list[str]:
        """As `add`, for several of one project and task."""
        rows, ids = [], []
        for new in news:
            entry_id = self._ids.new()
            content = packed(new.lesson)
            sha, output_sha = marks(self.seal, self.seal.first, (new.project_id, new.task), new.lesson)
            origin = new.origin
            source: Source = "import" if origin is None else "correction"
            rows.append((
                entry_id, new.project_id, new.task, source, *_of(origin), sha, output_sha,
                self.seal.seal(content, about(entry_id)), self.seal.first, plain(new.author), new.by_key_id,
                Jsonb(dict(new.scope)), new.expires_at,
            ))  # fmt: skip
            ids.append(entry_id)
        async with connection.cursor() as cursor:
            await cursor.executemany(_INSERT, rows)
        told = list(ids)
        for new, entry_id in zip(news, ids, strict=True):
            if new.origin is not None:
                said = (entry_id, new.project_id, new.task, new.origin.call_id, entry_id)
                found = await connection.execute(_SUPERSEDE, said)
                told += [row["id"] for row in await found.fetchall()]
        if news:
            await tell(connection, news[0].project_id, news[0].task, told)
        return ids

    async def fill(
        self, connection: Connection, entries: Mapping[str, Sequence[float]], embedder: str, *, key: tuple[int, str]
    ) -> None:
        """Give entries of one project and task their vectors."""
        async with connection.cursor() as cursor:
            await cursor.executemany(
                b"update memory_entries set embedding = %s::vector, embedder = %s, changed = nextval('memory_changes')"
                b" where id = %s::uuid",
                [(vector_text(vector), embedder, entry_id) for entry_id, vector in entries.items()],
            )
        await tell(connection, *key, list(entries))

    async def get(self, entry_id: str, *, project_id: int | None) -> Entry:
        """One entry.

        Raises:
            NotFound: there is none in the project.
        """
        row = None
        if (known := uuid_of(entry_id)) is not None:
            row = await self.db.row(
                f"select {COLUMNS} from memory_entries where id = %s::uuid and (%s::int is null or project_id = %s)",  # noqa: S608
                (known, project_id, project_id),
            )
        if row is None:
            raise NotFound(f"memory has no entry {entry_id[:80]!r}", param="id")
        return entry_of(row)

    async def of_call(self, call_id: str) -> Entry | None:
        """What was learnt of a call: the entry that is not superseded."""
        row = await self.db.row(
            f"select {COLUMNS} from memory_entries where call_id = %s::uuid and superseded_by is null limit 1",  # noqa: S608
            (call_id,),
        )
        return None if row is None else entry_of(row)

    async def before(self, entry_id: str) -> list[str]:
        """Ids of the entries whose place one took."""
        rows = await self.db.rows(
            "select id::text from memory_entries where superseded_by = %s::uuid and call_id is not null", (entry_id,)
        )
        return [row["id"] for row in rows]

    async def page(
        self,
        *,
        project_id: int | None,
        task: str | None = None,
        author: str | None = None,
        state: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> Page:
        """Entries, newest first.

        Raises:
            BadRequest: `state` or `before` is none.
        """
        if before is not None and uuid_of(before) is None:
            raise BadRequest("before: this is no id of an entry", param="before")
        rows = await self.db.rows(
            f"""select {COLUMNS} from memory_entries
                where (%(project)s::int is null or project_id = %(project)s)
                  and (%(task)s::text is null or task = %(task)s) and (%(author)s::text is null or author = %(author)s)
                  and {_state(state)} and (%(before)s::uuid is null or id < %(before)s::uuid)
                order by id desc limit %(limit)s""",  # noqa: S608 - conditions of ours
            {
                "project": project_id,
                "task": None if task is None else plain(task),
                "author": None if author is None else plain(author),
                "before": before,
                "limit": limit + 1,
            },
        )
        found = [entry_of(row) for row in rows[:limit]]
        return Page(entries=found, next=found[-1].id if len(rows) > limit else None)

    async def change(
        self,
        entry: Entry,
        *,
        disabled: bool | None = None,
        expires_at: datetime | msgspec.UnsetType | None = msgspec.UNSET,
        scope: Mapping[str, str] | None = None,
    ) -> Entry:
        """Switch an entry off or on, let it end at a moment or (None) never, keep it to calls with some tags.

        Raises:
            NotFound: it is not there any more.
        """
        sets: list[str] = ["changed = nextval('memory_changes')"]
        values: list[object] = []
        if disabled is not None:
            sets.append("disabled_at = coalesce(disabled_at, now())" if disabled else "disabled_at = null")
        if expires_at is not msgspec.UNSET:
            sets.append("expires_at = %s")
            values.append(expires_at)
        if scope is not None:
            sets.append("scope = %s")
            values.append(Jsonb(dict(scope)))
        async with self.db.transaction() as connection:
            cursor = await connection.execute(
                f"update memory_entries set {', '.join(sets)} where id = %s::uuid returning {COLUMNS}".encode(),  # noqa: S608
                (*values, entry.id),
            )
            row = await cursor.fetchone()
            if row is None:
                raise NotFound(f"memory has no entry {entry.id!r} any more", param="id")
            await tell(connection, entry.project_id, entry.task, [entry.id])
        return entry_of(row)

    async def delete(self, entry: Entry) -> None:
        """Forget an entry for ever. What it superseded stays superseded."""
        async with self.db.transaction() as connection:
            await connection.execute(b"delete from memory_entries where id = %s::uuid", (entry.id,))
            await tell(connection, entry.project_id, entry.task, [entry.id])

    async def forget(
        self,
        *,
        project_id: int | None,
        call_id: str | None = None,
        key_id: int | None = None,
        session: str | None = None,
        tag: tuple[str, str] | None = None,
    ) -> int:
        """Forget what was learnt of the calls that one of these names, for they are deleted; how many entries.

        Raises:
            BadRequest: none of them is given, or more than one.
        """
        if sum(each is not None for each in (call_id, key_id, session, tag)) != 1:
            raise BadRequest("say what to forget by exactly one of: a call's id, a key, a session, a tag")
        named = {
            "project": project_id,
            "call": call_id,
            "key": key_id,
            "session": session,
            "tag": None if tag is None else Jsonb({tag[0]: tag[1]}),
        }
        async with self.db.transaction() as connection:
            await connection.execute(_UNCOUNT, named)
            cursor = await connection.execute(_FORGET, named)
            gone: dict[tuple[int, str], list[str]] = {}
            for row in await cursor.fetchall():
                gone.setdefault((row["project_id"], row["task"]), []).append(row["id"])
            for (project, task), ids in gone.items():
                await tell(connection, project, task, ids)
        return sum(map(len, gone.values()))

    async def days(self, entry_id: str) -> tuple[int, int]:
        """How often an entry was shown, and how often it was the answer."""
        row = await self.db.row(
            "select coalesce(sum(shown), 0)::int as shown, coalesce(sum(answered), 0)::int as answered"
            " from memory_entry_days where entry_id = %s::uuid",
            (entry_id,),
        )
        assert row is not None
        return row["shown"], row["answered"]


_NAMED: Final = """
    (%(project)s::int is null or project_id = %(project)s) and (%(call)s::uuid is null or call_id = %(call)s::uuid)
    and (%(key)s::int is null or key_id = %(key)s)
    and (%(session)s::text is null or session = %(session)s
        or (octet_length(session) > 290 and starts_with(%(session)s, session)))
    and (%(tag)s::jsonb is null or tags @> %(tag)s)
"""
_FORGET: Final = f"""
    delete from memory_entries where call_id is not null and {_NAMED} returning id::text, project_id, task
""".encode()  # noqa: S608 - names of ours
# A call that is deleted is none of the calls that the effect is counted of.
_UNCOUNT: Final = f"""
    with gone as (delete from memory_outcomes where {_NAMED} returning *),
    counted as (select project_id, task, variant, day, outcome, count(*) as calls from gone group by 1, 2, 3, 4, 5)
    update memory_days d set calls = greatest(d.calls - c.calls, 0) from counted c
    where (d.project_id, d.task, d.variant, d.day, d.outcome) = (c.project_id, c.task, c.variant, c.day, c.outcome)
""".encode()  # noqa: S608 - names of ours


async def tell(connection: Connection, project_id: int, task: str, ids: Sequence[str]) -> None:
    """Let every process know, when this transaction is done, that entries of a task changed."""
    said = {"project": project_id, "task": task, "ids": [*ids] if len(ids) <= _TOLD else None}
    await connection.execute(b"select pg_notify(%s, %s)", (CHANNEL, msgspec.json.encode(said).decode()))


def entry_of(row: Mapping[str, Any]) -> Entry:
    """An entry from COLUMNS."""
    return Entry(
        id=row["id"],
        project_id=row["project_id"],
        task=row["task"],
        source=row["source"],
        call_id=row["call_id"],
        sha=bytes(row["sha"]),
        output_sha=bytes(row["output_sha"]),
        content=bytes(row["content"]),
        embedder=row["embedder"],
        author=row["author"],
        scope=row["scope"],
        beside=frozenset(row["beside"]),
        expires_at=row["expires_at"],
        disabled_at=row["disabled_at"],
        superseded_by=row["superseded_by"],
        created_at=row["created_at"],
        changed=row["changed"],
    )


def vector_text(vector: Sequence[float]) -> str:
    """As pgvector reads it."""
    return "[" + ",".join(f"{value:.7g}" for value in vector) + "]"


def uuid_of(text: str) -> str | None:
    """An id in its canonical form; None when it is none."""
    try:
        return str(UUID(text))
    except ValueError:
        return None


def _of(origin: Origin | None) -> tuple[object, ...]:
    if origin is None:
        return (None,) * 5
    return origin.call_id, origin.correction_id, origin.key_id, origin.session, Jsonb(dict(origin.tags))


def _state(state: str | None) -> str:
    known = {
        None: "true",
        "active": ACTIVE,
        "disabled": "disabled_at is not null and superseded_by is null",
        "expired": "expires_at <= now() and disabled_at is null and superseded_by is null",
        "superseded": "superseded_by is not null",
        "waiting": f"embedder is null and {ACTIVE}",
    }
    if state not in known:
        raise BadRequest(f"state: one of {', '.join(word for word in known if word)}", param="state")
    return known[state]
