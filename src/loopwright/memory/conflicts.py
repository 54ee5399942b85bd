"""Where people contradict each other: nearly the same inputs, another output, another author. Listed for a decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, get_args

from psycopg.types.json import Jsonb

from loopwright.core.errors import BadRequest, Conflict, NotFound
from loopwright.kit.db import Connection, plain
from loopwright.memory.entry import SAME, Entry
from loopwright.memory.store import ACTIVE, COLUMNS, Memory, entry_of, tell

Keep = Literal["newer", "older", "both", "scope"]
KEEPS: Final[tuple[Keep, ...]] = get_args(Keep)
MOST_TAGS: Final = 8
_LOOKED: Final = 5
"""Contradictions that are looked for behind one entry."""
_FIND: Final = f"""
    with mine as (select * from memory_entries where id = %(id)s::uuid),
    near as (
        select e.id, e.created_at, case when e.sha = m.sha then 1 else 1 - (e.embedding <=> m.embedding) end as similarity
        from memory_entries e, mine m
        where e.project_id = m.project_id and e.task = m.task and e.author <> m.author and e.output_sha <> m.output_sha
          and e.sealed_by is not distinct from m.sealed_by and e.embedder = m.embedder and e.scope = m.scope
          and not e.id = any(m.beside) and e.disabled_at is null and e.superseded_by is null
          and (e.expires_at is null or e.expires_at > now())
        order by similarity desc limit {_LOOKED}
    )
    insert into memory_conflicts (project_id, task, older, newer, similarity)
    select m.project_id, m.task, least(n.id, m.id), greatest(n.id, m.id), n.similarity from near n, mine m
    where n.similarity >= {SAME} on conflict do nothing returning id
