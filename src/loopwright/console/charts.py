"""Time charts as plain geometry: values in, paths and ticks out. The template writes the SVG, escaped."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

WIDTH, HEIGHT = 460, 168
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 6, 10, 22

Value = float | None
"""None is a time without a value: a gap, not zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One named row of numbers, one for each time."""

    name: str
    look: str
    """A class of the stylesheet: says colour and dash."""
    values: Sequence[Value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A level that does not change, drawn across: a limit."""

    name: str
    look: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A mark on an axis, in SVG units."""

    at: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A chart ready to be written."""

    id: str
    title: str
    says: str
    """One sentence for those who cannot see it."""
    kind: Literal["bars", "lines"]
    lines: Sequence[Line]
    paths: Sequence[str]
    """One SVG path a line, in the order of `lines`."""
    dots: Sequence[Sequence[tuple[float, float]]]
    """Points without a neighbour, a line of their own."""
    x: Sequence[Tick]
    y: Sequence[Tick]
    times: Sequence[datetime]
    rows: Sequence[Sequence[str]]
    """The table alternative: values as text, a row for each time."""
    rules: Sequence[tuple[Rule, float]]
    """Each with its height in SVG units."""
    left: float
    step: float
    """Distance of two times, in SVG units."""
    empty: bool
    width: int = WIDTH
    height: int = HEIGHT
    base: int = HEIGHT - _BOTTOM
    top: int = _TOP
    right: int = WIDTH - _RIGHT
    over: int = 0
    """How many of the last lines are drawn as lines over bars."""


def draw(
    chart_id: str,
    title: str,
    times: Sequence[datetime],
    lines: Sequence[Line],
    *,
    kind: Literal["bars", "lines"],
    show: Callable[[float | None], str],
    rules: Sequence[Rule] = (),
    over: Sequence[Line] = (),
) -> Drawn:
    """Lay out a chart; bars of several lines are stacked, the first one lowest. `rules` always have room.

    `over` are lines above the bars.
    """
    count = max(len(times), 1)
    span = WIDTH - _LEFT - _RIGHT
    step = span / count
    top = max([_highest(lines, kind), _highest(over, "lines"), *(rule.value for rule in rules)])
    marks = _scale(top)
    high = marks[-1] or 1.0
    height = HEIGHT - _TOP - _BOTTOM

    def y(value: float) -> float:
        return round(HEIGHT - _BOTTOM - value / high * height, 1)

    centres = [round(_LEFT + (at + 0.5) * step, 1) for at in range(count)]
    if kind == "bars":
        paths = _bars(lines, centres, step, y)
        dots: list[list[tuple[float, float]]] = [[] for _ in lines]
    else:
        paths, dots = _curves(lines, centres, y)
    if over:
        above, alone = _curves(over, centres, y)
        paths, dots, lines = [*paths, *above], [*dots, *alone], [*lines, *over]
    return Drawn(
        id=chart_id,
        title=title,
        says=_sentence(title, lines, show, rules),
        kind=kind,
        lines=lines,
        paths=paths,
        dots=dots,
        x=_time_ticks(times, centres),
        y=[Tick(at=y(mark), text=show(mark) if mark else "0") for mark in marks],
        times=times,
        rows=[[show(line.values[at]) for line in lines] for at in range(len(times))],
        rules=[(rule, y(rule.value)) for rule in rules],
        left=_LEFT,
        step=round(step, 3),
        empty=not rules and all(not value for line in lines for value in line.values),
        over=len(over),
    )


def _highest(lines: Sequence[Line], kind: str) -> float:
    if kind == "bars":
        return max(
            (sum(value or 0 for value in column) for column in zip(*(x.values for x in lines), strict=True)), default=0
        )
    return max((value for line in lines for value in line.values if value is not None), default=0)


def _scale(top: float) -> list[float]:
    """Three to five round marks from zero to at least `top`."""
    if top < 1e-9 or not math.isfinite(top):
        return [0.0, 1.0]
    rough = top / 3
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    return [round(step * at, 12) for at in range(math.ceil(top / step - 1e-9) + 1)]


def _bars(lines: Sequence[Line], centres: Sequence[float], step: float, y: Callable[[float], float]) -> list[str]:
    wide = round(max(step * 0.74, 0.8), 1)
    floor = [0.0] * len(centres)
    paths = []
    for line in lines:
        parts = []
        for at, value in enumerate(line.values):
            if not value:
                continue
            low, high = y(floor[at]), y(floor[at] + value)
            floor[at] += value
            # At least one unit high: one error among a million requests must not vanish.
            tall = max(low - high, 1.0)
            parts.append(f"M{centres[at] - wide / 2:.1f} {low:.1f}h{wide}v-{tall:.1f}h-{wide}z")
        paths.append("".join(parts))
    return paths


def _curves(
    lines: Sequence[Line], centres: Sequence[float], y: Callable[[float], float]
) -> tuple[list[str], list[list[tuple[float, float]]]]:
    paths: list[str] = []
    dots: list[list[tuple[float, float]]] = []
    for line in lines:
        parts: list[str] = []
        alone: list[tuple[float, float]] = []
        values = [*line.values, None]
        for at, value in enumerate(line.values):
            if value is None:
                continue
            starts = at == 0 or values[at - 1] is None
            if starts and values[at + 1] is None:
                alone.append((centres[at], y(value)))
            parts.append(f"{'M' if starts else 'L'}{centres[at]} {y(value)}")
        paths.append("".join(parts))
        dots.append(alone)
    return paths, dots


def _time_ticks(times: Sequence[datetime], centres: Sequence[float]) -> list[Tick]:
    if not times:
        return []
    whole = times[-1] - times[0]
    form = "%H:%M" if whole <= timedelta(hours=30) else "%d %b" if whole > timedelta(days=3) else "%d %b %Hh"
    every = max(1, -(-len(times) // 5))
    start = every // 2
    return [
        Tick(at=centres[at], text=times[at].astimezone(UTC).strftime(form)) for at in range(start, len(times), every)
    ]


def _sentence(title: str, lines: Sequence[Line], show: Callable[[float | None], str], rules: Sequence[Rule]) -> str:
    """What the eye would take from it: the latest and the highest value of each line, and what they are held to."""
    parts = []
    for line in lines:
        known = [value for value in line.values if value is not None]
        if known:
            parts.append(f"{line.name}: latest {show(known[-1])}, highest {show(max(known))}")
    parts += [f"{rule.name} at {show(rule.value)}" for rule in rules]
    return f"{title} over time. " + ("; ".join(parts) + "." if parts else "No values in this time.")
