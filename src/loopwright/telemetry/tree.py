"""A trace as a tree: spans and calls as nodes in the order they are drawn. Knows no table, no page, and trusts no id.

Whatever arrives becomes a tree: who names a parent that never came hangs under a placeholder, a ring of parents is cut at
its earliest step, and depth is no matter of recursion.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from loopwright.calls.touching import OUTSIDE
from loopwright.core.call import Call
from loopwright.telemetry.span import Kind, Span

_MISSING: Final = "(not received)"
_KINDS: Final[Mapping[str, Kind]] = {"embeddings": "embedding", "rerank": "rerank", "moderations": "guardrail"}


@dataclass(slots=True, kw_only=True)
class Node:
    """One line of a trace. Made here, filled in as the tree is, then left alone."""

    id: str
    """16 hexadecimal digits, of the span or the call; of a request inside a call followed by its number."""
    parent: str | None
    """The node it hangs under."""
    name: str
    kind: Kind
    started_ns: int
    duration_us: int
    failed: bool = False
    error: str | None = None
    told: bool = False
    """A span came; else only a call is on record, or neither."""
    call_id: str | None = None
    """The call that the span names."""
    session: str | None = None
    tool: str | None = None
    call: Call | None = None
    missing: bool = False
    """Stands for a span that others name as their parent and that never came."""
    cut: bool = False
    """It named a parent inside itself."""
    twice: bool = False
    """The program told of a call of a model that came through this house: the call under it is counted, not this."""
    inner: bool = False
    """A request inside a call: the call counts it."""
    critical: bool = False
    """The trace waited for it."""
    model: str | None = None
    service: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano: int | None = None
    unpriced: bool = False
    """A call whose price is not known."""
    depth: int = 0
    below: int = 0
    """Nodes under it, at any depth."""
    self_us: int = 0
    """Its time when nothing of what is under it ran."""
    all_cost_nano: int = 0
    """With all under it."""
    all_failed: int = 0
    """Failures under it."""
    children: list[Node] = field(default_factory=list)

    @property
    def ended_ns(self) -> int:
        """Unix nanoseconds."""
        return self.started_ns + self.duration_us * 1000


def tree(spans: Iterable[Node], calls: Iterable[Call], inner: Mapping[str, Sequence[Node]] | None = None) -> list[Node]:
    """All nodes, each after its parent, in the order they are drawn.

    Args:
        spans: of one trace, as `of_span` makes them; of several with one id the first counts.
        calls: on record, of the same trace. One that is a span, or that a span names, is one node with it.
        inner: by id of a call, the requests that were made inside it.
    """
    nodes = _nodes(spans, calls)
    for call_id, made in (inner or {}).items():
        over = next((node for node in nodes.values() if node.call is not None and node.call.id == call_id), None)
        for node in made if over is not None else ():
            node.parent = over.id if over is not None else None
            nodes.setdefault(node.id, node)
    _placed(nodes)
    for node in nodes.values():
        if node.parent is not None:
            nodes[node.parent].children.append(node)
    ordered = _ordered([node for node in nodes.values() if node.parent is None])
    _once(ordered)
    return ordered


def inside(call: Call, made: Iterable[Mapping[str, object]], *, after_us: int = 0) -> list[Node]:
    """The requests inside the call of a task, as far as they are on record: `Made.shown`, which others may have written.

    Of older calls it is not on record when each began. One after another they fill the call's time then, from `after_us`
    microseconds on; where they took longer than that, they ran beside each other.
    """
    steps = list(made)
    took = [_whole(each.get("latency_us")) for each in steps]
    beside = sum(took) > call.latency_us * 1.1
    at = _ns(call) + after_us * 1000
    found: list[Node] = []
    for number, (each, us) in enumerate(zip(steps, took, strict=True), start=1):
        at = _began(call, each.get("at_us"), at)
        found.append(
            Node(
                id=f"{call.span_id}.{number}",
                parent=call.span_id,
                name=str(each.get("name") or "request")[:300],
                kind="llm",
                started_ns=at,
                duration_us=us,
                failed=bool(each.get("error")),
                error=str(each["error"])[:2000] if each.get("error") else None,
                inner=True,
                model=str(each.get("model") or "") or None,
                input_tokens=_whole(each.get("input_tokens")),
                output_tokens=_whole(each.get("output_tokens")),
            )
        )
        at += 0 if beside else us * 1000
    return found


def looked_up(call: Call, told: object) -> list[Node]:
    """What was looked up for a call before a model was asked, as `loopwright.retrieval` of its request tells."""
    if not isinstance(told, Mapping):
        return []
    took, names = told.get("took_us"), told.get("collections")
    us = sum(_whole(each) for each in took.values()) if isinstance(took, Mapping) else 0
    where = ", ".join(str(each) for each in names[:5]) if isinstance(names, list) else ""
    return [
        Node(
            id=f"{call.span_id}.r",
            parent=call.span_id,
            name=f"search {where}".strip()[:300],
            kind="retrieval",
            started_ns=_ns(call),
            duration_us=us,
            inner=True,
        )
    ]


def departed(call: Call, sent: Sequence[Mapping[str, object]] | None) -> list[Node]:
    """The targets that bytes of a call left for, one after another, where more than one did: retries and fallbacks.

    Each was waited for until the next one was asked; of older calls it is not on record when that was.
    """
    if sent is None or len(sent) < 2:
        return []
    end = _ns(call) + call.latency_us * 1000
    starts = [_began(call, each.get("at_us"), -1) for each in sent]
    found: list[Node] = []
    for number, (each, at, until) in enumerate(zip(sent, starts, [*starts[1:], end], strict=True), start=1):
        found.append(
            Node(
                id=f"{call.span_id}.{number}",
                parent=call.span_id,
                name=f"{each.get('provider') or '?'} {each.get('model') or ''}".strip()[:300],
                kind="llm",
                started_ns=_ns(call) if at < 0 else at,
                duration_us=max(until - at, 0) // 1000 if at >= 0 and until >= 0 else 0,
                failed=not each.get("answered"),
                error=None if each.get("answered") else "no answer was used",
                inner=True,
                model=str(each.get("model") or "") or None,
            )
        )
    return found


def _began(call: Call, at_us: object, unknown: int) -> int:
    """When a step of a call began, in nanoseconds: as it is told, within the call."""
    if not isinstance(at_us, int) or isinstance(at_us, bool):
        return unknown
    return min(max(at_us * 1000, _ns(call)), _ns(call) + call.latency_us * 1000)


def _nodes(spans: Iterable[Node], calls: Iterable[Call]) -> dict[str, Node]:
    nodes: dict[str, Node] = {}
    named: dict[str, Node] = {}
    for node in spans:
        if node.id not in nodes:
            nodes[node.id] = node
            if node.call_id is not None:
                named.setdefault(node.call_id, node)
    known = list({call.id: call for call in calls}.values())
    aliases: dict[str, str] = {}
    for call in known:
        over = named.get(call.id) or (nodes.get(call.span_id) if call.client.startswith(OUTSIDE) else None)
        if over is not None and over.call is None:
            aliases[call.span_id] = over.id
            _count(over, call)
        else:
            key = call.id if call.span_id in nodes else call.span_id
            nodes[key] = _of_call(call, key)
    for node in nodes.values():
        if node.parent is not None and node.parent not in nodes:
            node.parent = aliases.get(node.parent, node.parent)
    return nodes


def of_span(span: Span) -> Node:
    """The node of a span that hangs nowhere yet. What a call took is the call's to say."""
    return Node(
        id=span.span_id,
        parent=span.parent_id,
        name=span.name,
        kind=span.kind,
        started_ns=span.started_ns,
        duration_us=max(span.duration_us, 0),
        failed=span.status == "error",
        error=span.error,
        told=True,
        call_id=span.call_id,
        session=span.session,
        tool=span.tool,
        model=span.model,
        service=span.service,
        cost_nano=span.cost_nano if span.call_id is None else None,
        input_tokens=span.input_tokens if span.call_id is None else 0,
        output_tokens=span.output_tokens if span.call_id is None else 0,
    )


