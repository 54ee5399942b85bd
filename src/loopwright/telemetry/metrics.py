"""Points of metrics that programs send: kept in small numbers, the newest, to be shown. Nothing of them is counted elsewhere.

Tokens that a program reports as a metric are those of calls that its spans report one by one: to count both would be to
count twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final

from psycopg.types.json import Jsonb

from loopwright.core.errors import NotFound
from loopwright.kit.db import Database, plain
from loopwright.telemetry.taking import Terms
from loopwright.telemetry.wire import Decoded, Source, WirePoint

MOST_SERIES: Final = 5_000
"""Of one project."""
_ATTRIBUTES: Final = 32
_TEXT: Final = 200
_BUCKETS: Final = 400
_TIDY: Final = 300.0
"""Seconds between two looks at how many points a project has."""
_ADD_SERIES: Final = """
    insert into metric_series (project_id, name, kind, unit, service, attributes, digest)
    select * from unnest(%s::int[], %s::text[], %s::text[], %s::text[], %s::text[], %s::jsonb[], %s::bytea[])
    on conflict do nothing
"""
_ADD_POINTS: Final = """
    insert into metric_points (series_id, at, value, count, shape)
    select * from unnest(%s::int[], %s::timestamptz[], %s::float8[], %s::bigint[], %s::jsonb[])
    on conflict (series_id, at) do update set value = excluded.value, count = excluded.count, shape = excluded.shape
"""
_TIDYING: Final = """
    delete from metric_points p using (
        select p.series_id, p.at from metric_points p join metric_series s on s.id = p.series_id
        where s.project_id = %s order by p.at desc offset %s
    ) old where p.series_id = old.series_id and p.at = old.at
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Points of one metric with the same attributes."""

    id: int
    name: str
    kind: str
    """gauge, sum, histogram, exponential, summary."""
    unit: str
    service: str
    attributes: Mapping[str, Any]
    points: int
    last_at: datetime | None
    last_value: float | None
    last_count: int | None

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "id": self.id,
            "name": self.name,
            "kind": self.kind,
            "unit": self.unit,
            "service": self.service,
            "attributes": dict(self.attributes),
            "points": self.points,
            "last_at": None if self.last_at is None else self.last_at.isoformat(),
            "last_value": self.last_value,
            "last_count": self.last_count,
        }


@dataclass(frozen=True, slots=True)
class _Line:
    source: Source
    point: WirePoint
    attributes: dict[str, Any]
    digest: bytes
    at: datetime


@dataclass(slots=True)
class Metrics:
    """Metrics of all projects."""

    db: Database
    most: int = 200_000
    """Points of one project."""
    _tidied: dict[int, float] = field(default_factory=dict)

    async def put(self, decoded: Decoded[WirePoint], terms: Terms) -> int:
        """Store points, each once however often it comes; how many. Those that cannot be kept are refused in `decoded`.

        Raises:
            Unavailable: the database cannot answer now. Sending them again does no harm.
        """
        project_id = terms.who.project_id
        lines = list({(line.digest, line.at): line for line in _lines(decoded, terms)}.values())
        if not lines:
            return 0
        known = await self._numbers(project_id, lines)
        kept = [line for line in lines if line.digest in known]
        if len(kept) < len(lines):
            decoded.refuse(f"more than {MOST_SERIES:,} series of metrics in a project", len(lines) - len(kept))
        if kept:
            await self.db.run(
                _ADD_POINTS,
                (
                    [known[line.digest] for line in kept],
                    [line.at for line in kept],
                    [line.point.value for line in kept],
                    [line.point.count for line in kept],
                    [None if line.point.shape is None else Jsonb(line.point.shape) for line in kept],
                ),
            )
        await self._tidy(project_id)
        return len(kept)

    async def series(self, project_id: int | None, *, name: str | None = None, limit: int = 500) -> list[Series]:
        """Series by name, each with its newest point."""
        rows = await self.db.rows(
            """select s.*, n.points, p.at, p.value, p.count from metric_series s
               join lateral (select count(*) as points, max(at) as last from metric_points where series_id = s.id) n on true
               left join metric_points p on p.series_id = s.id and p.at = n.last
               where (%s::int is null or s.project_id = %s) and (%s::text is null or s.name = %s)
               order by s.name, s.service, s.id limit %s""",
            (project_id, project_id, name, name, limit),
        )
        return [_series_of(row) for row in rows]

    async def points(self, series_id: int, project_id: int | None, *, limit: int = 1_000) -> list[dict[str, Any]]:
        """The newest points of a series, oldest first.

        Raises:
            NotFound: there is no such series.
        """
        found = await self.db.row(
            "select 1 from metric_series where id = %s and (%s::int is null or project_id = %s)",
            (series_id, project_id, project_id),
        )
        if found is None:
            raise NotFound(f"there is no series {series_id}")
        rows = await self.db.rows(
            "select at, value, count, shape from metric_points where series_id = %s order by at desc limit %s",
            (series_id, limit),
        )
        return [{**row, "at": row["at"].astimezone(UTC).isoformat()} for row in reversed(rows)]

    async def newest(self, series: Sequence[int], *, limit: int) -> dict[int, list[dict[str, Any]]]:
        """The newest points of several series, oldest first; of those that are the caller's to see."""
        rows = await self.db.rows(
            """select p.* from unnest(%s::int[]) w (id) cross join lateral (
                   select series_id, at, value, count from metric_points where series_id = w.id order by at desc limit %s) p
               order by p.series_id, p.at""",
            (list(series), limit),
        )
        found: dict[int, list[dict[str, Any]]] = {each: [] for each in series}
        for row in rows:
            found[row["series_id"]].append(row)
        return found

    async def _numbers(self, project_id: int, lines: Sequence[_Line]) -> dict[bytes, int]:
        """Series of points by their digest; of one that has no room there is none."""
        wanted = {line.digest: line for line in lines}
        known = await self._find(project_id, list(wanted))
        missing = [line for digest, line in wanted.items() if digest not in known]
        if not missing:
            return known
        row = await self.db.row("select count(*) as series from metric_series where project_id = %s", (project_id,))
        missing = missing[: max(MOST_SERIES - (row["series"] if row else 0), 0)]
        if missing:
            await self.db.run(
                _ADD_SERIES,
                (
                    [project_id] * len(missing),
                    [plain(line.point.name) for line in missing],
                    [line.point.kind for line in missing],
                    [plain(line.point.unit) for line in missing],
                    [plain(line.source.service) for line in missing],
                    [Jsonb(line.attributes) for line in missing],
                    [line.digest for line in missing],
                ),
            )
            known |= await self._find(project_id, [line.digest for line in missing])
        return known

    async def _find(self, project_id: int, digests: Sequence[bytes]) -> dict[bytes, int]:
        rows = await self.db.rows(
            "select id, digest from metric_series where project_id = %s and digest = any(%s)",
            (project_id, list(digests)),
        )
        return {bytes(row["digest"]): row["id"] for row in rows}

    async def _tidy(self, project_id: int) -> None:
        now = time.monotonic()
        if now - self._tidied.get(project_id, -_TIDY) < _TIDY:
            return
        self._tidied[project_id] = now
        await self.db.run(_TIDYING, (project_id, self.most))


