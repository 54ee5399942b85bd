"""Totals, series and groups: from roll-ups, or from calls where those do not tell (see reading.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, TypedDict

from loopwright.calls.histogram import quantiles
from loopwright.calls.question import (
    CallFilter,
    Counts,
    Group,
    Hour,
    Overview,
    Point,
    Series,
    Spread,
    Summary,
    TargetGroup,
)
from loopwright.calls.reading import SUMS, Span, laid, reading
from loopwright.calls.rollup import ALL_KEYS, COUNTERS, HISTOGRAMS, HOUR
from loopwright.calls.rows import OUTCOMES
from loopwright.calls.series import series_sql
from loopwright.core.errors import BadRequest
from loopwright.kit.db import Database

_STEPS: Final = (
    *(1, 2, 5, 10, 15, 30),
    *(minutes * 60 for minutes in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720)),
    *(days * 86_400 for days in (1, 2, 7, 14, 28, 91, 364)),
)
_MOST_POINTS: Final = 1000
_SHARES: Final = (0.5, 0.95, 0.99)
_WEEKS: Final = timedelta(days=14)
STEP: Final = "(floor(date_part('epoch', r.bucket))::bigint / %(step)s)"
"""The number of a row's step."""


class _Measures(TypedDict):
    counts: Counts
    latency: Spread
    ttft: Spread
    tpot: Spread


async def summary(db: Database, asked: CallFilter) -> Summary:
    """See `Calls.summary`."""
    found = await reading(db, asked)
    row = await db.row(f"select {SUMS}{laid()} {found.rows}", found.params)
    return Summary(since=moment(found.span.since), until=moment(found.span.until), **_measures(row or {}))


async def series(db: Database, asked: CallFilter, points: int) -> Series:
    """See `Calls.series`."""
    found = await reading(db, asked)
    step = step_of(found.span, points)
    rows = await db.rows(
        f"select {STEP} as step, {SUMS}{laid()} {found.rows} group by 1",
        {**found.params, "step": step},
        anew=True,
    )
    return _series(found.span, step, {row["step"]: row for row in rows})


async def overview(db: Database, asked: CallFilter, points: int, dimension: str) -> Overview:
    """See `Calls.overview`: one reading of the roll-ups, where a summary, a series and groups would be three."""
    read = await reading(db, asked, dimension)
    span = read.span
    step = step_of(span, points)
    rows = await db.rows(
        f"select {STEP} as step, {read.name} as name, {SUMS}{laid()} {read.rows} group by 1, 2",
        {**read.params, "step": step},
        anew=True,
    )
    by_step: dict[int, list[dict[str, Any]]] = {}
    by_name: dict[str | int | None, list[dict[str, Any]]] = {}
    for row in rows:
        by_step.setdefault(row["step"], []).append(row)
        by_name.setdefault(row["name"], []).append(row)
    groups = [Group(name=each, **_measures(_together(found))) for each, found in by_name.items()]
    return Overview(
        summary=Summary(since=moment(span.since), until=moment(span.until), **_measures(_together(rows))),
        series=_series(span, step, {number: _together(found) for number, found in by_step.items()}),
        groups=tuple(sorted(groups, key=lambda group: (-group.counts.requests, str(group.name)))),
    )


async def by(db: Database, dimension: str, asked: CallFilter) -> list[Group]:
    """See `Calls.by`."""
    found = await reading(db, asked, dimension)
    rows = await db.rows(
        f"select {found.name} as name, {SUMS}{laid()} {found.rows} group by 1 order by requests desc, name",
        found.params,
        anew=True,
    )
    return [
        Group(name=named(dimension, row["name"]), **_measures(row))
        for row in rows
        if row["name"] is not None or not dimension.startswith("tag:")
    ]


async def targets(db: Database, asked: CallFilter, names: Mapping[str, str]) -> list[TargetGroup]:
    """See `Calls.targets`. Of hours, whose rows are a twelfth of those of five minutes."""
    until = asked.until or datetime.now(UTC) + timedelta(seconds=1)
    since = asked.since or until - timedelta(days=1)
    if until - since > _WEEKS:
        raise BadRequest(f"targets are shown by the hour, of at most {_WEEKS.days} days", param="since")
    span = Span("1h", HOUR, int(since.timestamp()) // HOUR * HOUR, -(-int(until.timestamp()) // HOUR) * HOUR)
    where, params = series_sql(asked)
    rows = await db.rows(
        f"""select s.model, s.provider, s.target, extract(epoch from r.bucket)::bigint as step, {SUMS}{laid()}
            from call_rollups_1h r join call_series s on s.id = r.series_id
            where r.key_id = %(key)s and r.bucket >= to_timestamp(%(since)s) and r.bucket < to_timestamp(%(until)s)
              and {where} and s.model = any(%(names)s::text[]) group by 1, 2, 3, 4 order by 1, 2, 3, 4""",  # noqa: S608
        params
        | {"names": list(names), "since": span.since, "until": span.until}
        | {"key": ALL_KEYS if asked.key_id is None else asked.key_id},
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
                at=moment(hour),
                requests=sum(row["requests"] for row in rows),
                errors=sum(row["errors"] + row["interrupted"] for row in rows),
                # One histogram an hour, not three: they are most of the work.
                speed=_spread(b"".join(bytes(row[measure] or b"") for row in rows)),
            )
        )
    return TargetGroup(
        model=model, provider=provider, target=target, measure=measure, hours=tuple(by_hour), **_measures(whole)
    )


def named(dimension: str, name: str | int | None) -> str | int | None:
    """What a value is called."""
    return OUTCOMES[int(name)] if dimension == "outcome" and name is not None else name


def step_of(span: Span, points: int) -> int:
    """Seconds of a step of a round length, of which `span` has about `points` at most."""
    if not 1 <= points <= _MOST_POINTS:
        raise BadRequest(f"points must be from 1 to {_MOST_POINTS}, not {points}", param="points")
    exact = (span.until - span.since) / points
    return next((step for step in _STEPS if step >= max(exact, span.width)), _STEPS[-1])


def _series(span: Span, step: int, by_step: Mapping[int, Mapping[str, Any]]) -> Series:
    first, last = span.since // step, -(-span.until // step)
    return Series(
        step_seconds=step,
        points=tuple(
            Point(at=moment(number * step), **_measures(by_step.get(number, {}))) for number in range(first, last)
        ),
    )


def _together(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Several rows as one: histograms laid end to end are their sum."""
    return {name: sum(row[name] for row in rows) for name in COUNTERS} | {
        name: b"".join(bytes(row[name] or b"") for row in rows) for name in HISTOGRAMS
    }


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


def moment(seconds: int) -> datetime:
    """Of Unix seconds, in UTC."""
    return datetime.fromtimestamp(seconds, UTC)
