"""Logs and metrics taken in: what events say of calls is taken at its word, numbers are kept and counted nowhere."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from loopwright.core.errors import NotFound
from loopwright.feedback.store import Feedback
from loopwright.kit.seal import Seal
from tests.telemetry.sent import TRACE, pairs, protobuf, span, value_of
from tests.telemetry.taken import KEY, WHO, Room, opened
from tests.telemetry.test_dialects import ASKED, GENAI, SAID

BARE = {name: value for name, value in GENAI.items() if "messages" not in name and "instructions" not in name}


def over(url: str, work: Callable[[Room], Awaitable[None]], **named: Any) -> None:
    async def main() -> None:
        async with opened(url, **named) as room:
            await work(room)

    asyncio.run(main())


def logs(*events: tuple[str, Any, Mapping[str, Any]], number: int = 2, at: int | None = None) -> bytes:
    """Events of one span."""
    made = ExportLogsServiceRequest()
    group = made.resource_logs.add()
    group.resource.attributes.extend(pairs({"service.name": "shop"}))
    scope = group.scope_logs.add()
    for index, (name, body, attributes) in enumerate(events):
        record = scope.log_records.add(event_name=name, attributes=pairs(attributes), severity_number=9)
        record.time_unix_nano = (at or time.time_ns()) + index
        if body is not None:
            record.body.CopyFrom(value_of(body))
        record.trace_id, record.span_id = bytes.fromhex(TRACE), number.to_bytes(8)
    return bytes(made.SerializeToString())


SCORED = ("gen_ai.evaluation.result", None, {
    "gen_ai.evaluation.name": "Answer Relevance!", "gen_ai.evaluation.score.value": 0.75, "gen_ai.evaluation.score.label": "pass",
    "gen_ai.evaluation.explanation": "it answers",
})  # fmt: skip


@pytest.mark.parametrize("first", ["event", "span"])
def test_an_evaluation_is_a_score_whichever_comes_first(database_url: str, first: str) -> None:
    async def work(room: Room) -> None:
        sending: list[Callable[[], Awaitable[Any]]] = [
            lambda: room.intake.logs(logs(SCORED), "protobuf", WHO),
            lambda: room.intake.spans(protobuf(span("chat", GENAI, number=2)), "protobuf", WHO),
        ]
        for send in sending if first == "event" else reversed(sending):
            await send()
            await room.settling()
        [call] = await room.drained()
        assert await room.settling.settle(datetime.now(UTC)) == 1
        assert await room.settling.settle(datetime.now(UTC)) == 0
        [given] = await Feedback(room.db).scores([call.id])
        assert (given.score.name, given.score.value, given.score.passed) == ("Answer_Relevance", 0.75, True)
        assert (given.source, given.author, given.score.explanation) == ("code", "shop", "it answers")

    over(database_url, work)


@pytest.mark.parametrize("how", ["details", "messages"])
def test_texts_told_as_events_are_those_of_their_call(database_url: str, how: str) -> None:
    told: list[tuple[str, Any, Mapping[str, Any]]] = [
        ("gen_ai.client.inference.operation.details", None, {
            "gen_ai.system_instructions": [{"type": "text", "content": "Be brief."}],
            "gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": ASKED[1]["content"]}]}],
            "gen_ai.output.messages": [{"role": "assistant", "parts": [{"type": "text", "content": SAID}], "finish_reason": "stop"}],
        }),
    ] if how == "details" else [
        ("gen_ai.system.message", {"content": "Be brief."}, {}),
        ("gen_ai.user.message", {"content": ASKED[1]["content"]}, {}),
        ("gen_ai.choice", {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": SAID}}, {}),
    ]  # fmt: skip

    async def work(room: Room) -> None:
        await room.intake.spans(protobuf(span("chat", BARE, number=2)), "protobuf", WHO)
        [call] = await room.drained()
        assert (await room.calls.get(call.id, project_id=3)).request is None
        await room.intake.logs(logs(*told), "protobuf", WHO)
        await room.settling()
        detail = await room.calls.get(call.id, project_id=3)
        assert detail.request is not None
        assert detail.response is not None
        assert detail.request["messages"] == ASKED
        assert detail.response["choices"][0]["message"]["content"] == SAID
        assert len(await room.intake.logged.of_trace(3, TRACE)) == len(told)

    over(database_url, work, seal=Seal([KEY]))


def test_what_waits_in_vain_waits_no_longer_than_an_hour(database_url: str) -> None:
    async def work(room: Room) -> None:
        await room.intake.logs(logs(SCORED), "protobuf", WHO)
        now = datetime.now(UTC)
        waiting = "select count(*) as n from span_logs where pending <> 0"
        for later, left in ((timedelta(), 1), (timedelta(hours=2), 0)):
            await room.settling.settle(now + later)
            assert await room.db.row(waiting) == {"n": left}

    over(database_url, work)


def test_logs_are_kept_once_and_within_bounds(database_url: str) -> None:
    async def work(room: Room) -> None:
        at = time.time_ns()
        lines = [("", f"line {index}", {"n": index}) for index in range(5)]
        first = await room.intake.logs(logs(*lines[:2], at=at), "protobuf", WHO)
        again = await room.intake.logs(logs(*lines[:2], at=at), "protobuf", WHO)
        assert (first.new, again.new, again.refused) == (2, 0, 0)
        found = await room.intake.logged.of_trace(3, TRACE)
        assert [(each.body, each.attributes, each.severity) for each in found] == [
            ("line 0", {"n": 0}, 9),
            ("line 1", {"n": 1}, 9),
        ]
        assert await room.intake.logged.of_trace(4, TRACE) == []
        more = await room.intake.logs(logs(*lines, SCORED), "protobuf", WHO)
        assert more.refused >= 3
        assert "logs_per_day" in more.message
        old = await room.intake.logs(logs(lines[0], at=5), "protobuf", WHO)
        assert (old.new, old.refused) == (0, 1)
        assert await room.intake.forget(project_id=3, trace_id=TRACE) > 0
        assert await room.intake.logged.of_trace(3, TRACE) == []

    over(database_url, work, logs_per_day=5)


def metrics(at: int, tokens: int = 10, *, model: str = "gpt-4o") -> bytes:
    made = ExportMetricsServiceRequest()
    group = made.resource_metrics.add()
    group.resource.attributes.extend(pairs({"service.name": "shop"}))
    scope = group.scope_metrics.add()
    usage = scope.metrics.add(name="gen_ai.client.token.usage", unit="{token}")
    point = usage.histogram.data_points.add(
        time_unix_nano=at, count=2, sum=tokens, explicit_bounds=[1, 4], bucket_counts=[0, 1, 1]
    )
    point.attributes.extend(pairs({"gen_ai.request.model": model, "gen_ai.token.type": "input"}))
    scope.metrics.add(name="queue").gauge.data_points.add(time_unix_nano=at, as_int=3)
    scope.metrics.add(name="hits").sum.data_points.add(time_unix_nano=at, as_double=1.5)
    spread = scope.metrics.add(name="spread").exponential_histogram.data_points.add(
        time_unix_nano=at, count=1, sum=2, scale=5
    )
    spread.positive.bucket_counts.append(1)
    scope.metrics.add(name="quantiles").summary.data_points.add(time_unix_nano=at, count=1, sum=2)
    return bytes(made.SerializeToString())


def test_points_are_kept_once_and_counted_nowhere(database_url: str) -> None:
    async def work(room: Room) -> None:
        at = time.time_ns()
        assert (await room.intake.points(metrics(at), "protobuf", WHO)).new == 5
        await room.intake.points(metrics(at), "protobuf", WHO)
        await room.intake.points(metrics(at + 10**9, 30), "protobuf", WHO)
        found = {each.name: each for each in await room.intake.metrics.series(3)}
        assert {name: each.kind for name, each in found.items()} == {
            "gen_ai.client.token.usage": "histogram", "queue": "gauge", "hits": "sum", "spread": "exponential",
            "quantiles": "summary",
        }  # fmt: skip
        tokens = found["gen_ai.client.token.usage"]
        assert (tokens.points, tokens.last_value, tokens.last_count, tokens.service) == (2, 30.0, 2, "shop")
        points = await room.intake.metrics.points(tokens.id, 3)
        assert [each["value"] for each in points] == [10.0, 30.0]
        assert points[0]["shape"] == {"bounds": [1.0, 4.0], "counts": [0, 1, 1]}
        assert await room.intake.metrics.series(4) == []
        with pytest.raises(NotFound):
            await room.intake.metrics.points(tokens.id, 4)
        assert await room.drained() == []
        assert (await room.intake.points(metrics(5), "protobuf", WHO)).refused == 5

    over(database_url, work)


def test_metrics_and_logs_in_json(database_url: str) -> None:
    async def work(room: Room) -> None:
        at = str(time.time_ns())
        points = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [
            {"name": "queue", "gauge": {"dataPoints": [{"timeUnixNano": at, "asInt": "3", "attributes": []}]}},
            {"name": "tokens", "histogram": {"dataPoints": [{"timeUnixNano": at, "count": "2", "sum": 3, "bucketCounts": ["1", "1"], "explicitBounds": [1]}]}},
            {"name": "odd", "sum": {"dataPoints": [{"timeUnixNano": at, "asInt": "many"}]}},
        ]}]}]}  # fmt: skip
        accepted = await room.intake.points(json.dumps(points).encode(), "json", WHO)
        assert (accepted.new, accepted.refused) == (2, 1)
        record = {"timeUnixNano": at, "body": {"stringValue": "said"}, "traceId": TRACE, "spanId": "00000000000000aa"}
        told = {"resourceLogs": [{"scopeLogs": [{"logRecords": [record, {"traceId": "no"}, 3]}]}]}
        accepted = await room.intake.logs(json.dumps(told).encode(), "json", WHO)
        assert (accepted.new, accepted.refused) == (1, 2)
        [kept] = await room.intake.logged.of_trace(3, TRACE)
        assert (kept.body, kept.span_id) == ("said", "00000000000000aa")

    over(database_url, work)
