from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.call import Call
from loopwright.telemetry.span import Span
from loopwright.telemetry.sums import summed
from loopwright.telemetry.tree import Node, departed, inside, of_span, tree

SECOND = 10**9
NOW = 1_700_000_000 * SECOND


def hexed(number: int) -> str:
    return f"{number:016x}"


def span(number: int, parent: int | None = None, *, at: float = 0.0, took: float = 1.0, **more: Any) -> Node:
    usual: dict[str, Any] = {"name": f"step {number}", "kind": "chain", "status": "ok"}
    told = Span(
        project_id=1, trace_id="a" * 32, span_id=hexed(number), parent_id=None if parent is None else hexed(parent),
        started_ns=NOW + int(at * SECOND), duration_us=int(took * 1_000_000), **(usual | more),
    )  # fmt: skip
    return of_span(told)


def call(number: int, parent: int | None = None, *, at: float = 0.0, took: float = 1.0, **more: Any) -> Call:
    usual: dict[str, Any] = {
        "id": f"018bcfe5-6800-7000-8000-{number:012x}", "project_id": 1, "key_id": 1, "operation": "chat", "model": "m",
        "target": "m", "provider": "p", "outcome": "ok", "status": 200, "error_code": None, "error": None, "finish": "stop",
        "stream": False, "input_tokens": 10, "output_tokens": 5, "cached_tokens": 0, "reasoning_tokens": 0,
        "usage_estimated": False, "cost_nano": 100, "price_source": None, "ttft_us": None, "client": "pytest",
        "session": None, "trace_id": "a" * 32,
    }  # fmt: skip
    return Call(
        span_id=hexed(number), parent_id=None if parent is None else hexed(parent),
        started_at=datetime.fromtimestamp(NOW / SECOND, UTC) + timedelta(seconds=at), latency_us=int(took * 1_000_000),
        **(usual | more),
    )  # fmt: skip


def test_spans_and_calls_are_one_tree_summed_once() -> None:
    nodes = tree(
        [span(1, took=10), span(2, 1, at=1, took=2, kind="tool"), span(3, 1, at=4, took=5, kind="agent")],
        [call(4, 3, at=5, took=1), call(5, 3, at=7, took=2, outcome="error", error="upstream said no", cost_nano=None)],
    )
    assert [(node.id, node.depth) for node in nodes] == [
        (hexed(1), 0), (hexed(2), 1), (hexed(3), 1), (hexed(4), 2), (hexed(5), 2),
    ]  # fmt: skip
    totals = summed(nodes)
    assert (totals.nodes, totals.calls, totals.failed, totals.unpriced) == (5, 2, 1, 1)
    assert (totals.cost_nano, totals.input_tokens, totals.duration_us) == (100, 20, 10_000_000)
    root = nodes[0]
    assert (root.below, root.all_cost_nano, root.all_failed, root.self_us) == (4, 100, 1, 3_000_000)
    assert [node.id for node in nodes if node.critical] == [hexed(1), hexed(2), hexed(3), hexed(4), hexed(5)]
    assert totals.models[0].name == "m"


def test_a_call_that_a_span_tells_of_is_counted_once() -> None:
    def told() -> Node:
        return span(2, 1, kind="llm", call_id=call(2).id, model="m", input_tokens=10)

    outside = call(2, 1, client="otlp:app")
    [_, node] = tree([span(1), told()], [outside])
    assert node.call is outside
    assert node.cost_nano == 100
    # The same question came through this house, an HTTP span between the two.
    ours = call(7, 3, cost_nano=90)
    nodes = tree([span(1), told(), span(3, 2)], [outside, ours])
    totals = summed(nodes)
    assert [node.id for node in nodes] == [hexed(1), hexed(2), hexed(3), hexed(7)]
    assert (totals.calls, totals.cost_nano, totals.input_tokens) == (1, 90, 10)
    # Or the span was linked to it when it came: one node, and what hangs under the call hangs under that.
    linked = span(2, 1, kind="llm", call_id=ours.id)
    nodes = tree([span(1), linked, span(3, 2), span(9, 7)], [ours])
    assert [(node.id, node.depth) for node in nodes] == [(hexed(1), 0), (hexed(2), 1), (hexed(3), 2), (hexed(9), 2)]
    assert summed(nodes).cost_nano == 90


def test_orphans_hang_under_what_never_came() -> None:
    nodes = tree([span(2, 99, at=1), span(3, 99, at=3), span(4, 2, at=1)], [])
    assert [(node.id, node.depth, node.missing) for node in nodes] == [
        (hexed(99), 0, True), (hexed(2), 1, False), (hexed(4), 2, False), (hexed(3), 1, False),
    ]  # fmt: skip
    assert nodes[0].duration_us == 3_000_000
    assert (summed(nodes).nodes, summed(nodes).missing) == (3, 1)