def _lines(decoded: Decoded[WirePoint], terms: Terms) -> Iterable[_Line]:
    now = time.time_ns()
    for source, points in decoded.groups:
        for point in points:
            at = point.at or now
            if not terms.oldest_ns <= at <= terms.latest_ns:
                decoded.refuse("a point is from the future, or older than calls are kept")
                continue
            if _oversized(point):
                decoded.refuse(f"a point has more than {_BUCKETS} buckets, or a number beyond 64 bits")
                continue
            attributes = {
                plain(name, 100): plain(value, _TEXT) if isinstance(value, str) else value
                for name, value in list(point.attributes.items())[:_ATTRIBUTES]
                if isinstance(value, str | int | float | bool)
            }
            said = json.dumps([point.name, point.kind, point.unit, source.service, attributes], sort_keys=True)
            digest = blake2b(said.encode("utf-8", "replace"), digest_size=16).digest()
            yield _Line(source, point, attributes, digest, datetime.fromtimestamp(at / 1e9, UTC))


def _oversized(point: WirePoint) -> bool:
    if point.count is not None and not 0 <= point.count < 2**63:
        return True
    lists = [value for value in (point.shape or {}).values() if isinstance(value, list)]
    return any(
        len(each) > _BUCKETS or any(isinstance(part, list) and len(part) > _BUCKETS for part in each) for each in lists
    )


def _series_of(row: Mapping[str, Any]) -> Series:
    return Series(
        id=row["id"],
        name=row["name"],
        kind=row["kind"],
        unit=row["unit"],
        service=row["service"],
        attributes=row["attributes"],
        points=row["points"],
        last_at=row["at"],
        last_value=row["value"],
        last_count=row["count"],
    )
