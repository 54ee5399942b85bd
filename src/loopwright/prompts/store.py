"""Prompts in the database: versions by content, labels with history. Every change is told to all processes at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from loopwright.core.errors import BadRequest, Conflict, NotFound
from loopwright.kit.db import Connection, Database
from loopwright.kit.nearest import hint
from loopwright.kit.seal import PLAIN, Seal
from loopwright.prompts.difference import Difference, difference
from loopwright.prompts.moves import CHANNEL, MOVE, Move, labels_of, move, moves_of, pointed
from loopwright.prompts.version import (
    LATEST,
    PRODUCTION,
    Version,
    check_label,
    check_name,
    hash_of,
    number_of,
    read,
)

_LONGEST_NOTE: Final = 2_000
_MOST_LABELS: Final = 100
_THERE: Final = "exists (select from prompt_versions v where v.prompt_id = p.id)"
"""Of a prompt that was deleted only its name stays, and how far its numbers went."""
VERSION: Final = (
    "select v.id, v.prompt_id, p.project_id, p.name, v.number, v.sha, v.definition, v.note, v.author, v.created_at,"
    " (select coalesce(array_agg(l.label order by l.label), '{}') from prompt_labels l"
    "  where l.prompt_id = v.prompt_id and l.number = v.number) as labels"
    " from prompt_versions v join prompts p on p.id = v.prompt_id"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A prompt as lists show it."""

    id: int
    project_id: int
    name: str
    created_at: datetime
    latest: int
    """The number of its newest version."""
    pushed_at: datetime
    """When that came."""
    description: str
    labels: Mapping[str, int]
    """Which number each label points at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A version as lists show it, without its texts."""

    number: int
    sha: str
    note: str
    author: str
    created_at: datetime
    labels: tuple[str, ...]


