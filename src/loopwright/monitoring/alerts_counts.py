"""What the roll-ups of calls hold of some time, a row for each step and series. Knows nothing of objectives or alerts."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, Literal

from psycopg.rows import tuple_row

from loopwright.calls.rollup import ALL_KEYS
from loopwright.kit.db import Database

Step = Literal["5m", "1h", "1d"]
HISTOGRAMS: Final = ("latency", "ttft", "tpot")
_SUMS: Final = (
    "requests", "errors", "refused", "cancelled", "interrupted", "unpriced", "input_tokens", "output_tokens",
    "cost_nano",
)  # fmt: skip
Group = tuple[int, tuple[str, ...]]
"""A project, and what its calls have in common, in the order in which that was asked for."""


@dataclass(frozen=True, slots=True)
class Series:
    """What many calls have in common."""

    id: int
    project_id: int
    model: str
    target: str
    provider: str
    task: str | None
    variant: str | None
    prompt_version: str | None


@dataclass(frozen=True, slots=True)
class Row:
    """The calls of one series that began within one step."""

    at: int
    """Unix seconds at which the step begins."""
    series: Series
    requests: int
    errors: int
    refused: int
    cancelled: int
    interrupted: int
    unpriced: int
    input_tokens: int
    output_tokens: int
    cost_nano: int
    latency: bytes
    ttft: bytes
    tpot: bytes

    @property
    def answerable(self) -> int:
        """Calls that could have been answered: neither refused as the caller's fault nor hung up."""
        return self.requests - self.refused - self.cancelled

    @property
    def failed(self) -> int:
        """Calls that we or an upstream failed."""
        return self.errors + self.interrupted


@dataclass(frozen=True, slots=True)
class Scored:
    """The scores of one name that calls of one series got within one step."""

    at: int
    series: Series
    name: str
    judged: int
    failed: int
    valued: int
    mean: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Which calls something speaks of, and what it holds apart."""

    project: str | None
    model: str | None
    task: str | None
    by: tuple[str, ...]


class Counts:
    """Reads roll-ups. Every method raises `Unavailable` while the database cannot answer."""

    __slots__ = ("_db", "_project_id", "_series", "projects")

    def __init__(self, db: Database, *, project_id: int | None = None) -> None:
        """Of one project, or of all."""
        self._db = db
        self._project_id = project_id
        self._series: dict[int, Series] = {}
        self.projects: dict[int, str] = {}
        """Names by id, as last read."""

    async def rows(
        self, step: Step, since: int, until: int | None = None, *, histograms: Collection[str] = ()
    ) -> list[Row]:
        """Rows of steps that begin from `since` (Unix seconds) and before `until`; `histograms` only as named."""
        columns = ", ".join(
            [f"r.{name}" for name in _SUMS]
            + [f"r.{name}" if name in histograms else f"''::bytea as {name}" for name in HISTOGRAMS]
        )
        statement = f"""select r.series_id, extract(epoch from r.bucket)::bigint, {columns}
            from call_rollups_{step} r
            where r.key_id = %s and r.bucket >= to_timestamp(%s)
              and (%s::bigint is null or r.bucket < to_timestamp(%s)) {self._own("r.series_id")}"""  # noqa: S608
        # Tuples: these are most of what looking costs.
        async with self._db.transaction() as connection:
            cursor = connection.cursor(row_factory=tuple_row)
            await cursor.execute(statement.encode(), (ALL_KEYS, since, until, until))
            found = await cursor.fetchall()
        await self.learn({row[0] for row in found})
        known = self._series
        return [Row(row[1], known[row[0]], *row[2:]) for row in found if row[0] in known]

    async def scores(self, step: Step, since: int, until: int | None = None, *, names: Collection[str]) -> list[Scored]:
        """Scores of `names`, likewise."""
        found = await self._db.rows(
            f"""select extract(epoch from bucket)::bigint as at, series_id, name, sum(judged)::bigint as judged,
                    sum(failed)::bigint as failed, sum(valued)::bigint as valued, sum(wx) / nullif(sum(w), 0) as mean
                from score_rollups_{step}
                where name = any(%s) and bucket >= to_timestamp(%s)
                  and (%s::bigint is null or bucket < to_timestamp(%s)) {self._own("series_id")}
                group by 1, 2, 3""",  # noqa: S608
            (list(names), since, until, until),
        )
        await self.learn(row["series_id"] for row in found)
        return [
            Scored(
                row["at"], self._series[row["series_id"]], row["name"], row["judged"], row["failed"], row["valued"],
                row["mean"],
            )
            for row in found
            if row["series_id"] in self._series
        ]  # fmt: skip

    def _own(self, column: str) -> str:
        if self._project_id is None:
            return ""
        return f"and {column} in (select id from call_series where project_id = {int(self._project_id)})"  # noqa: S608

    async def learn_projects(self) -> None:
        """Read the names of projects again."""
        found = await self._db.rows("select id, name from projects")
        self.projects = {row["id"]: row["name"] for row in found}

    def group(self, series: Series, where: Where) -> Group | None:
        """The group that the calls of a series count in; None when they are not meant."""
        if where.model is not None and series.model != where.model:
            return None
        if where.task is not None and series.task != where.task:
            return None
        if where.project is not None and self.projects.get(series.project_id) != where.project:
            return None
        return series.project_id, tuple(str(getattr(series, name) or "") for name in where.by)

    def group_of(self, series_id: int, where: Where) -> Group | None:
        """As `group`, of a series that was learnt."""
        series = self._series.get(series_id)
        return None if series is None else self.group(series, where)

    def series_of(self, group: Group, where: Where) -> list[int]:
        """The ids of the series that count in a group, of those seen so far."""
        return [each.id for each in self._series.values() if self.group(each, where) == group]

    async def learn(self, ids: Iterable[int]) -> None:
        """Read what is not known yet of these series."""
        missing = set(ids) - self._series.keys()
        if not missing:
            return
        await self.learn_projects()
        found = await self._db.rows(
            """select id, project_id, model, target, provider, task, variant, prompt_version
               from call_series where id = any(%s::int[])""",
            (list(missing),),
        )
        self._series |= {row["id"]: Series(**row) for row in found}
