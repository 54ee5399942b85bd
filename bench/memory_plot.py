"""Accuracy by number of corrections as an SVG that stands by itself: curves with intervals, sizes on a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 640, 360, 56, 16, 40, 40
_COLOURS: Final = ("#0b7a75", "#b4530a", "#5b4bb5", "#666666")


def svg(title: str, curves: Mapping[str, Sequence[tuple[int, float, float, float]]]) -> str:
    """One picture.

    Args:
        title: above it.
        curves: by name, points of (corrections, accuracy, low, high).
    """
    sizes = sorted({size for points in curves.values() for size, *_ in points})
    low, high = math.log10(sizes[0] + 10), math.log10(sizes[-1] + 10)

    def x(size: int) -> float:
        share = (math.log10(size + 10) - low) / ((high - low) or 1)
        return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(value: float) -> float:
        return round(_HEIGHT - _BOTTOM - value * (_HEIGHT - _TOP - _BOTTOM), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/><text x="{_LEFT}" y="18" font-size="14">{escape(title)}</text>',
    ]
    for tenth in range(0, 11, 2):
        at = y(tenth / 10)
        parts.append(f'<path d="M{_LEFT} {at}H{_WIDTH - _RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{at + 4}" text-anchor="end">{tenth / 10:.1f}</text>')
    parts += [f'<text x="{x(size)}" y="{_HEIGHT - 18}" text-anchor="middle">{size:,}</text>' for size in sizes]
    for number, (name, points) in enumerate(curves.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        path = "L".join(f"{x(size)} {y(share)}" for size, share, *_ in points)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for size, share, least, most in points:
            parts.append(f'<path d="M{x(size)} {y(least)}V{y(most)}" stroke="{colour}"/>')
            parts.append(f'<circle cx="{x(size)}" cy="{y(share)}" r="3.5" fill="{colour}"/>')
        parts.append(f'<text x="{_LEFT + 8}" y="{_TOP + 14 + 16 * number}" fill="{colour}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>\n"])
