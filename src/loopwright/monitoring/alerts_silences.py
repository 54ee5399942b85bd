"""Silences: alerts of which nobody is told for a while, matched by their labels. They are raised and shown all the same."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Final

from psycopg.types.json import Jsonb

from loopwright.core.errors import BadRequest, NotFound
from loopwright.kit.db import Connection, Database, plain

_LONGEST: Final = timedelta(days=366)
_LABEL: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_MOST_MATCHERS: Final = 10
_LONGEST_PATTERN: Final = 200
_MOST: Final = 500
_COLUMNS: Final = "id, project_id, matchers, reason, made_by, starts_at, ends_at"


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """What is not to be told, and until when."""

    id: int
    project_id: int | None
    """None: of every project."""
    matchers: Mapping[str, str]
    """Label to pattern, in which `*` stands for any text: all must match."""
    reason: str
    made_by: str
    starts_at: datetime
    ends_at: datetime

    def covers(self, project_id: int | None, labels: Mapping[str, str]) -> bool:
        """Whether an alert is not to be told."""
        return (self.project_id is None or self.project_id == project_id) and matches(self.matchers, labels)


def matches(patterns: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether each pattern fits the label of its name; what has no such label fits none."""
    return all(name in labels and fnmatchcase(labels[name], _literal(pattern)) for name, pattern in patterns.items())


def _literal(pattern: str) -> str:
    # Only * is special: names of models hold brackets and question marks.
    return pattern.replace("[", "[[]").replace("?", "[?]")


class Silences:
    """Silences in the database. Every method raises `Unavailable` while it cannot answer."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def add(
        self, project_id: int | None, matchers: Mapping[str, str], *, seconds: float, reason: str, by: str
    ) -> Silence:
        """Tell nobody for so many seconds.

        Raises:
            BadRequest: no matchers, too many, too long ones, or more than a year.
        """
        if not 1 <= len(matchers) <= _MOST_MATCHERS:
            raise BadRequest(f"matchers: name 1 to {_MOST_MATCHERS} labels, as in model=gpt-*", param="matchers")
        for name, pattern in matchers.items():
            if _LABEL.fullmatch(name) is None or not 1 <= len(pattern) <= _LONGEST_PATTERN:
                raise BadRequest(
                    f"matchers: a label has up to 64 letters, digits, _ and -, a pattern 1 to {_LONGEST_PATTERN} characters",
                    param="matchers",
                )
            if pattern.count("*") > _MOST_MATCHERS:
                raise BadRequest(f"matchers: a pattern has up to {_MOST_MATCHERS} stars", param="matchers")
        if not 1 <= seconds <= _LONGEST.total_seconds():
            raise BadRequest("until: from a second to a year from now", param="until")
        row = await self._db.row(
            f"""insert into alert_silences (project_id, matchers, reason, made_by, ends_at)
                values (%s, %s, %s, %s, now() + make_interval(secs => %s)) returning {_COLUMNS}""",  # noqa: S608
            (
                project_id,
                Jsonb({plain(name): plain(pattern) for name, pattern in matchers.items()}),
                plain(reason, 500),
                plain(by),
                seconds,
            ),
        )
        assert row is not None
        return Silence(**row)

    async def list(self, *, project_id: int | None, ended: bool = False) -> list[Silence]:
        """Silences that hold, or also those that have ended; those that end last first."""
        return await _read(self._db, project_id=project_id, ended=ended)

    async def end(self, silence_id: int, *, project_id: int | None) -> Silence:
        """End one now; what still fires is told. A project cannot end a silence of all projects.

        Raises:
            NotFound: there is no such silence that holds.
        """
        row = await self._db.row(
            f"""update alert_silences set ends_at = now() where id = %s and ends_at > now()
                and (%s::int is null or project_id = %s) returning {_COLUMNS}""",  # noqa: S608
            (silence_id, project_id, project_id),
        )
        if row is None:
            raise NotFound(f"there is no silence {silence_id} that holds: `loopwright alerts silences` shows them")
        return Silence(**row)


async def holding(connection: Connection) -> Sequence[Silence]:
    """All that hold now, within a transaction."""
    cursor = await connection.execute(f"select {_COLUMNS} from alert_silences where ends_at > now()".encode())  # noqa: S608
    rows: Sequence[dict[str, Any]] = await cursor.fetchall()
    return [Silence(**row) for row in rows]


async def _read(db: Database, *, project_id: int | None, ended: bool) -> list[Silence]:
    rows = await db.rows(
        f"""select {_COLUMNS} from alert_silences
            where (%s or ends_at > now()) and (%s::int is null or project_id is null or project_id = %s)
            order by ends_at desc, id desc limit %s""",  # noqa: S608
        (ended, project_id, project_id, _MOST),
    )
    return [Silence(**row) for row in rows]
