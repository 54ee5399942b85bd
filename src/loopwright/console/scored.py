"""Figures of scores with their shape over time, as pages show them beside latency and cost."""

from __future__ import annotations

import asyncio
from typing import Any

from loopwright.app import App
from loopwright.console import formats
from loopwright.console.sparks import Spark, curves
from loopwright.monitoring.score_question import Figure, ScoreFilter, ScoreGroup, ScoreSeries
from loopwright.monitoring.scores import Scores


async def figures_of(app: App, asked: ScoreFilter) -> tuple[list[dict[str, Any]], list[Spark]]:
    """Scores by name and source, and the shape of each over time, for a panel of another page."""
    scores = Scores(app.db)
    groups, series = await asyncio.gather(scores.summary(asked), scores.series(asked, points=24))
    lines = {(each.name, each.source): each for each in series}
    told = [{"name": each.name, "source": each.source, **each.figure.shown()} for each in groups]
    return told, [spark_of(lines.get((each.name, each.source)), each) for each in groups]


def _height(figure: Figure) -> float | None:
    """What is drawn of a figure: the share that passed, else the mean."""
    return figure.passed if figure.passed is not None else figure.mean


def spark_of(series: ScoreSeries | None, group: ScoreGroup) -> Spark:
    """The shape of a score: the share that passed, else the mean; what is negative stands above its lowest."""
    values = [] if series is None else [_height(point.figure) for point in series.points]
    low = min((value for value in values if value is not None), default=0.0)
    shifted = [None if value is None else value - min(low, 0.0) for value in values]
    what = "share that passed" if group.figure.passed is not None else "mean"
    return curves(f"{group.name}, {what}", [(what, "main", shifted)], lambda value: _number(value, low))


def _number(value: float | None, low: float) -> str:
    return formats.NOTHING if value is None else f"{value + min(low, 0.0):.3g}"
