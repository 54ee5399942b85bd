"""What a process keeps of prompts in memory, so that a call that names one waits for no database.

Held are the versions that labels point at, the newest of each prompt, and those asked for before: versions never
change. A label that moves reaches every process by NOTIFY within moments; a slow poll covers a lost connection.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from loopwright.core.errors import NotFound, Unavailable
from loopwright.kit.db import Database
from loopwright.kit.nearest import hint
from loopwright.kit.seal import PLAIN, Seal
from loopwright.prompts.moves import CHANNEL
from loopwright.prompts.store import VERSION, Prompts, version_of
from loopwright.prompts.version import LATEST, PRODUCTION, Version, hash_of, number_of

_POLL: Final = 10.0
NEWEST: Final = 10
"""Versions of each prompt that are held whether labels point at them or not."""
ASKED: Final = 256
"""Other versions that are held, those asked for last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shelf:
    """One prompt: what its references mean now."""

    latest: int
    labels: Mapping[str, int]
    hashes: tuple[tuple[str, int], ...]
    """Of the versions that are held, with their numbers."""

    def number(self, ref: str | None) -> int | None:
        """The number a reference means; None for what is not there."""
        if ref is None:
            return self.labels.get(PRODUCTION, self.latest)
        if ref in self.labels:
            return self.labels[ref]
        if ref == LATEST:
            return self.latest
        number, digits = number_of(ref), hash_of(ref)
        if number is not None or digits is None:
            return number
        found = [number for sha, number in self.hashes if sha.startswith(digits)]
        return found[0] if len(found) == 1 else None


class Held:
    """Prompts in memory."""

    def __init__(self, db: Database, seal: Seal = PLAIN) -> None:
        self._db = db
        self._seal = seal
        self._store = Prompts(db, seal)
        self._loading = asyncio.Lock()
        self._shelves: dict[tuple[int, str], _Shelf] = {}
        self._rows: dict[tuple[int, str, int], Mapping[str, Any]] = {}
        self._read: dict[int, Version] = {}
        self._asked: OrderedDict[tuple[int, str, int], Version] = OrderedDict()

    def find(self, project_id: int, name: str, ref: str | None = None) -> Version:
        """The version that `ref` names (a label, a number, a hash, `latest`), without asking the database.

        Without `ref` it is the one that `production` points at, else the latest.

        Raises:
            NotFound: no such prompt or version is held; names the nearest.
        """
        shelf = self._shelves.get((project_id, name))
        if shelf is None:
            known = [each for project, each in self._shelves if project == project_id]
            raise NotFound(f"there is no prompt {name[:100]!r}{hint(name, known)}", param="prompt")
        number = shelf.number(ref)
        found = None if number is None else self._version((project_id, name, number))
        if found is None:
            raise NotFound(
                f"prompt {name!r} has no version {str(ref)[:80]!r}{hint(str(ref), [LATEST, *shelf.labels])}",
                param="prompt",
            )
        return found

    async def fetch(self, project_id: int, name: str, ref: str | None = None) -> Version:
        """As `find`; what is not held is fetched once.

        Raises:
            NotFound: there is no such prompt or version.
            Unavailable: it is not held, and the database does not answer.
        """
        try:
            return self.find(project_id, name, ref)
        except NotFound:
            version = await self._store.version(project_id, name, ref)
        self._asked[(project_id, name, version.number)] = version
        while len(self._asked) > ASKED:
            self._asked.popitem(last=False)
        return version

    def _version(self, at: tuple[int, str, int]) -> Version | None:
        """A held version; its templates are parsed when it is first asked for."""
        row = self._rows.get(at)
        if row is None:
            found = self._asked.get(at)
            if found is not None:
                self._asked.move_to_end(at)
            return found
        labels = tuple(row["labels"])
        made = self._read.get(row["id"])
        if made is None or made.labels != labels:
            made = version_of(row, self._seal) if made is None else made.labelled(labels)
            self._read[row["id"]] = made
        return made

    async def load(self) -> None:
        """Read what references mean now, and the versions that are new.

        Raises:
            Unavailable: the database does not answer; what was known stays known.
        """
        async with self._loading:  # else one that began earlier could end later, with what was
            await self._load()

    async def _load(self) -> None:
        shelves = await self._db.rows(
            "select p.project_id, p.name, (select max(v.number) from prompt_versions v where v.prompt_id = p.id) as latest,"
            " (select coalesce(json_object_agg(l.label, l.number), '{}') from prompt_labels l where l.prompt_id = p.id)"
            " as labels from prompts p"
        )
        have = {row["id"]: row for row in self._rows.values()}
        wanted = await self._db.rows(
            "select v.id, p.project_id, p.name, v.number,"
            " (select coalesce(array_agg(l.label order by l.label), '{}') from prompt_labels l"
            "  where l.prompt_id = v.prompt_id and l.number = v.number) as labels"
            " from prompts p join lateral ("
            "  (select id, prompt_id, number from prompt_versions n where n.prompt_id = p.id"
            "   order by n.number desc limit %s)"
            "  union select w.id, w.prompt_id, w.number from prompt_labels m"
            "   join prompt_versions w on w.prompt_id = m.prompt_id and w.number = m.number where m.prompt_id = p.id"
            " ) v on true",
            (NEWEST,),
        )
        new = [row["id"] for row in wanted if row["id"] not in have]
        have |= {row["id"]: row for row in await self._fetched(new)}
        self._rows = {
            (row["project_id"], row["name"], row["number"]): {**have[row["id"]], "labels": row["labels"]}
            for row in wanted
            if row["id"] in have
        }
        hashes: dict[tuple[int, str], list[tuple[str, int]]] = {}
        for (project_id, name, number), row in self._rows.items():
            hashes.setdefault((project_id, name), []).append((row["sha"], number))
        self._shelves = {
            (at := (row["project_id"], row["name"])): _Shelf(
                latest=row["latest"], labels=row["labels"], hashes=tuple(hashes.get(at, ()))
            )
            for row in shelves
            if row["latest"] is not None
        }
        for key in [key for key in self._asked if key[:2] not in self._shelves]:
            del self._asked[key]  # the prompt was deleted
        kept = {row["id"] for row in self._rows.values()}
        self._read = {made: version for made, version in self._read.items() if made in kept}

    async def _fetched(self, ids: list[int]) -> list[dict[str, Any]]:
        return await self._db.rows(f"{VERSION} where v.id = any(%s)", (ids,)) if ids else []

    async def watch(self) -> None:
        """Keep what is held current until cancelled."""

        async def heard(_payload: str) -> None:
            await self._reload()

        async with asyncio.TaskGroup() as group:
            group.create_task(self._db.listen(CHANNEL, heard, reconnected=self._reload))
            group.create_task(self._poll())

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(_POLL)
            await self._reload()

    async def _reload(self) -> None:
        with suppress(Unavailable):
            await self.load()