class Prompts:
    """The registry."""

    def __init__(self, db: Database, seal: Seal = PLAIN) -> None:
        self._db = db
        self._seal = seal

    async def push(
        self, project_id: int, name: str, definition: Mapping[str, Any], *, author: str, note: str = ""
    ) -> Version:
        """The version that holds `definition`: a new one, or the one that holds it already.

        Raises:
            BadRequest: the name or the definition cannot be used; names the place and line.
        """
        return (await self.pushed(project_id, name, definition, author=author, note=note))[0]

    async def pushed(
        self, project_id: int, name: str, definition: Mapping[str, Any], *, author: str, note: str = ""
    ) -> tuple[Version, bool]:
        """As `push`, and whether the version is new."""
        check_name(name)
        if len(note) > _LONGEST_NOTE or "\0" in note:
            raise BadRequest(f"note: a text of at most {_LONGEST_NOTE:,} characters", param="note")
        prompt = read(definition, f"prompt {name}")
        async with self._db.transaction() as connection:
            prompt_id, gone = await _claimed(connection, project_id, name)
            cursor = await connection.execute(
                "insert into prompt_versions (prompt_id, number, sha, definition, sealed_by, note, author)"
                " select %(prompt)s, coalesce(max(number), %(gone)s) + 1, %(sha)s, %(definition)s, %(key)s, %(note)s, %(author)s"
                " from prompt_versions where prompt_id = %(prompt)s"
                " having not coalesce(bool_or(sha = %(sha)s), false) returning number",
                {
                    "prompt": prompt_id,
                    "gone": gone,
                    "sha": prompt.sha,
                    "definition": self._seal.seal(
                        json.dumps(prompt.document, ensure_ascii=False).encode(), about(prompt_id, prompt.sha)
                    ),
                    "key": self._seal.first,
                    "note": note,
                    "author": author,
                },
            )
            made = await cursor.fetchone()
            if made is not None:
                await connection.execute("select pg_notify(%s, '')", (CHANNEL,))
        row = await self._db.row(f"{VERSION} where v.prompt_id = %s and v.sha = %s", (prompt_id, prompt.sha))
        assert row is not None
        return version_of(row, self._seal), made is not None

    async def version(self, project_id: int, name: str, ref: str | None = None) -> Version:
        """The version that `ref` names: a label, a number, the beginning of a hash, `latest`.

        Without `ref` it is the one that `production` points at, else the latest.

        Raises:
            NotFound: there is no such prompt or version; names the nearest.
        """
        row = await self._row(await self._prompt_id(project_id, name), name, ref)
        return version_of(row, self._seal)

    async def _row(self, prompt_id: int, name: str, ref: str | None) -> dict[str, Any]:
        found = await self._db.row(
            f"{VERSION} where v.prompt_id = %(prompt)s and v.number = coalesce("  # noqa: S608 - names of ours
            " (select l.number from prompt_labels l where l.prompt_id = %(prompt)s and l.label = %(label)s),"
            " %(number)s::int,"
            " (select case when count(*) = 1 then max(h.number) end from prompt_versions h"
            "  where h.prompt_id = %(prompt)s and starts_with(h.sha, %(hash)s)),"
            " case when %(latest)s then (select max(n.number) from prompt_versions n where n.prompt_id = %(prompt)s)"
            " end)",
            {
                "prompt": prompt_id,
                "label": PRODUCTION if ref is None else ref,
                "number": None if ref is None else number_of(ref),
                "hash": None if ref is None else hash_of(ref),
                "latest": ref is None or ref == LATEST,
            },
        )
        if found is None:
            labels = await self._db.rows("select label from prompt_labels where prompt_id = %s", (prompt_id,))
            known = [LATEST, *(row["label"] for row in labels)]
            raise NotFound(
                f"prompt {name!r} has no version {str(ref)[:80]!r}: name a label, a number, or six digits or more of a hash"
                f"{hint(str(ref), known)}",
                param="ref",
            )
        return found

    async def list(self, project_id: int | None, *, name: str | None = None) -> tuple[Prompt, ...]:
        """Prompts by name; of all projects when `project_id` is None."""
        rows = await self._db.rows(
            "select p.id, p.project_id, p.name, p.created_at, v.number as latest, v.created_at as pushed_at,"
            " v.sha, v.definition,"
            " (select coalesce(json_object_agg(l.label, l.number order by l.label), '{}') from prompt_labels l"
            "  where l.prompt_id = p.id) as labels"
            " from prompts p join lateral (select * from prompt_versions x where x.prompt_id = p.id"
            "  order by x.number desc limit 1) v on true"
            " where (%(project)s::int is null or p.project_id = %(project)s)"
            " and (%(name)s::text is null or p.name = %(name)s) order by p.name, p.project_id",
            {"project": project_id, "name": name},
        )
        return tuple(self._prompt(row) for row in rows)

    def _prompt(self, row: Mapping[str, Any]) -> Prompt:
        said = json.loads(self._seal.open(bytes(row["definition"]), about(row["id"], row["sha"])))
        rest = {name: value for name, value in row.items() if name not in {"definition", "sha"}}
        return Prompt(**rest, description=said.get("description", ""))

    async def versions(self, project_id: int, name: str, *, limit: int = 200) -> tuple[Entry, ...]:
        """Versions of a prompt, newest first.

        Raises:
            NotFound: there is no such prompt.
        """
        prompt_id = await self._prompt_id(project_id, name)
        rows = await self._db.rows(
            "select v.number, v.sha, v.note, v.author, v.created_at,"
            " (select coalesce(array_agg(l.label order by l.label), '{}') from prompt_labels l"
            "  where l.prompt_id = v.prompt_id and l.number = v.number) as labels"
            " from prompt_versions v where v.prompt_id = %s order by v.number desc limit %s",
            (prompt_id, limit),
        )
        return tuple(Entry(**{**row, "labels": tuple(row["labels"])}) for row in rows)

    async def label(self, project_id: int, name: str, label: str, ref: int | str, author: str) -> Version:
        """Point a label at a version; nothing happens when it points there already.

        Raises:
            BadRequest, NotFound: no label can be named so; there is no such prompt or version.
        """
        check_label(label)
        prompt_id = await self._prompt_id(project_id, name)
        number = (await self._row(prompt_id, name, str(ref)))["number"]
        async with self._db.transaction() as connection:
            await _lock(connection, prompt_id)
            before = await pointed(connection, prompt_id, label)
            if before is None and await labels_of(connection, prompt_id) >= _MOST_LABELS:
                raise Conflict(f"prompt {name!r} has {_MOST_LABELS} labels already: remove one first", param="label")
            if before != number:
                await move(connection, prompt_id, label, number, before, author)
        return await self.version(project_id, name, str(number))

    async def unlabel(self, project_id: int, name: str, label: str, author: str) -> None:
        """Take a label away; its history stays.

        Raises:
            NotFound: there is no such prompt or label.
        """
        prompt_id = await self._prompt_id(project_id, name)
        async with self._db.transaction() as connection:
            await _lock(connection, prompt_id)
            before = await pointed(connection, prompt_id, label)
            if before is None:
                raise NotFound(f"prompt {name!r} has no label {label[:60]!r}", param="label")
            await move(connection, prompt_id, label, None, before, author)

    async def delete(self, project_id: int, name: str) -> int:
        """Forget a prompt: its versions, labels and their history, for ever; how many versions.

        Its numbers are not given again. Whether something uses it is the caller's to ask.

        Raises:
            NotFound: there is no such prompt.
        """
        prompt_id = await self._prompt_id(project_id, name)
        async with self._db.transaction() as connection:
            await _lock(connection, prompt_id)
            await connection.execute("select set_config('loopwright.deleting_prompt', 'on', true)")
            await connection.execute("delete from prompt_labels where prompt_id = %s", (prompt_id,))
            await connection.execute("delete from prompt_moves where prompt_id = %s", (prompt_id,))
            await connection.execute(
                "update prompts set gone = greatest(gone, (select coalesce(max(number), 0) from prompt_versions"
                " where prompt_id = %(prompt)s)) where id = %(prompt)s",
                {"prompt": prompt_id},
            )
            cursor = await connection.execute("delete from prompt_versions where prompt_id = %s", (prompt_id,))
            await connection.execute("select pg_notify(%s, '')", (CHANNEL,))
        return cursor.rowcount

    async def rollback(self, project_id: int, name: str, label: str, author: str) -> Version:
        """Point a label at where it pointed before its last move; once more, at where before that.

        Raises:
            Conflict: it has not pointed elsewhere, or that was taken away.
            NotFound: there is no such prompt or label.
        """
        prompt_id = await self._prompt_id(project_id, name)
        async with self._db.transaction() as connection:
            await _lock(connection, prompt_id)
            moves = await moves_of(connection, prompt_id, label)
            standing: list[int | None] = []
            for each in moves:
                if each.back:
                    standing.pop()
                else:
                    standing.append(each.number)
            if not standing:
                raise NotFound(f"prompt {name!r} has no label {label[:60]!r}", param="label")
            to = standing[-2] if len(standing) > 1 else None
            if to is None:
                raise Conflict(f"label {label!r} of prompt {name!r} has not pointed elsewhere before", param="label")
            await move(connection, prompt_id, label, to, standing[-1], author, back=True)
        return await self.version(project_id, name, str(to))

    async def history(self, project_id: int, name: str, label: str | None = None) -> tuple[Move, ...]:
        """Moves of one label or of all, newest first.

        Raises:
            NotFound: there is no such prompt.
        """
        prompt_id = await self._prompt_id(project_id, name)
        rows = await self._db.rows(
            f"select {MOVE} from prompt_moves where prompt_id = %(prompt)s"  # noqa: S608 - names of ours
            " and (%(label)s::text is null or label = %(label)s) order by id desc limit 500",
            {"prompt": prompt_id, "label": label},
        )
        return tuple(Move(**row) for row in rows)

    async def diff(self, project_id: int, name: str, before: str, after: str) -> Difference:
        """What changed from one version to another.

        Raises:
            NotFound: there is no such prompt or version.
        """
        one, two = await self.version(project_id, name, before), await self.version(project_id, name, after)
        return difference(one.definition, two.definition, one.spoken, two.spoken)

    async def _prompt_id(self, project_id: int, name: str) -> int:
        row = await self._db.row(
            f"select id from prompts p where project_id = %s and name = %s and {_THERE}",  # noqa: S608 - words of ours
            (project_id, name),
        )
        if row is None:
            rows = await self._db.rows(
                f"select name from prompts p where project_id = %s and {_THERE} limit 1000",  # noqa: S608 - words of ours
                (project_id,),
            )
            known = hint(name, [each["name"] for each in rows])
            raise NotFound(f"there is no prompt {name[:100]!r}{known}", param="name")
        return int(row["id"])