""".encode()  # noqa: S608 - names of ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradiction:
    """Two entries."""

    id: int
    project_id: int
    task: str
    older: Entry
    newer: Entry
    similarity: float
    state: str
    kept: str | None
    decided_by: str | None
    decided_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Conflicts:
    """Of all projects."""

    memory: Memory

    async def seek(self, connection: Connection, entry_id: str) -> int:
        """Note whom an entry that has its vector contradicts; how many."""
        cursor = await connection.execute(_FIND, {"id": entry_id})
        return len(await cursor.fetchall())

    async def list(
        self,
        *,
        project_id: int | None,
        state: str | None = "open",
        entry_id: str | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> Sequence[Contradiction]:
        """Newest first; open ones only while both are shown to anybody."""
        both = f"(select count(*) from memory_entries e where e.id in (c.older, c.newer) and {ACTIVE}) = 2"  # noqa: S608
        rows = await self.memory.db.rows(
            f"""select c.*, c.older::text as old, c.newer::text as new, c.kept::text as kept_id from memory_conflicts c
                where (%(project)s::int is null or c.project_id = %(project)s)
                  and (%(state)s::text is null or c.state = %(state)s) and (c.state <> 'open' or {both})
                  and (%(entry)s::uuid is null or %(entry)s::uuid in (c.older, c.newer))
                  and (%(before)s::bigint is null or c.id < %(before)s) order by c.id desc limit %(limit)s""",  # noqa: S608
            {"project": project_id, "state": state, "entry": entry_id, "before": before, "limit": limit},
        )
        return await self._whole(rows)

    async def get(self, conflict_id: int, *, project_id: int | None) -> Contradiction:
        """One.

        Raises:
            NotFound: there is none in the project.
        """
        rows = await self.memory.db.rows(
            "select *, older::text as old, newer::text as new, kept::text as kept_id from memory_conflicts"
            " where id = %s and (%s::int is null or project_id = %s)",
            (conflict_id, project_id, project_id),
        )
        if not rows or not (found := await self._whole(rows)):
            raise NotFound(f"there is no conflict {conflict_id}", param="id")
        return found[0]

    async def resolve(
        self, found: Contradiction, keep: Keep, *, by: str, scopes: Mapping[str, Mapping[str, str]] | None = None
    ) -> Contradiction:
        """Decide.

        Args:
            found: an open one.
            keep: `newer` or `older` switches the other off; `both` lets them stand side by side; `scope` keeps each
                that `scopes` names to calls with its tags.
            by: who decides.
            scopes: tags by the id of an entry.

        Raises:
            Conflict: it is decided already.
            BadRequest: `scopes` names other entries, or no tags.
        """
        given = {} if scopes is None else {name: dict(tags) for name, tags in scopes.items()}
        if keep == "scope":
            check_scopes(found, given)
        elif given:
            raise BadRequest("scopes: only where `keep` is `scope`", param="scopes")
        kept = {"newer": found.newer.id, "older": found.older.id}.get(keep)
        state = {"both": "both", "scope": "scoped"}.get(keep, "one")
        async with self.memory.db.transaction() as connection:
            cursor = await connection.execute(
                b"update memory_conflicts set state = %s, kept = %s::uuid, decided_by = %s, decided_at = now()"
                b" where id = %s and state = 'open' returning id",
                (state, kept, plain(by), found.id),
            )
            if await cursor.fetchone() is None:
                raise Conflict(f"conflict {found.id} is decided already")
            await _applied(connection, found, keep, given)
            await tell(connection, found.project_id, found.task, [found.older.id, found.newer.id])
        return await self.get(found.id, project_id=None)

    async def _whole(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[Contradiction]:
        ids = list({each for row in rows for each in (row["old"], row["new"])})
        entries = await self.memory.db.rows(
            f"select {COLUMNS} from memory_entries where id = any(%s::uuid[])",  # noqa: S608
            (ids,),
        )
        known = {row["id"]: entry_of(row) for row in entries}
        return [
            Contradiction(
                id=row["id"],
                project_id=row["project_id"],
                task=row["task"],
                older=known[row["old"]],
                newer=known[row["new"]],
                similarity=row["similarity"],
                state=row["state"],
                kept=row["kept_id"],
                decided_by=row["decided_by"],
                decided_at=row["decided_at"],
                created_at=row["created_at"],
            )
            for row in rows
            if row["old"] in known and row["new"] in known
        ]


def check_scopes(found: Contradiction, scopes: Mapping[str, Mapping[str, str]]) -> None:
    """Raises BadRequest: they are not of these two, or hold no tags."""
    if not scopes or scopes.keys() - {found.older.id, found.newer.id}:
        raise BadRequest("scopes: tags by the id of one or both of the two entries", param="scopes")
    for tags in scopes.values():
        check_scope(tags)


def check_scope(tags: Mapping[str, str]) -> None:
    """Raises BadRequest: a scope is of one to eight tags, each a name and a value."""
    fit = all(0 < len(name) <= 100 and len(value) <= 200 and "\x00" not in name + value for name, value in tags.items())
    if not fit or not 1 <= len(tags) <= MOST_TAGS:
        raise BadRequest(f"a scope is of 1 to {MOST_TAGS} tags, such as {{'market': 'de'}}", param="scopes")


async def _applied(
    connection: Connection, found: Contradiction, keep: Keep, scopes: Mapping[str, Mapping[str, str]]
) -> None:
    bump = b"changed = nextval('memory_changes')"
    if keep in ("newer", "older"):
        other = found.older if keep == "newer" else found.newer
        sql = b"update memory_entries set disabled_at = coalesce(disabled_at, now()), " + bump + b" where id = %s::uuid"
        await connection.execute(sql, (other.id,))
    elif keep == "both":
        sql = b"update memory_entries set beside = array_append(beside, %s::uuid), " + bump + b" where id = %s::uuid"
        for one, other in ((found.older, found.newer), (found.newer, found.older)):
            await connection.execute(sql, (other.id, one.id))
    else:
        sql = b"update memory_entries set scope = %s, " + bump + b" where id = %s::uuid"
        for entry_id, tags in scopes.items():
            await connection.execute(sql, (Jsonb(dict(tags)), entry_id))
