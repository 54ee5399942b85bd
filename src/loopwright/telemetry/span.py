"""A span as we keep it, whatever its dialect was: one step of a trace. Knows no table and no wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

Kind = Literal[
    "llm", "embedding", "rerank", "retrieval", "tool", "agent", "workflow", "chain", "guardrail", "evaluator", "memory",
    "other",
]  # fmt: skip
"""What a step does. The first three are calls of models."""
Status = Literal["unset", "ok", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanEvent:
    """Something that happened at one moment of a span: an exception, a message, a piece of an answer."""

    at_ns: int
    """Unix nanoseconds."""
    name: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanLink:
    """Another span that this one has to do with."""

    trace_id: str
    span_id: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a trace."""

    project_id: int
    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 hexadecimal digits; with the trace its identity."""
    parent_id: str | None
    name: str
    kind: Kind
    started_ns: int
    """Unix nanoseconds."""
    duration_us: int
    status: Status
    error: str | None = None
    """What was said of the failure, or its type."""
    service: str = ""
    """`service.name` of the resource."""
    scope: str = ""
    """The library that made it."""
    dialect: str = ""
    """Whose names its attributes had: `genai`, `openinference`, `openllmetry` …; empty for plain OpenTelemetry."""
    session: str | None = None
    user: str | None = None
    call_id: str | None = None
    """The call on record that this span is, for spans that call models."""
    model: str | None = None
    provider: str | None = None
    tool: str | None = None
    """Name of the tool, of the agent or of the data source, by kind."""
    input_tokens: int = 0
    """Cached ones included."""
    output_tokens: int = 0
    """Reasoning included."""
    cost_nano: int | None = None
    """Nanodollars; None is unpriced, or nothing to price."""
    input: Any = None
    """What it was given: messages, arguments, a query, JSON."""
    output: Any = None
    """What came of it."""
    attributes: Mapping[str, Any] = {}
    """All others, by the names they came with."""
    events: Sequence[SpanEvent] = ()
    links: Sequence[SpanLink] = ()
    clipped: Sequence[str] = ()
    """Names of what was too large and cut short."""
