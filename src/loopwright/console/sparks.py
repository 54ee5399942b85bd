"""Charts of a line's height: the shape of a day beside its numbers. The template writes the SVG, escaped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 132, 26

Value = float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spark:
    """Ready to be written."""

    says: str
    """One sentence for those who cannot see it."""
    paths: Sequence[tuple[str, str]]
    """(class of the stylesheet, SVG path), the first one lowest."""
    width: int = WIDTH
    height: int = HEIGHT


def curves(title: str, rows: Sequence[tuple[str, str, Sequence[Value]]], show: Callable[[Value], str]) -> Spark:
    """Lines over time; each row is (name, look, values). A time without a value is a gap."""
    top = max((value for *_, values in rows for value in values if value is not None), default=0) or 1.0
    paths = []
    for _, look, values in rows:
        step = WIDTH / max(len(values), 1)
        parts, before = [], False
        for at, value in enumerate(values):
            if value is None:
                before = False
                continue
            x, y = (at + 0.5) * step, HEIGHT - 2 - value / top * (HEIGHT - 4)
            # A value without a neighbour is a short dash, not nothing.
            alone = not before and (at + 1 == len(values) or values[at + 1] is None)
            parts.append(f"{'L' if before else 'M'}{x:.1f} {y:.1f}" + ("h2" if alone else ""))
            before = True
        paths.append((f"stroke {look}", "".join(parts)))
    return Spark(says=_sentence(title, [(name, values) for name, _, values in rows], show), paths=paths)


def bars(title: str, rows: Sequence[tuple[str, str, Sequence[Value]]], show: Callable[[Value], str]) -> Spark:
    """Stacked bars over time, the first row lowest."""
    columns = list(zip(*(values for *_, values in rows), strict=True))
    top = max((sum(value or 0 for value in column) for column in columns), default=0) or 1.0
    step = WIDTH / max(len(columns), 1)
    floor = [0.0] * len(columns)
    paths = []
    for _, look, values in rows:
        parts = []
        for at, value in enumerate(values):
            if not value:
                continue
            # At least one unit high: one error among thousands must not vanish.
            tall = max(value / top * (HEIGHT - 1), 1.0)
            parts.append(f"M{at * step + 0.5:.1f} {HEIGHT - floor[at]:.1f}h{step - 1:.1f}v-{tall:.1f}h-{step - 1:.1f}z")
            floor[at] += tall
        paths.append((f"fill {look}", "".join(parts)))
    return Spark(says=_sentence(title, [(name, values) for name, _, values in rows], show), paths=paths)


def _sentence(title: str, rows: Sequence[tuple[str, Sequence[Value]]], show: Callable[[Value], str]) -> str:
    said = []
    for name, values in rows:
        known = [value for value in values if value is not None]
        if any(known):
            said.append(f"{name} latest {show(known[-1])}, highest {show(max(known))}")
    return f"{title}: {'; '.join(said)}" if said else f"{title}: nothing in this time"
