"""What a trace took: cost, tokens, time and failures of each subtree and of all, and what it waited for. Knows no table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import Any, Final

from loopwright.core.money import usd
from loopwright.telemetry.tree import Node

_FAR: Final = 7 * 86_400 * 10**9
"""A trace that seems to last longer (nanoseconds) is drawn round its middle: some clock was wrong."""
_MOST: Final = 20
"""Models and kinds that are told apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What of a trace goes by one model, or by one kind."""

    name: str
    nodes: int
    failed: int
    self_us: int
    input_tokens: int
    output_tokens: int
    cost_nano: int
    unpriced: int

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "name": self.name,
            "steps": self.nodes,
            "failed": self.failed,
            "self_us": self.self_us,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost_usd": usd(self.cost_nano),
            "unpriced": self.unpriced,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """A whole trace."""

    started_ns: int
    duration_us: int
    """From the first beginning to the last end, within what `strange` leaves."""
    nodes: int
    calls: int
    failed: int
    missing: int
    """Spans that others name and that never came."""
    strange: int
    """Steps so far from the others in time that some clock must be wrong."""
    input_tokens: int
    output_tokens: int
    cost_nano: int
    unpriced: int
    models: tuple[Part, ...]
    """Most costly first."""
    kinds: tuple[Part, ...]
    """By own time, longest first."""

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        plain = {
            name: getattr(self, name)
            for name in (
                "duration_us",
                "calls",
                "failed",
                "missing",
                "strange",
                "input_tokens",
                "output_tokens",
                "unpriced",
            )
        }
        return {
            "steps": self.nodes,
            **plain,
            "cost_usd": usd(self.cost_nano),
            "models": [each.shown() for each in self.models],
            "kinds": [each.shown() for each in self.kinds],
        }


def summed(nodes: Sequence[Node]) -> Totals:
    """Sum up a tree in the order of `tree`: fills in what each node has below it, and what was waited for."""
    start, end = bounds(nodes)
    for node in reversed(nodes):  # children before their parents
        node.self_us = _own(node)
        node.below = sum(child.below + 1 for child in node.children)
        node.all_cost_nano = (node.cost_nano or 0) + sum(child.all_cost_nano for child in node.children)
        node.all_failed = sum(child.all_failed + (child.failed and not child.inner) for child in node.children)
    _waited(nodes, start, end)
    counted = [node for node in nodes if not node.missing and not node.inner]
    return Totals(
        started_ns=start,
        duration_us=max(end - start, 0) // 1000,
        nodes=len(counted),
        calls=sum(node.call is not None and not node.twice for node in counted),
        failed=sum(node.failed for node in counted),
        missing=sum(node.missing for node in nodes),
        strange=sum(not within(node, start, end) for node in nodes),
        input_tokens=sum(node.input_tokens for node in counted),
        output_tokens=sum(node.output_tokens for node in counted),
        cost_nano=sum(node.cost_nano or 0 for node in counted),
        unpriced=sum(node.unpriced for node in counted),
        models=_parts(
            [node for node in counted if (node.call is not None and not node.twice) or node.cost_nano],
            lambda node: node.model or "?",
            by_cost=True,
        ),
        kinds=_parts(counted, lambda node: node.kind, by_cost=False),
    )


def bounds(nodes: Sequence[Node]) -> tuple[int, int]:
    """From when to when a trace is drawn, in Unix nanoseconds; (0, 0) of nothing."""
    if not nodes:
        return 0, 0
    start = min(node.started_ns for node in nodes)
    end = max(node.ended_ns for node in nodes)
    if end - start <= _FAR:
        return start, end
    middle = median_low([node.started_ns for node in nodes])
    near = [node for node in nodes if abs(node.started_ns - middle) <= _FAR // 2]
    return min(node.started_ns for node in near), max(min(node.ended_ns, middle + _FAR // 2) for node in near)


def within(node: Node, start: int, end: int) -> bool:
    """Whether a node lies in what is drawn."""
    return start <= node.started_ns <= end


def _own(node: Node) -> int:
    """Its time less that of the union of its children, in microseconds."""
    covered, upto = 0, node.started_ns
    for child in node.children:  # by their starts
        start, end = max(child.started_ns, upto), min(child.ended_ns, node.ended_ns)
        if end > start:
            covered, upto = covered + end - start, end
    return max(node.duration_us - covered // 1000, 0)


def _waited(nodes: Sequence[Node], start: int, end: int) -> None:
    """Mark what the trace waited for: from its end backwards, always the step that ended last before."""
    roots = [node for node in nodes if node.parent is None and within(node, start, end)]
    waiting = [(max(roots, key=lambda node: node.ended_ns), end)] if roots else []
    while waiting:
        node, upto = waiting.pop()
        node.critical = True
        upto = min(upto, node.ended_ns)
        for child in sorted(node.children, key=lambda each: each.ended_ns, reverse=True):
            # What ends after its parent was not waited for, unless it began first and nothing else holds it.
            if child.started_ns < upto and child.duration_us and min(child.ended_ns, upto) > node.started_ns:
                if child.ended_ns > upto:
                    continue
                waiting.append((child, upto))
                upto = child.started_ns


def _parts(nodes: Sequence[Node], name_of: Any, *, by_cost: bool) -> tuple[Part, ...]:
    groups: dict[str, list[Node]] = {}
    for node in nodes:
        groups.setdefault(name_of(node), []).append(node)
    parts = [
        Part(
            name=name,
            nodes=len(members),
            failed=sum(node.failed for node in members),
            self_us=sum(node.self_us for node in members),
            input_tokens=sum(node.input_tokens for node in members),
            output_tokens=sum(node.output_tokens for node in members),
            cost_nano=sum(node.cost_nano or 0 for node in members),
            unpriced=sum(node.unpriced for node in members),
        )
        for name, members in groups.items()
    ]
    parts.sort(key=lambda part: (-part.cost_nano if by_cost else -part.self_us, -part.nodes, part.name))
    return tuple(parts[:_MOST])