def test_rings_of_parents_are_cut_at_their_earliest() -> None:
    nodes = tree([span(1, 3, at=2), span(2, 1, at=1), span(3, 2, at=3), span(4, 3), span(5, 5)], [])
    assert sorted(node.id for node in nodes if node.cut) == [hexed(2), hexed(5)]
    assert len(nodes) == 5
    assert next(node for node in nodes if node.id == hexed(4)).depth == 2


def test_a_chain_of_thirty_thousand_is_no_matter_of_recursion() -> None:
    nodes = tree([span(at, at - 1 if at else None) for at in range(30_000)], [])
    assert nodes[-1].depth == 29_999
    assert summed(nodes).nodes == 30_000


def test_a_wrong_clock_does_not_squeeze_the_rest() -> None:
    nodes = tree([span(1), span(2, 1), span(3, 1, at=10**8), span(4, 1, at=-(10**9))], [])
    totals = summed(nodes)
    assert totals.duration_us == 1_000_000
    assert totals.strange == 2


def test_requests_inside_a_call_are_shown_and_not_counted() -> None:
    asked = call(1, took=3, task="t")
    made = inside(asked, [
        {"name": "draft", "model": "a", "latency_us": 1_000_000, "input_tokens": 3, "error": ""},
        {"name": "check", "model": "b", "latency_us": 1_500_000, "error": "it broke"},
        {"name": 7, "latency_us": "long", "input_tokens": -4},
    ])  # fmt: skip
    nodes = tree([], [asked], {asked.id: made})
    totals = summed(nodes)
    assert [node.name for node in nodes] == ["chat t", "draft", "check", "7"]
    assert nodes[2].started_ns == nodes[1].ended_ns
    assert (totals.nodes, totals.failed, totals.cost_nano) == (1, 0, 100)
    beside = inside(call(1, took=1), [{"latency_us": 900_000}, {"latency_us": 900_000}])
    assert beside[0].started_ns == beside[1].started_ns
    began = began_of(asked)
    known = inside(asked, [
        {"latency_us": 500_000, "at_us": began + 250_000}, {"latency_us": 500_000},
        {"latency_us": 500_000, "at_us": began - 10**9}, {"latency_us": 5, "at_us": began + 10**15},
        {"latency_us": 5, "at_us": "soon"},
    ])  # fmt: skip
    assert [node.started_ns // 1000 - began for node in known] == [250_000, 750_000, 0, 3_000_000, 3_000_005]


def test_targets_that_were_tried_are_shown() -> None:
    tried = departed(call(1), [{"provider": "a", "model": "x", "answered": False}, {"provider": "b", "answered": True}])
    assert [(node.name, node.failed) for node in tried] == [("a x", True), ("b", False)]
    assert departed(call(1), [{"provider": "a"}]) == []
    began = began_of(call(1))
    known = departed(
        call(1),
        [{"provider": "a", "at_us": began + 1_000}, {"provider": "b", "at_us": began + 400_000, "answered": True}],
    )
    assert [(node.started_ns // 1000 - began, node.duration_us) for node in known] == [
        (1_000, 399_000),
        (400_000, 600_000),
    ]


def began_of(asked: Call) -> int:
    """Unix microseconds."""
    return (asked.started_at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


ids = st.integers(0, 12)
some_spans = st.lists(
    st.builds(
        span,
        ids,
        st.none() | ids,
        at=st.floats(-1e9, 1e9) | st.floats(0, 10),
        took=st.floats(0, 1e7),
        kind=st.sampled_from(["llm", "tool", "chain"]),
        status=st.sampled_from(["ok", "error"]),
        cost_nano=st.none() | st.integers(0, 100),
    ),
    max_size=25,
)
some_calls = st.lists(
    st.builds(
        call, st.integers(8, 20), st.none() | ids, at=st.floats(0, 10), client=st.sampled_from(["otlp:x", "openai"])
    ),
    max_size=8,
)


@given(some_spans, some_calls)
def test_whatever_comes_becomes_a_tree(spans: list[Node], calls: list[Call]) -> None:
    nodes = tree(spans, calls)
    at = {node.id: number for number, node in enumerate(nodes)}
    assert len(at) == len(nodes)
    assert {each.id for each in spans} <= at.keys()
    for node in nodes:
        if node.parent is not None:
            assert at[node.parent] < at[node.id]
            assert node.depth == nodes[at[node.parent]].depth + 1
    totals = summed(nodes)
    assert totals.nodes == len(nodes) - totals.missing
    assert sum(node.all_cost_nano for node in nodes if node.parent is None) == totals.cost_nano
    assert sum(node.below + 1 for node in nodes if node.parent is None) == len(nodes)
    assert all(0 <= node.self_us <= node.duration_us for node in nodes)
    # Each call on record is somewhere, and none twice.
    held = [node.call.id for node in nodes if node.call is not None]
    assert sorted(held) == sorted({each.id for each in calls})
