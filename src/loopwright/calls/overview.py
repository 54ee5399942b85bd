"""Totals, series and groups from the roll-ups; raw calls are never read here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, TypedDict

from loopwright.calls.histogram import quantiles
from loopwright.calls.question import (
    CallFilter,
    Counts,
    Dimension,
    Group,
    Hour,
    Overview,
    Point,
    Series,
    Spread,
    Summary,
    TargetGroup,
)
from loopwright.calls.rollup import ALL_KEYS, COUNTERS, DAY, FINE_DAYS, FIVE_MINUTES, HISTOGRAMS, HOUR
from loopwright.core.errors import BadRequest
from loopwright.kit.db import Database

_STEPS: Final = (
    *(minutes * 60 for minutes in (5, 10, 15, 30, 60, 120, 180, 360, 720)),
    *(days * 86_400 for days in (1, 2, 7, 14, 28, 91, 364)),
)
_MOST_POINTS: Final = 1000
_LONG: Final = timedelta(days=14)
"""A longer time is answered in whole days (UTC)."""
_SHARES: Final = (0.5, 0.95, 0.99)
_SUMS: Final = ", ".join(f"sum(r.{name})::bigint as {name}" for name in COUNTERS)
_LAID: Final = ", ".join(f"string_agg(r.{name}, ''::bytea) as {name}" for name in HISTOGRAMS)
_NAMES: Final[Mapping[Dimension, str]] = {
    "model": "s.model",
    "key": "r.key_id",
    "task": "s.task",
    "variant": "s.variant",
    "prompt_version": "s.prompt_version",
    "target": "s.target",
    "provider": "s.provider",
    "operation": "s.operation",
}


class _Measures(TypedDict):
    counts: Counts
    latency: Spread
    ttft: Spread
    tpot: Spread


@dataclass(frozen=True, slots=True)
class _Span:
    """A time in whole buckets of one of the tables."""

    table: str
    width: int
    since: int
    until: int
    """Unix seconds; exclusive."""


async def summary(db: Database, asked: CallFilter) -> Summary:
    """See `Calls.summary`."""
    span = _span(asked)
    row = await db.row(f"select {_SUMS}, {_LAID} {_from(span)}", _params(asked, span))
    return Summary(since=_moment(span.since), until=_moment(span.until), **_measures(row or {}))


async def series(db: Database, asked: CallFilter, points: int) -> Series:
    """See `Calls.series`."""
    span = _span(asked)
    step = _step(span, points)
    rows = await db.rows(
        f"""select (extract(epoch from r.bucket)::bigint / %(step)s) as step, {_SUMS}, {_LAID} {_from(span)}
            group by 1""",  # noqa: S608
        _params(asked, span) | {"step": step},
    )
    return _series(span, step, {row["step"]: row for row in rows})


async def overview(db: Database, asked: CallFilter, points: int, dimension: Dimension) -> Overview:
    """See `Calls.overview`: one reading of the roll-ups, where a summary, a series and groups would be three."""
    name = _name(dimension)
    span = _span(asked)
    step = _step(span, points)
    rows = await db.rows(
        f"""select (extract(epoch from r.bucket)::bigint / %(step)s) as step, {name} as name, {_SUMS}, {_LAID}
            {_from(span, by_key=dimension == "key")} group by 1, 2""",  # noqa: S608
        _params(asked, span) | {"step": step},
    )
    by_step: dict[int, list[dict[str, Any]]] = {}
    by_name: dict[str | int | None, list[dict[str, Any]]] = {}
    for row in rows:
        by_step.setdefault(row["step"], []).append(row)
        by_name.setdefault(row["name"], []).append(row)
    groups = [Group(name=each, **_measures(_together(found))) for each, found in by_name.items()]
    return Overview(
        summary=Summary(since=_moment(span.since), until=_moment(span.until), **_measures(_together(rows))),
        series=_series(span, step, {number: _together(found) for number, found in by_step.items()}),
        groups=tuple(sorted(groups, key=lambda group: (-group.counts.requests, str(group.name)))),
    )


async def by(db: Database, dimension: Dimension, asked: CallFilter) -> list[Group]:
    """See `Calls.by`."""
    name = _name(dimension)
    span = _span(asked)
    rows = await db.rows(
        f"""select {name} as name, {_SUMS}, {_LAID} {_from(span, by_key=dimension == "key")}
            group by 1 order by requests desc, name""",
        _params(asked, span),
    )
    return [Group(name=row["name"], **_measures(row)) for row in rows]


async def targets(db: Database, asked: CallFilter, names: Mapping[str, str]) -> list[TargetGroup]:
    """See `Calls.targets`. Of hours, whose rows are a twelfth of those of five minutes."""
    until = asked.until or datetime.now(UTC) + timedelta(seconds=1)
    since = asked.since or until - timedelta(days=1)
    if until - since > _LONG:
        raise BadRequest(f"targets are shown by the hour, of at most {_LONG.days} days", param="since")
    span = _Span(
        "call_rollups_1h", HOUR, int(since.timestamp()) // HOUR * HOUR, -(-int(until.timestamp()) // HOUR) * HOUR
    )
    rows = await db.rows(
        f"""select s.model, s.provider, s.target, extract(epoch from r.bucket)::bigint as step, {_SUMS}, {_LAID}
            {_from(span)} and s.model = any(%(names)s::text[]) group by 1, 2, 3, 4 order by 1, 2, 3, 4""",  # noqa: S608
        _params(asked, span) | {"names": list(names)},
    )
    by_target: dict[tuple[str, str, str], dict[int, list[dict[str, Any]]]] = {}
    for row in rows:
        hours_of = by_target.setdefault((names[row["model"]], row["provider"], row["target"]), {})
        hours_of.setdefault(row["step"], []).append(row)
    return [
        _target(model, provider, target, found, range(span.since, span.until, HOUR))
        for (model, provider, target), found in by_target.items()
    ]


def _target(
    model: str, provider: str, target: str, found: Mapping[int, Sequence[dict[str, Any]]], hours: Sequence[int]
) -> TargetGroup:
    whole = _together([row for rows in found.values() for row in rows])
    measure: Literal["ttft", "latency"] = "ttft" if whole["ttft"] else "latency"
    by_hour = []
    for hour in hours:
        rows = found.get(hour, ())
        by_hour.append(
            Hour(
                at=_moment(hour),
                requests=sum(row["requests"] for row in rows),
                errors=sum(row["errors"] + row["interrupted"] for row in rows),
                # One histogram an hour, not three: they are most of the work.
                speed=_spread(b"".join(bytes(row[measure] or b"") for row in rows)),
            )
        )
    return TargetGroup(
        model=model, provider=provider, target=target, measure=measure, hours=tuple(by_hour), **_measures(whole)
    )


def _name(dimension: Dimension) -> str:
    name = _NAMES.get(dimension)
    if name is None:
        raise BadRequest(f"there is no dimension {dimension!r}: use one of {', '.join(_NAMES)}", param="dimension")
    return name


def _step(span: _Span, points: int) -> int:
    """Seconds of a step of a round length, of which `span` has about `points` at most."""
    if not 1 <= points <= _MOST_POINTS:
        raise BadRequest(f"points must be from 1 to {_MOST_POINTS}, not {points}", param="points")
    exact = (span.until - span.since) / points
    return next((step for step in _STEPS if step >= max(exact, span.width)), _STEPS[-1])


def _series(span: _Span, step: int, by_step: Mapping[int, Mapping[str, Any]]) -> Series:
    first, last = span.since // step, -(-span.until // step)
    return Series(
        step_seconds=step,
        points=tuple(
            Point(at=_moment(number * step), **_measures(by_step.get(number, {}))) for number in range(first, last)
        ),
    )


def _together(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Several rows as one: histograms laid end to end are their sum."""
    return {name: sum(row[name] for row in rows) for name in COUNTERS} | {
        name: b"".join(bytes(row[name] or b"") for row in rows) for name in HISTOGRAMS
    }


