"""Scores rolled up, as they are asked for: over time, by what calls have in common, and the calls behind a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

import msgspec

from loopwright.core.errors import BadRequest
from loopwright.feedback.given import Source
from loopwright.kit.db import Database
from loopwright.kit.ids import floor_of
from loopwright.monitoring.score_question import (
    DIMENSIONS,
    SUMS,
    Dimension,
    Found,
    ScoreFilter,
    ScoreGroup,
    ScorePoint,
    ScoreSeries,
    figure_of,
)
from loopwright.monitoring.score_rollups import DAY, FINE_DAYS, FIVE_MINUTES, HOUR, MADE

__all__ = ["Found", "ScoreFilter", "ScoreGroup", "ScoreSeries", "Scores"]
_LONG: Final = timedelta(days=14)
"""A longer time is answered in whole days (UTC)."""
_RAW: Final = timedelta(days=31)
"""Of what only calls know."""
_FIRST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MOST_POINTS: Final = 1000
_MOST_GROUPS: Final = 500
_STEPS: Final = (
    *(minutes * 60 for minutes in (5, 10, 15, 30, 60, 120, 180, 360, 720)),
    *(days * 86_400 for days in (1, 2, 7, 14, 28, 91, 364)),
)
_COLUMNS: Final[Mapping[str, str]] = {
    "task": "s.task", "variant": "s.variant", "model": "s.model", "target": "s.target", "provider": "s.provider",
    "operation": "s.operation", "prompt_version": "s.prompt_version",
    "key": "r.key_id", "session": "r.session", "tag": "r.tag",
}  # fmt: skip
_OF_CALLS: Final = frozenset({"key", "session", "tag"})
_SUMMED: Final = (
    ", ".join(f"sum(r.{name}) as {name}" for name in SUMS) + ", min(r.low) as low, max(r.high) as high, r.label"
)


@dataclass(frozen=True, slots=True)
class _Span:
    """A time in whole buckets of one of the tables."""

    width: int
    since: int
    until: int
    """Unix seconds; exclusive."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What is asked of scores, whoever gave them. Every method raises `Unavailable` while the database cannot answer.

    What was said of a call is in these figures some seconds later, and out of them some seconds after it was forgotten.
    """

    db: Database

    async def summary(self, asked: ScoreFilter) -> list[ScoreGroup]:
        """The figure of each score by name and source; without `since` of the last day.

        Raises:
            BadRequest: see `series`.
        """
        return await self._groups(asked, None, None)

    async def by(self, dimension: Dimension, asked: ScoreFilter, *, tag: str | None = None) -> list[ScoreGroup]:
        """The figure of each score for each value of a dimension, by name, most calls first; at most 500.

        Args:
            dimension: what calls have in common.
            asked: which scores; without `since` of the last day.
            tag: for the dimension `tag`, the name of the tag.

        Raises:
            BadRequest: there is no such dimension, a tag is not named, or see `series`.
        """
        return await self._groups(asked, dimension, tag)

    async def series(
        self, asked: ScoreFilter, *, points: int = 60, by: Dimension | None = None, tag: str | None = None
    ) -> list[ScoreSeries]:
        """Each score over time in at most about `points` steps of a round length; without `since` of the last day.

        In whole steps of five minutes since yesterday, of hours before that, of days (UTC) over more than two weeks.

        Raises:
            BadRequest: `points` is not in 1…1,000, `since` is not before `until`, or more than 31 days of what only calls
                know (key, session, tag).
        """
        if not 1 <= points <= _MOST_POINTS:
            raise BadRequest(f"points must be from 1 to {_MOST_POINTS}, not {points}", param="points")
        column = _column(by, tag)
        span, source, params = _source(asked, by, tag)
        exact = (span.until - span.since) / points
        step = next((each for each in _STEPS if each >= max(exact, span.width)), _STEPS[-1])
        rows = await self.db.rows(
            f"""select (extract(epoch from r.bucket)::bigint / %(step)s) as step, r.name, r.source, {column} as value,
                {_SUMMED} {source} group by 1, 2, 3, 4, r.label""",  # noqa: S608 - of our own words only
            params | {"step": step},
        )
        told: dict[tuple[str, str, Any], dict[int, list[Mapping[str, Any]]]] = {}
        for row in rows:
            steps = told.setdefault((row["name"], row["source"], row["value"]), {})
            steps.setdefault(row["step"], []).append(row)
        numbers = range(span.since // step, -(-span.until // step))
        return [
            ScoreSeries(
                name=name,
                source=cast("Source", source_of),
                value=value,
                step_seconds=step,
                points=tuple(
                    ScorePoint(at=_moment(number * step), figure=figure_of(found.get(number, []))) for number in numbers
                ),
            )
            for (name, source_of, value), found in sorted(told.items(), key=lambda each: tuple(map(str, each[0])))
        ]

    async def calls(
        self,
        asked: ScoreFilter,
        *,
        below: float | None = None,
        label: str | None = None,
        passed: bool | None = None,
        limit: int = 50,
    ) -> list[Found]:
        """Scores of single calls: those that failed first, of these the lowest value; without `since` of the last day.

        Args:
            asked: which scores; name one, for values of several are not alike.
            below: only values below it.
            label: only those that say this word.
            passed: only those that passed, or did not.
            limit: at most 1,000.

        Raises:
            BadRequest: see `series`; the time is at most 31 days.
        """
        if not 1 <= limit <= _MOST_POINTS:
            raise BadRequest(f"limit must be from 1 to {_MOST_POINTS}, not {limit}", param="limit")
        since, until = _times(asked)
        if until - since > _RAW:
            raise BadRequest(f"calls are shown of at most {_RAW.days} days", param="since")
        rows = await self.db.rows(
            f"""select f.call_id::text as call_id, f.name, f.source, f.value, f.label, f.passed
                from feedback_scores f join feedback_calls k on k.call_id = f.call_id
                join calls c on c.id = f.call_id join call_series s on s.id = c.series_id
                where f.call_id >= %(low)s::uuid and f.call_id < %(high)s::uuid and {_WHERE} and {_OF_SCORES} and {_BY_CALL}
                  and (%(below)s::float8 is null or f.value < %(below)s) and (%(label)s::text is null or f.label = %(label)s)
                  and (%(passed)s::boolean is null or f.passed = %(passed)s)
                order by f.passed is false desc, f.value asc nulls last, f.call_id desc limit %(limit)s""",  # noqa: S608 - of our own words only
            _params(asked)
            | {"low": floor_of(since), "high": floor_of(until), "below": below, "label": label, "passed": passed}
            | {"limit": limit},
        )
        return [Found(**row) for row in rows]

    async def of(self, call_ids: Sequence[str]) -> dict[str, list[Found]]:
        """What is said of some calls, by their ids, in order of name and source; without explanations."""
        rows = await self.db.rows(
            "select call_id::text as call_id, name, source, value, label, passed from feedback_scores"
            " where call_id = any(%s::uuid[]) order by call_id, name, source, author",
            ([*call_ids],),
        )
        told: dict[str, list[Found]] = {}
        for row in rows:
            told.setdefault(row["call_id"], []).append(Found(**row))
        return told

    async def names(self, project_id: int | None, *, task: str | None = None) -> list[str]:
        """Names of scores of the last month, in order; at most 200."""
        rows = await self.db.rows(
            """select distinct r.name from score_rollups_1d r join call_series s on s.id = r.series_id
               where r.bucket >= now() - interval '31 days' and (%(project)s::int is null or s.project_id = %(project)s)
                 and (%(task)s::text is null or s.task = %(task)s) order by 1 limit 200""",
            {"project": project_id, "task": task},
        )
        return [row["name"] for row in rows]

    async def _groups(self, asked: ScoreFilter, dimension: Dimension | None, tag: str | None) -> list[ScoreGroup]:
        column = _column(dimension, tag)
        _, source, params = _source(asked, dimension, tag)
        rows = await self.db.rows(
            f"select r.name, r.source, {column} as value, {_SUMMED} {source} group by 1, 2, 3, r.label",
            params,
        )
        told: dict[tuple[str, str, Any], list[Mapping[str, Any]]] = {}
        for row in rows:
            told.setdefault((row["name"], row["source"], row["value"]), []).append(row)
        groups = [
            ScoreGroup(name=name, source=cast("Source", by_whom), value=value, figure=figure_of(found))
            for (name, by_whom, value), found in told.items()
        ]
        groups.sort(key=lambda each: (each.name, each.source, -each.figure.calls, str(each.value)))
        return groups[:_MOST_GROUPS]


_WHERE: Final = """
    (%(project)s::int is null or s.project_id = %(project)s) and (%(task)s::text is null or s.task = %(task)s)
    and (%(variant)s::text is null or s.variant = %(variant)s) and (%(model)s::text is null or s.model = %(model)s)
    and (%(target)s::text is null or s.target = %(target)s) and (%(provider)s::text is null or s.provider = %(provider)s)
    and (%(operation)s::text is null or s.operation = %(operation)s)
    and (%(prompt_version)s::text is null or s.prompt_version = %(prompt_version)s)
