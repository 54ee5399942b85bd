"""Dashboards that people keep: which measures of which calls, split by what, beside which earlier time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from psycopg.types.json import Jsonb

from loopwright.calls.charted import Asked, back_of
from loopwright.calls.measures import measure_of
from loopwright.calls.question import MOST_TAGS
from loopwright.calls.reading import checked_split
from loopwright.core.errors import BadRequest, Conflict, NotFound
from loopwright.kit.db import Database
from loopwright.kit.nearest import hint

MOST_PANELS: Final = 24
MOST_KEPT: Final = 200
"""Dashboards of a project."""
RANGES: Final = ("1h", "6h", "24h", "7d", "30d")
FIELDS: Final = (
    "model", "provider", "target", "operation", "task", "variant", "prompt_version", "key", "tag", "client", "session",
    "outcome", "error_code", "without", "min_cost_usd", "min_latency_ms",
)  # fmt: skip
"""Which calls: names of parameters of `GET /api/calls`; of tags there may be several."""
TERMS: Final = "latency"
"""A panel of its own: time to the first token, and the time of those after it, beside the whole."""
_SCORE: Final = re.compile(r"score:.{1,200}")
_LONGEST: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One chart of a dashboard."""

    measure: str
    """A measure, `latency`, or `score:NAME`."""
    split: str | None
    """None: what the dashboard is split by."""

    @property
    def text(self) -> str:
        """As it is written."""
        return self.measure if self.split is None else f"{self.measure}@{self.split}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What a dashboard shows."""

    panels: tuple[str, ...]
    range: str | None = None
    split: str | None = None
    compare: str | None = None
    filter: Mapping[str, Asked]

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "panels": list(self.panels)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """A definition under a name of its project."""

    name: str
    project_id: int
    definition: Definition
    made_by: str
    changed_at: datetime


def panel_of(text: str) -> Panel:
    """A panel as it is written: `cost`, `cost@tag:team`.

    Raises:
        BadRequest: there is no such measure or dimension.
    """
    name, at, split = text.partition("@")
    if name != TERMS and not _SCORE.fullmatch(name):
        measure_of(name)
    return Panel(measure=name, split=checked_split(split) if at else None)


def checked(told: Mapping[str, Any]) -> Definition:
    """A definition from JSON.

    Raises:
        BadRequest: it is none.
    """
    panels = told.get("panels")
    if not isinstance(panels, list) or not 1 <= len(panels) <= MOST_PANELS:
        raise BadRequest(f"panels: name 1 to {MOST_PANELS}", param="panels")
    for panel in panels:
        if not isinstance(panel, str):
            raise BadRequest("panels are measures: MEASURE or MEASURE@DIMENSION", param="panels")
        panel_of(panel)
    if told.get("range") not in (None, *RANGES):
        raise BadRequest(f"range: {str(told['range'])[:40]!r} is none of {', '.join(RANGES)}", param="range")
    split, compare, which = told.get("split"), told.get("compare"), told.get("filter") or {}
    if split is not None:
        checked_split(str(split))
    if compare is not None:
        back_of(str(compare))
    if not isinstance(which, dict):
        raise BadRequest("filter is an object of names and values", param="filter")
    for name, value in which.items():
        _check_field(str(name), value)
    return Definition(panels=tuple(panels), range=told.get("range"), split=split, compare=compare, filter=dict(which))


def _check_field(name: str, value: object) -> None:
    if name not in FIELDS:
        raise BadRequest(f"filter: there is no {name[:80]!r}{hint(name[:80], FIELDS)}", param="filter")
    values = value if name == "tag" and isinstance(value, list) else [value]
    if not 0 < len(values) <= MOST_TAGS:
        raise BadRequest(f"filter: {name} is one to {MOST_TAGS} of them", param="filter")
    for each in values:
        if not isinstance(each, str) or not 0 < len(each) <= _LONGEST or "\x00" in each:
            raise BadRequest(f"filter: {name} is a text of at most {_LONGEST} characters", param="filter")


class Dashboards:
    """Kept by project. Every method raises `Unavailable` while the database cannot answer."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list(self, project_id: int | None) -> list[Dashboard]:
        """By name; None is every project's."""
        rows = await self._db.rows(
            """select * from dashboards where %(project)s::int is null or project_id = %(project)s
               order by name, project_id limit 1000""",
            {"project": project_id},
        )
        return [_of(row) for row in rows]

    async def get(self, project_id: int, name: str) -> Dashboard:
        """One of them.

        Raises:
            NotFound: there is none.
        """
        row = await self._db.row(
            "select * from dashboards where project_id = %s and name = %s", (project_id, name.replace("\x00", ""))
        )
        if row is None:
            known = [each.name for each in await self.list(project_id)]
            raise NotFound(f"there is no dashboard {name[:100]!r}{hint(name[:100], known)}")
        return _of(row)

    async def put(self, project_id: int, name: str, definition: Definition, *, by: str) -> Dashboard:
        """Keep it, in place of the one of that name.

        Raises:
            BadRequest: the name is empty, longer than 100 characters or holds a control character.
            Conflict: there are as many as there may be.
        """
        name = name.strip()
        if not 1 <= len(name) <= 100 or not name.isprintable():
            raise BadRequest("a dashboard's name is 1 to 100 printable characters", param="name")
        row = await self._db.row(
            """insert into dashboards (project_id, name, definition, made_by)
               select %(project)s, %(name)s, %(definition)s, %(by)s
               where (select count(*) from dashboards where project_id = %(project)s and name <> %(name)s) < %(most)s
               on conflict (project_id, name) do update
                   set definition = excluded.definition, made_by = excluded.made_by, changed_at = now()
               returning *""",
            {
                "project": project_id,
                "name": name,
                "definition": Jsonb(definition.shown()),
                "by": by,
                "most": MOST_KEPT,
            },
        )
        if row is None:
            raise Conflict(f"a project keeps at most {MOST_KEPT} dashboards: delete one")
        return _of(row)

    async def delete(self, project_id: int, name: str) -> None:
        """Forget it.

        Raises:
            NotFound: there is none.
        """
        await self.get(project_id, name)
        await self._db.run(
            "delete from dashboards where project_id = %s and name = %s", (project_id, name.replace("\x00", ""))
        )


def _of(row: Mapping[str, Any]) -> Dashboard:
    told = row["definition"]
    return Dashboard(
        name=row["name"],
        project_id=row["project_id"],
        definition=Definition(
            panels=tuple(told["panels"]),
            range=told["range"],
            split=told["split"],
            compare=told["compare"],
            filter=told["filter"],
        ),
        made_by=row["made_by"],
        changed_at=row["changed_at"],
    )


DEFAULT: Final = Definition(
    panels=(
        "requests@outcome", "failed@error_code", "latency", "ttft_p95", "tokens", "cost", "cache_rate", "saved",
    ),
    range="24h",
    filter={},
)  # fmt: skip
"""What is shown where nothing else was asked."""