def _of_call(call: Call, key: str) -> Node:
    node = Node(
        id=key,
        parent=call.parent_id,
        name=f"{call.operation} {call.task or call.model}".strip(),
        kind="chain" if call.task is not None else _KINDS.get(call.operation, "llm"),
        started_ns=_ns(call),
        duration_us=call.latency_us,
        service="loopwright",
    )
    _count(node, call)
    return node


def _count(node: Node, call: Call) -> None:
    """The figures of a node are those of its call."""
    node.call = call
    node.model = call.model or node.model
    node.input_tokens, node.output_tokens = call.input_tokens, call.output_tokens
    node.cost_nano, node.unpriced = call.cost_nano, call.cost_nano is None
    if call.outcome in ("error", "refused", "interrupted"):
        node.failed = True
        node.error = node.error or call.error or call.error_code or call.outcome


def _placed(nodes: dict[str, Node]) -> None:
    """See that every parent is there and that following parents comes to an end."""
    for node in list(nodes.values()):
        if node.parent is not None and node.parent not in nodes:
            nodes[node.parent] = Node(
                id=node.parent, parent=None, name=_MISSING, kind="other", started_ns=node.started_ns, duration_us=0,
                missing=True,
            )  # fmt: skip
    for node in list(nodes.values()):
        over = nodes.get(node.parent) if node.parent is not None else None
        if over is not None and over.missing:
            end = max(over.ended_ns, node.ended_ns)
            over.started_ns = min(over.started_ns, node.started_ns)
            over.duration_us = (end - over.started_ns) // 1000
    _uncircled(nodes)


def _uncircled(nodes: dict[str, Node]) -> None:
    done: set[str] = set()
    for first in nodes.values():
        path: list[Node] = []
        on_path: set[str] = set()
        node: Node | None = first
        while node is not None and node.id not in done:
            if node.id in on_path:
                ring = path[path.index(node) :]
                earliest = min(ring, key=lambda each: (each.started_ns, each.id))
                earliest.parent, earliest.cut = None, True
                break
            path.append(node)
            on_path.add(node.id)
            node = nodes[node.parent] if node.parent is not None else None
        done |= on_path


def _ordered(roots: list[Node]) -> list[Node]:
    found: list[Node] = []
    waiting = sorted(roots, key=_order, reverse=True)
    while waiting:
        node = waiting.pop()
        found.append(node)
        node.children.sort(key=_order)
        for child in reversed(node.children):
            child.depth = node.depth + 1
            waiting.append(child)
    return found


def _once(ordered: Sequence[Node]) -> None:
    """Count nothing twice: a span that tells of a call, and that very call as this house saw it."""
    holding: set[str] = set()
    for node in reversed(ordered):
        outside = node.call is not None and node.call.client.startswith(OUTSIDE)
        if outside and node.id in holding:
            node.twice = True
            node.input_tokens = node.output_tokens = 0
            node.cost_nano, node.unpriced = None, False
        if node.parent is not None and (node.id in holding or (node.call is not None and not outside)):
            holding.add(node.parent)


def _order(node: Node) -> tuple[int, int, str]:
    # What began together: the longer first, for it holds the others.
    return node.started_ns, -node.duration_us, node.id


def _ns(call: Call) -> int:
    return int(call.started_at.timestamp() * 1_000_000) * 1000


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else 0
