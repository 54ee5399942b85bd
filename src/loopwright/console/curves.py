"""Curves of metrics by step as plain geometry: points in, paths and ticks out. The template writes the SVG, escaped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from loopwright.console.charts import HEIGHT, WIDTH, Tick
from loopwright.runs.run import Point

LOOKS: Final = ("main", "other", "p95", "p99")
"""Classes of the stylesheet, for up to four runs."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 10, 10, 22
_ROWS: Final = 12
"""Steps of the table beside a chart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One run's values of a metric."""

    name: str
    look: str
    points: Sequence[Point]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plotted:
    """A chart ready to be written."""

    id: str
    title: str
    says: str
    """One sentence for those who cannot see it."""
    curves: Sequence[Curve]
    paths: Sequence[str]
    dots: Sequence[Sequence[tuple[float, float]]]
    """Points without a neighbour, a curve of their own."""
    x: Sequence[Tick]
    y: Sequence[Tick]
    steps: Sequence[int]
    rows: Sequence[Sequence[str]]
    """The table alternative: a row for each of `steps`."""
    left: float = _LEFT
    right: float = WIDTH - _RIGHT
    base: float = HEIGHT - _BOTTOM
    width: int = WIDTH
    height: int = HEIGHT


def plot(chart_id: str, title: str, curves: Sequence[Curve]) -> Plotted | None:
    """Lay out the curves of one metric; None when there is no value to show."""
    values = [point.value for curve in curves for point in curve.points if point.value is not None]
    steps = sorted({point.step for curve in curves for point in curve.points})
    if not values:
        return None
    marks = scale(min(values), max(values))
    low, high = marks[0], marks[-1]
    first, last = steps[0], steps[-1]

    def x(step: int) -> float:
        share = 0.5 if first == last else (step - first) / (last - first)
        return round(_LEFT + share * (WIDTH - _LEFT - _RIGHT), 1)

    def y(value: float) -> float:
        return round(HEIGHT - _BOTTOM - (value - low) / (high - low) * (HEIGHT - _TOP - _BOTTOM), 1)

    drawn = [
        _drawn([(x(each.step), None if each.value is None else y(each.value)) for each in c.points]) for c in curves
    ]
    told = _some(steps, _ROWS)
    by_step = [{point.step: point.value for point in curve.points} for curve in curves]
    return Plotted(
        id=chart_id,
        title=title,
        says=_sentence(title, curves),
        curves=curves,
        paths=[path for path, _ in drawn],
        dots=[dots for _, dots in drawn],
        x=[Tick(at=x(step), text=f"{step:,}") for step in _some(steps, 5)],
        y=[Tick(at=y(mark), text=number(mark)) for mark in marks],
        steps=told,
        rows=[[number(each.get(step)) for each in by_step] for step in told],
    )


def scale(low: float, high: float) -> list[float]:
    """Three to six round marks around `low` to `high`; never fewer than two, and apart."""
    if not low < high:
        pad = abs(low) / 2 or 1.0
        low, high = low - pad, high + pad
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough)) if rough > 0 else 1.0
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    start, end = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * at, 12) if abs(step) > 1e-9 else step * at for at in range(start, max(end, start + 1) + 1)]


def number(value: float | None) -> str:
    """A value as a person reads it."""
    if value is None:
        return "\N{EN DASH}"
    return f"{value:.4g}" if abs(value) < 1e5 else f"{value:.3g}" if abs(value) >= 1e9 else f"{value:,.0f}"


def _drawn(places: Sequence[tuple[float, float | None]]) -> tuple[str, list[tuple[float, float]]]:
    parts: list[str] = []
    alone: list[tuple[float, float]] = []
    before = False
    for at, (x, y) in enumerate(places):
        if y is None:
            before = False
            continue
        after = at + 1 < len(places) and places[at + 1][1] is not None
        if not before and not after:
            alone.append((x, y))
        parts.append(f"{'L' if before else 'M'}{x} {y}")
        before = True
    return "".join(parts), alone


def _some(steps: Sequence[int], most: int) -> list[int]:
    """At most so many of them, evenly, with both ends."""
    if len(steps) <= most:
        return [*steps]
    return [steps[round(at * (len(steps) - 1) / (most - 1))] for at in range(most)]


def _sentence(title: str, curves: Sequence[Curve]) -> str:
    parts = []
    for curve in curves:
        known = [point.value for point in curve.points if point.value is not None]
        if known:
            parts.append(
                f"{curve.name}: last {number(known[-1])}, least {number(min(known))}, greatest {number(max(known))}"
            )
    return f"{title} by step. {'; '.join(parts)}."
