"""A panel of a score: its mean (or the share that passed) over time, as a chart like those of calls."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from loopwright.calls.charted import where_of
from loopwright.calls.charts import Chart, ChartGroup
from loopwright.calls.measures import Measure
from loopwright.calls.question import CallFilter
from loopwright.calls.reading import ends_of
from loopwright.core.errors import BadRequest
from loopwright.kit.db import Database
from loopwright.monitoring.score_question import DIMENSIONS, Dimension, Figure, ScoreFilter, ScoreSeries
from loopwright.monitoring.scores import Scores

PREFIX: Final = "score:"
_MOST: Final = 8
"""Lines of a panel."""
_FIELDS: Final = (
    "project_id", "since", "until", "task", "variant", "model", "target", "provider", "operation", "prompt_version",
    "key_id", "session", "tags",
)  # fmt: skip
"""Of a filter of calls, what scores know as well."""


def score_measure(measure: str) -> Measure:
    """How a score is shown."""
    return Measure(
        title=f"Score {measure.removeprefix(PREFIX)}", unit="count", of=_nothing, adds=False,
        about="mean of the values, or the share that passed where there are none; weighted by the lot",
    )  # fmt: skip


Opens = Mapping[str | int | None, Mapping[str, str]]
"""The parameters of a score's page, by the name of a line; None is all of them."""


async def score_charts(
    db: Database, which: CallFilter, measure: str, split: str | None, points: int, *, back: timedelta | None
) -> tuple[Chart, Chart, Opens]:
    """The chart of `score:NAME`, the same of an earlier time (of as long, just before, where `back` is None), what opens.

    Raises:
        BadRequest: see `score_chart`.
    """
    since, until = ends_of(which)
    away = back or until - since
    earlier = replace(which, since=since - away, until=until - away)
    (chart, opens), (before, _) = await asyncio.gather(
        score_chart(db, replace(which, since=since, until=until), measure, split, points),
        score_chart(db, earlier, measure, split, points),
    )
    return chart, before, opens


async def score_chart(
    db: Database, which: CallFilter, measure: str, split: str | None, points: int
) -> tuple[Chart, Opens]:
    """The chart of `score:NAME`, and what its lines open; empty where scores do not know the dimension or a filter.

    Raises:
        BadRequest: more than 31 days of what only calls know (key, session, tag).
    """
    since, until = ends_of(which)
    known = {name: getattr(which, name) for name in _FIELDS} | {"since": since, "until": until}
    asked = CallFilter(**known)
    by, tag = ("tag", split.removeprefix("tag:")) if split and split.startswith("tag:") else (split, None)
    found: list[ScoreSeries] = []
    if asked == CallFilter(**{**known, **_others(which)}) and (by is None or by in DIMENSIONS):
        scores = ScoreFilter(**known, name=measure.removeprefix(PREFIX))
        found = await Scores(db).series(scores, points=points, by=cast("Dimension | None", by), tag=tag)
    return _chart(found, measure, since, until), _opens(found, measure, split)


def _others(which: CallFilter) -> Mapping[str, Any]:
    """What the filter says that scores know nothing of."""
    return {name: getattr(which, name) for name in CallFilter.__slots__ if name not in _FIELDS}


def _opens(found: Sequence[ScoreSeries], measure: str, split: str | None) -> Opens:
    whole = {"name": measure.removeprefix(PREFIX)}
    opens: dict[str | int | None, Mapping[str, str]] = {None: whole}
    for each in found:
        where = {} if split is None else where_of(split, each.value)
        # No page tells of the calls without a value.
        if where is not None and "without" not in where:
            opens[_name(each, found)] = {**whole, "source": each.source, **where}
    return opens


def _name(one: ScoreSeries, found: Sequence[ScoreSeries]) -> str:
    name = "all" if one.value is None else str(one.value)
    return f"{name} ({one.source})" if len({each.source for each in found}) > 1 else name


def _chart(found: Sequence[ScoreSeries], measure: str, since: datetime, until: datetime) -> Chart:
    groups = []
    for each in found:
        figures = [point.figure for point in each.points]
        groups.append(
            ChartGroup(
                name=_name(each, found),
                requests=round(sum(figure.calls for figure in figures)),
                totals={measure: _whole(figures)},
                values={measure: tuple(_value(figure) for figure in figures)},
            )
        )
    groups.sort(key=lambda group: (-group.requests, str(group.name)))
    times = tuple(point.at for point in found[0].points) if found else ()
    step = found[0].step_seconds if found else 3600
    nothing: tuple[float | None, ...] = (None,) * len(times)
    whole = [figure for each in found for figure in (point.figure for point in each.points)]
    return Chart(
        since=times[0] if times else since.astimezone(UTC),
        until=times[-1] + timedelta(seconds=step) if times else until.astimezone(UTC),
        step_seconds=step,
        times=times,
        total=ChartGroup(
            name=None,
            requests=sum(group.requests for group in groups),
            totals={measure: _whole(whole)},
            values={measure: nothing},
        ),
        groups=tuple(groups[:_MOST]),
        rest=None,
        others=max(len(groups) - _MOST, 0),
        read_since=None,
    )


def _whole(figures: Sequence[Figure]) -> float | None:
    """Of several steps, weighted by the calls they stand for."""
    told = [(value, figure.calls) for figure in figures if (value := _value(figure)) is not None]
    calls = sum(weight for _, weight in told)
    return sum(value * weight for value, weight in told) / calls if calls else None


def _value(figure: Figure) -> float | None:
    return figure.passed if figure.mean is None else figure.mean


def _nothing(_: Mapping[str, Any]) -> float | None:
    """Scores are not in the rows of calls."""
    raise BadRequest("scores are read from their own roll-ups")
