"""Reads Prometheus text, as engines publish it, into plain numbers."""

from __future__ import annotations

from collections.abc import Mapping


def samples(body: bytes) -> dict[str, float]:
    """Values by metric name; those of one name with different labels are added up. Lines nobody understands are skipped."""
    found: dict[str, float] = {}
    for line in body.decode("utf-8", "replace").splitlines():
        if not line or line.startswith("#"):
            continue
        name, _, rest = line.partition("{") if "{" in line else line.partition(" ")
        text = rest.rpartition("}")[2] if "{" in line else rest
        try:
            value = float(text.split()[0])
        except (ValueError, IndexError):
            continue
        found[name] = found.get(name, 0.0) + value
    return found


def count(seen: Mapping[str, float], name: str) -> int:
    """One sample as a whole number, 0 when it is missing or no number."""
    value = seen.get(name, 0.0)
    return int(value) if value == value and abs(value) != float("inf") else 0  # noqa: PLR0124 - NaN is not itself