def version_of(row: Mapping[str, Any], seal: Seal) -> Version:
    """A row as a Version.

    Raises:
        BadRequest: a program before this one took what this one does not.
        Sealed: its key is not here.
    """
    rest = {name: value for name, value in row.items() if name not in {"prompt_id", "definition", "labels"}}
    document = json.loads(seal.open(bytes(row["definition"]), about(row["prompt_id"], row["sha"])))
    prompt = read(document, f"prompt {row['name']}@{row['number']}")
    return Version(**rest, prompt=prompt, labels=tuple(row["labels"]))


def about(prompt_id: int, sha: str) -> bytes:
    """What a definition is sealed for."""
    return f"prompt_versions.definition {prompt_id} {sha}".encode()


async def _claimed(connection: Connection, project_id: int, name: str) -> tuple[int, int]:
    """The id of a prompt, made if need be, and the highest number deleted; locked: numbers have no gaps and no doubles."""
    await connection.execute(
        "insert into prompts (project_id, name) values (%s, %s) on conflict do nothing", (project_id, name)
    )
    cursor = await connection.execute(
        "select id, gone from prompts where project_id = %s and name = %s for update", (project_id, name)
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row["id"]), int(row["gone"])


async def _lock(connection: Connection, prompt_id: int) -> None:
    await connection.execute("select from prompts where id = %s for update", (prompt_id,))
