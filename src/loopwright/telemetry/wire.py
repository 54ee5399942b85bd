"""OTLP as it comes over the wire, as plain Python: spans, logs and points, whatever they were encoded in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

Attributes = dict[str, Any]
DEEPEST: Final = 32
"""Lists and maps within each other; what lies deeper is cut off."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much of one item is kept."""

    items: int = 20_000
    """Spans, logs or points of one request."""
    attributes: int = 2_000
    """Of one span, log or point; events and links likewise."""
    characters: int = 256_000
    """Of one value."""

    @property
    def refused(self) -> int:
        """Attributes beyond which an item is none at all."""
        return self.attributes * 10


@dataclass(slots=True, kw_only=True)
class WireSpan:
    """One span as somebody sent it; its ids are bytes of whatever length, its times whatever number."""

    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    name: str
    kind: int
    """OpenTelemetry's number: 1 internal, 2 server, 3 client, 4 producer, 5 consumer."""
    start: int
    end: int
    status: int
    """0 unset, 1 ok, 2 error."""
    message: str
    attributes: Attributes
    events: list[tuple[int, str, Attributes]] = field(default_factory=list)
    links: list[tuple[str, str, Attributes]] = field(default_factory=list)
    clipped: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class WireLog:
    """One log record as somebody sent it."""

    at: int
    severity: int
    name: str
    """Of the event."""
    body: Any
    attributes: Attributes
    trace_id: bytes
    span_id: bytes
    clipped: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class WirePoint:
    """One point of a metric as somebody sent it."""

    name: str
    kind: str
    unit: str
    at: int
    value: float | None
    """Of a gauge or a sum; the sum of a distribution."""
    count: int | None
    shape: Mapping[str, Any] | None
    attributes: Attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Who made some items."""

    resource: Attributes
    scope: str

    @property
    def service(self) -> str:
        """`service.name`; empty when it was not said."""
        said = self.resource.get("service.name", "")
        return said if isinstance(said, str) else str(said)


@dataclass(slots=True)
class Decoded(Generic[_T]):
    """What a request held."""

    groups: list[tuple[Source, list[_T]]] = field(default_factory=list)
    refused: int = 0
    reasons: list[str] = field(default_factory=list)
    """Why, each once."""

    def refuse(self, reason: str, count: int = 1) -> None:
        """Leave something out."""
        self.refused += count
        if reason not in self.reasons and len(self.reasons) < _REASONS:
            self.reasons.append(reason)

    @property
    def message(self) -> str:
        """For who sent it; empty when nothing was refused."""
        return "; ".join(self.reasons)


_REASONS: Final = 10


def cut(value: Any, bounds: Bounds, clipped: list[str], name: str, depth: int = 0) -> Any:
    """A JSON value within bounds; `name` goes to `clipped` when something was cut off."""
    if isinstance(value, str):
        if len(value) > bounds.characters:
            note(clipped, name)
            return value[: bounds.characters]
        return value
    if isinstance(value, dict | list):
        if depth >= DEEPEST or len(value) > bounds.attributes:
            note(clipped, name)
            value = type(value)() if depth >= DEEPEST else value
        if isinstance(value, list):
            return [cut(each, bounds, clipped, name, depth + 1) for each in value[: bounds.attributes]]
        kept = list(value.items())[: bounds.attributes]
        return {str(key)[:300]: cut(each, bounds, clipped, name, depth + 1) for key, each in kept}
    return value


def note(clipped: list[str], name: str) -> None:
    """Say that something of `name` is missing."""
    name = name[:100]
    if name not in clipped and len(clipped) < _CLIPPED:
        clipped.append(name)


_CLIPPED: Final = 20


def plain(number: Any) -> Any:
    """A number as JSON has numbers; others (not finite, beyond 64 bits) as text."""
    if isinstance(number, float):
        return number if math.isfinite(number) else str(number)
    return number if isinstance(number, bool) or -(2**63) <= number < 2**63 else str(number)
