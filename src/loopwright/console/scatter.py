"""Cost against quality as plain geometry: points in, marks and ticks out. The template writes the SVG, escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loopwright.console.charts import HEIGHT, WIDTH, Tick
from loopwright.console.curves import number, scale
from loopwright.console.formats import dollars

_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 10, 34
_NAME_WIDTH = 6.4
"""SVG units of a letter, to see on which side of its point a name has room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One point with its interval."""

    name: str
    x: float
    y: float
    low: float
    high: float
    on_front: bool
    says: str
    anchor: str
    """Of its name: `start` beside the point's right, `end` beside its left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scattered:
    """A plot ready to be written."""

    marks: Sequence[Mark]
    front: str
    """The SVG path through the points nobody beats."""
    x: Sequence[Tick]
    y: Sequence[Tick]
    evaluator: str
    says: str
    """One sentence for those who cannot see it."""
    left: float = _LEFT
    right: float = WIDTH - _RIGHT
    base: float = HEIGHT - _BOTTOM
    width: int = WIDTH
    height: int = HEIGHT


def scattered(told: Mapping[str, Any] | None) -> Scattered | None:
    """Lay out what `evals.pareto.front` found; None without points."""
    if told is None or not told["points"]:
        return None
    points = sorted(told["points"], key=lambda each: each["cost_usd"])
    rows = scale(*_ends([each[end] for each in points for end in ("low", "high", "quality") if each[end] is not None]))
    columns = scale(*_ends([each["cost_usd"] for each in points]))
    columns = [each for each in columns if each >= 0] or columns

    def x(value: float) -> float:
        low, high = columns[0], columns[-1]
        return round(_LEFT + (value - low) / (high - low) * (WIDTH - _LEFT - _RIGHT), 1)

    def y(value: float) -> float:
        low, high = rows[0], rows[-1]
        return round(HEIGHT - _BOTTOM - (value - low) / (high - low) * (HEIGHT - _TOP - _BOTTOM), 1)

    marks = [
        Mark(
            name=each["target"],
            x=x(each["cost_usd"]),
            y=y(each["quality"]),
            low=y(each["quality"] if each["low"] is None else each["low"]),
            high=y(each["quality"] if each["high"] is None else each["high"]),
            on_front=bool(each["on_front"]),
            says=f"{each['target']}: {number(each['quality'])} at {dollars(each['cost_usd'])} an answer",
            anchor="end" if x(each["cost_usd"]) + len(each["target"][:30]) * _NAME_WIDTH > WIDTH - _RIGHT else "start",
        )
        for each in points
    ]
    front = [mark for mark in marks if mark.on_front]
    return Scattered(
        marks=marks,
        front="".join(f"{'L' if at else 'M'}{mark.x} {mark.y}" for at, mark in enumerate(front)),
        x=[Tick(at=x(each), text=dollars(each)) for each in (columns[0], columns[-1])],
        y=[Tick(at=y(each), text=number(each)) for each in rows],
        evaluator=told["evaluator"],
        says=f"{told['evaluator']} against cost. {'; '.join(mark.says for mark in marks)}.",
    )


def _ends(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)