"""
_OF_SCORES: Final = (
    "(%(name)s::text is null or f.name = %(name)s) and (%(source)s::text is null or f.source = %(source)s)"
)
_BY_CALL: Final = """
    (%(key)s::int is null or k.key_id = %(key)s) and (%(session)s::text is null or k.session = %(session)s)
    and k.tags @> all(%(tags)s::jsonb[])
"""


def _source(asked: ScoreFilter, dimension: Dimension | None, tag: str | None) -> tuple[_Span, str, dict[str, Any]]:
    """Rows to sum up: of roll-ups, or of single scores where only calls know what is asked."""
    single = dimension in _OF_CALLS or asked.key_id is not None or asked.session is not None or bool(asked.tags)
    since, until = _times(asked)
    if single and until - since > _RAW:
        raise BadRequest(f"by key, session or tag at most {_RAW.days} days are told", param="since")
    span = _span(since, until, fine=single)
    params = _params(asked) | {"since": span.since, "until": span.until, "tag_name": tag}
    if single:
        params |= {"low": floor_of(_moment(span.since)), "high": floor_of(_moment(span.until))}
        text = f"""from (
            select date_bin('{span.width} seconds', c.started_at, 'epoch'::timestamptz) as bucket, c.series_id, f.name,
                f.source, coalesce(f.label, '') as label, k.key_id, k.session, k.tags ->> %(tag_name)s::text as tag, {MADE}
            from feedback_scores f join feedback_calls k on k.call_id = f.call_id join calls c on c.id = f.call_id
            where f.call_id >= %(low)s::uuid and f.call_id < %(high)s::uuid and {_OF_SCORES} and {_BY_CALL}
            group by 1, 2, 3, 4, 5, 6, 7, 8) r join call_series s on s.id = r.series_id where {_WHERE}"""  # noqa: S608
        return span, text, params
    table = {FIVE_MINUTES: "score_rollups_5m", HOUR: "score_rollups_1h", DAY: "score_rollups_1d"}[span.width]
    text = f"""from {table} r join call_series s on s.id = r.series_id
        where r.bucket >= to_timestamp(%(since)s) and r.bucket < to_timestamp(%(until)s)
          and {_OF_SCORES.replace("f.", "r.")} and {_WHERE}"""
    return span, text, params


def _column(dimension: Dimension | None, tag: str | None) -> str:
    if dimension is None:
        return "null::text"
    if dimension not in _COLUMNS:
        raise BadRequest(
            f"there is no dimension {str(dimension)[:80]!r}: use one of {', '.join(DIMENSIONS)}", param="by"
        )
    if (dimension == "tag") is (tag is None):
        raise BadRequest("by tag needs the name of a tag, and only that does", param="tag")
    return _COLUMNS[dimension]


def _times(asked: ScoreFilter) -> tuple[datetime, datetime]:
    now = datetime.now(UTC)
    # Beyond these there are no calls, and moments that no table can hold.
    until = min(asked.until or now + timedelta(seconds=1), now + timedelta(days=1))
    since = max(asked.since or until - timedelta(days=1), _FIRST)
    if since >= until:
        raise BadRequest("since must be before until", param="since")
    return since, until


def _span(since: datetime, until: datetime, *, fine: bool) -> _Span:
    fine_from = (datetime.now(UTC) - timedelta(days=FINE_DAYS - 1)).replace(hour=0, minute=0, second=0, microsecond=0)
    if fine or (since >= fine_from and until - since <= _LONG):
        width = FIVE_MINUTES
    elif until - since > _LONG:
        width = DAY
    else:
        width = HOUR
    first = int(since.timestamp()) // width * width
    return _Span(width, first, max(-(-int(until.timestamp()) // width) * width, first + width))


def _params(asked: ScoreFilter) -> dict[str, Any]:
    return {
        "project": asked.project_id,
        "name": asked.name,
        "source": asked.source,
        "task": asked.task,
        "variant": asked.variant,
        "model": asked.model,
        "target": asked.target,
        "provider": asked.provider,
        "operation": asked.operation,
        "prompt_version": asked.prompt_version,
        "key": asked.key_id,
        "session": asked.session,
        "tags": [_json({name: value}) for name, value in asked.tags],
    }


def _json(value: Mapping[str, str]) -> str:
    return msgspec.json.encode(value).decode()


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
