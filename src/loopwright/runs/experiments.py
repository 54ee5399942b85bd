"""Experiments in the database: runs that belong together, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from psycopg.types.json import Jsonb

from loopwright.core.errors import NotFound
from loopwright.kit.db import Database
from loopwright.kit.nearest import hint
from loopwright.runs import words
from loopwright.runs.run import Experiment

_SELECT: Final = """
    select e.*, count(r.id)::int as runs, (count(r.id) filter (where r.status = 'running'))::int as running,
        max(r.updated_at) as latest
    from experiments e left join runs r on r.experiment_id = e.id
    where (%(project)s::int is null or e.project_id = %(project)s) and (%(name)s::text is null or e.name = %(name)s)
        and (%(id)s::bigint is null or e.id = %(id)s)
    group by e.id order by coalesce(max(r.updated_at), e.created_at) desc, e.id desc limit %(limit)s
"""
_LARGEST: Final = 2**63


class Experiments:
    """The experiments of all projects; `project_id` None is of any project."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def make(self, project_id: int, name: str, *, description: str = "") -> Experiment:
        """The experiment of a name, made when it is not there.

        Raises:
            BadRequest: the name is none.
        """
        named = words.name(name, "experiment")
        words.text(description, "description")
        await self._db.run(
            "insert into experiments (project_id, name, description) values (%s, %s, %s)"
            " on conflict (project_id, name) do nothing",
            (project_id, named, description),
        )
        [found] = await self._asked(project_id, name=named)
        return found

    async def list(self, *, project_id: int | None, limit: int = 200) -> Sequence[Experiment]:
        """Experiments, those in which something happened last first."""
        return await self._asked(project_id, limit=limit)

    async def find(self, which: str | int, *, project_id: int | None) -> Experiment:
        """One experiment by its name or id; a number is an id.

        Raises:
            NotFound: there is none; names the nearest.
        """
        said = str(which)[: words.NAME]
        found: Sequence[Experiment] = (
            [] if isinstance(which, int) else await self._asked(project_id, name=words.stored(said))
        )
        if not found and said.isascii() and said.isdigit() and int(said) < _LARGEST:
            found = await self._asked(project_id, number=int(said))
        if found:
            return found[0]
        known = [each.name for each in await self.list(project_id=project_id)]
        raise NotFound(f"there is no experiment {said[:80]!r}{hint(said[:80], known)}", param="experiment")

    async def change(
        self,
        which: str | int,
        *,
        project_id: int | None,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Experiment:
        """Another description, further tags.

        Raises:
            NotFound: there is none.
            BadRequest: one of them cannot be kept.
        """
        found = await self.find(which, project_id=project_id)
        said = found.description if description is None else words.text(description, "description")
        await self._db.run(
            "update experiments set description = %s, tags = tags || %s where id = %s",
            (said, Jsonb(words.tags(tags or {})), found.id),
        )
        return (await self._asked(project_id, number=found.id))[0]

    async def _asked(
        self, project_id: int | None, *, name: str | None = None, number: int | None = None, limit: int = 200
    ) -> Sequence[Experiment]:
        asked = {"project": project_id, "name": name, "id": number, "limit": limit}
        return [Experiment(**row) for row in await self._db.rows(_SELECT, asked)]