def _from(span: _Span, *, by_key: bool = False) -> str:
    keys = "coalesce(%(key)s::int, r.key_id) = r.key_id and r.key_id >= 0" if by_key else "r.key_id = %(key_or_all)s"
    return f"""
        from {span.table} r join call_series s on s.id = r.series_id
        where {keys} and r.bucket >= to_timestamp(%(since)s) and r.bucket < to_timestamp(%(until)s)
          and (%(project)s::int is null or s.project_id = %(project)s)
          and (%(model)s::text is null or s.model = %(model)s) and (%(task)s::text is null or s.task = %(task)s)
    """


def _params(asked: CallFilter, span: _Span) -> dict[str, Any]:
    return {
        "key": asked.key_id,
        "key_or_all": ALL_KEYS if asked.key_id is None else asked.key_id,
        "since": span.since,
        "until": span.until,
        "project": asked.project_id,
        "model": asked.model,
        "task": asked.task,
    }


def _span(asked: CallFilter) -> _Span:
    now = datetime.now(UTC)
    until = asked.until or now + timedelta(seconds=1)
    since = asked.since or until - timedelta(days=1)
    fine_from = (now - timedelta(days=FINE_DAYS - 1)).replace(hour=0, minute=0, second=0, microsecond=0)
    if until - since > _LONG:
        table, width = "call_rollups_1d", DAY
    elif since >= fine_from:
        table, width = "call_rollups_5m", FIVE_MINUTES
    else:
        table, width = "call_rollups_1h", HOUR
    first = int(since.timestamp()) // width * width
    return _Span(table, width, first, max(-(-int(until.timestamp()) // width) * width, first + width))


def _measures(row: Mapping[str, Any]) -> _Measures:
    return _Measures(
        counts=Counts(**{name: row.get(name) or 0 for name in COUNTERS}),
        latency=_spread(row.get("latency")),
        ttft=_spread(row.get("ttft")),
        tpot=_spread(row.get("tpot")),
    )


def _spread(stored: bytes | None) -> Spread:
    p50, p95, p99 = quantiles(bytes(stored or b""), _SHARES)
    return Spread(p50=p50, p95=p95, p99=p99)


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
