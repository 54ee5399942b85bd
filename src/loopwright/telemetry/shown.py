"""Traces and spans as JSON, for REST, the command line and the console's twins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from loopwright.core.money import usd
from loopwright.telemetry.span import Span
from loopwright.telemetry.sums import within
from loopwright.telemetry.traces import Trace
from loopwright.telemetry.tree import Node

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FLAGS: Final = ("failed", "critical", "missing", "cut", "twice", "inner", "unpriced")


def trace_shown(trace: Trace, *, nodes: bool = True) -> dict[str, Any]:
    """A trace with its nodes, each after its parent."""
    totals = trace.totals
    start, end = totals.started_ns, totals.started_ns + totals.duration_us * 1000
    about = {
        "trace_id": trace.trace_id,
        "project_id": trace.project_id,
        "name": trace.name,
        "session": trace.session,
        "started_at": moment(start),
        **totals.shown(),
        "clipped": trace.clipped,
    }
    if nodes:
        about["nodes"] = [_node(node, start, end) for node in trace.nodes]
    return about


def span_shown(span: Span) -> dict[str, Any]:
    """A span with all that it said."""
    plain = {
        name: getattr(span, name)
        for name in (
            "trace_id", "span_id", "parent_id", "name", "kind", "started_ns", "duration_us", "status", "error", "service",
            "scope", "dialect", "session", "user", "call_id", "model", "provider", "tool", "input_tokens", "output_tokens",
            "input", "output",
        )
    }  # fmt: skip
    return {
        **plain,
        "cost_usd": None if span.cost_nano is None else usd(span.cost_nano),
        "attributes": dict(span.attributes),
        "events": [
            {"at_ns": event.at_ns, "name": event.name, "attributes": dict(event.attributes)} for event in span.events
        ],
        "links": [
            {"trace_id": link.trace_id, "span_id": link.span_id, "attributes": dict(link.attributes)}
            for link in span.links
        ],
        "clipped": list(span.clipped),
    }


def moment(at_ns: int) -> str:
    """Unix nanoseconds as ISO 8601; what no calendar has, as the nearest it has."""
    try:
        return (_EPOCH + timedelta(microseconds=at_ns // 1000)).isoformat()
    except OverflowError:
        return datetime(9999 if at_ns > 0 else 1, 1, 1, tzinfo=UTC).isoformat()


def _node(node: Node, start: int, end: int) -> dict[str, Any]:
    """What is nothing is left out: a trace may have thirty thousand."""
    told: dict[str, Any] = {
        "id": node.id,
        "parent": node.parent,
        "depth": node.depth,
        "name": node.name,
        "kind": node.kind,
        "at_us": (node.started_ns - start) // 1000,
        "duration_us": node.duration_us,
        "self_us": node.self_us,
    }
    more = {
        **{name: getattr(node, name) for name in _FLAGS},
        "strange": not within(node, start, end),
        "error": node.error,
        "service": node.service,
        "model": node.model,
        "tool": node.tool,
        "call_id": None if node.call is None else node.call.id,
        "input_tokens": node.input_tokens,
        "output_tokens": node.output_tokens,
        "cost_usd": None if node.cost_nano is None else usd(node.cost_nano),
        "below": node.below,
        "cost_below_usd": usd(node.all_cost_nano - (node.cost_nano or 0))
        if node.below and node.all_cost_nano
        else None,
        "failed_below": node.all_failed,
    }
    return told | {name: value for name, value in more.items() if value}
