"""Our calls as GenAI spans: what leaves, and that whoever takes it reads the same call again."""

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from loopwright.calls.record import Record
from loopwright.core.call import Call, CallDetail
from loopwright.telemetry import jsons, protobuf
from loopwright.telemetry.emitted import Form, as_json, latest_wanted, request_of, span_of
from loopwright.telemetry.taking import take
from loopwright.telemetry.wire import Bounds
from tests.telemetry.test_dialects import terms

ASKED = {
    "model": "fast",
    "temperature": 0.5,
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Weather in Ulm?"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "sky", "arguments": '{"at": "Ulm"}'}}],
        },
        {"role": "tool", "tool_call_id": "t1", "content": "rain"},
    ],
}
ANSWERED = {
    "id": "chatcmpl-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "It rains."}, "finish_reason": "stop"}],
}


def detail(**named: Any) -> CallDetail:
    usual: dict[str, Any] = {
        "id": "01990000-0000-7000-8000-000000000001",
        "started_at": datetime.fromtimestamp(int(time.time()) - 60, UTC),
        "project_id": 3,
        "key_id": 7,
        "operation": "chat",
        "model": "fast",
        "target": "gpt-4o-2024-11-20",
        "provider": "gemini",
        "outcome": "ok",
        "status": 200,
        "error_code": None,
        "error": None,
        "finish": "stop",
        "stream": True,
        "input_tokens": 120,
        "output_tokens": 30,
        "cached_tokens": 100,
        "reasoning_tokens": 10,
        "usage_estimated": False,
        "cost_nano": 1_500_000,
        "price_source": "test",
        "ttft_us": 250_000,
        "latency_us": 1_250_000,
        "client": "python",
        "session": "s1",
        "trace_id": "a" * 32,
        "span_id": "b" * 16,
        "parent_id": "c" * 16,
        "task": "weather",
        "variant": "plain",
        "prompt_version": "sky@12ab",
        "tags": {"team": "web"},
    }
    return CallDetail(call=Call(**(usual | named)), request=ASKED, response=ANSWERED)


def told(span: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


def taken(request: ExportTraceServiceRequest, *, encoded: bool = False) -> Record:
    if encoded:
        decoded = jsons.spans_of(as_json(request), Bounds())
    else:
        decoded = protobuf.spans_of(request.SerializeToString(), Bounds())
    [step] = take(decoded, terms()).steps
    assert step.record is not None
    return step.record


def test_names_are_those_of_the_conventions() -> None:
    span = span_of(detail(), Form())
    found = told(span)
    assert (span.name, span.kind, span.status.code) == ("chat fast", 3, 0)
    assert (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()) == ("a" * 32, "b" * 16, "c" * 16)
    assert span.end_time_unix_nano - span.start_time_unix_nano == 1_250_000_000
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "gcp.gemini",
        "gen_ai.request.model": "fast",
        "gen_ai.response.model": "gpt-4o-2024-11-20",
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.time_to_first_chunk": 0.25,
        "gen_ai.usage.input_tokens": 120,
        "gen_ai.usage.output_tokens": 30,
        "gen_ai.usage.cache_read.input_tokens": 100,
        "gen_ai.usage.reasoning.output_tokens": 10,
        "gen_ai.conversation.id": "s1",
        "gen_ai.prompt.name": "sky",
        "gen_ai.prompt.version": "12ab",
        "gen_ai.request.temperature": 0.5,
    }
    assert {name: found.get(name) for name in expected} == expected


def test_what_was_said_stays_here_unless_it_is_asked_for() -> None:
    failed = detail(outcome="error", status=502, error_code="upstream", error="cannot: Weather in Ulm?")
    sent = request_of([failed], Form()).SerializeToString()
    assert not [word for word in (b"Ulm", b"rains", b"brief") if word in sent]
    assert span_of(failed, Form()).status.code == 2
    assert told(span_of(failed, Form()))["error.type"] == "upstream"
    assert b"Ulm" in request_of([failed], Form(content=True)).SerializeToString()


def test_messages_have_the_parts_of_the_conventions() -> None:
    found = told(span_of(detail(), Form(content=True)))
    asked = json.loads(found["gen_ai.input.messages"])
    assert asked[1] == {"role": "user", "parts": [{"type": "text", "content": "Weather in Ulm?"}]}
    assert asked[2]["parts"] == [{"type": "tool_call", "id": "t1", "name": "sky", "arguments": {"at": "Ulm"}}]
    assert asked[3]["parts"] == [{"type": "tool_call_response", "id": "t1", "response": "rain"}]
    assert json.loads(found["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "It rains."}], "finish_reason": "stop"}
    ]


def test_whoever_takes_it_reads_the_same_call() -> None:
    for encoded in (False, True):
        record = taken(request_of([detail()], Form(content=True)), encoded=encoded)
        assert (record.model, record.target, record.provider) == ("fast", "gpt-4o-2024-11-20", "gemini")
        assert (record.input_tokens, record.output_tokens) == (120, 30)
        assert (record.cached_tokens, record.reasoning_tokens) == (100, 10)
        assert (record.latency_us, record.ttft_us, record.cost_nano) == (1_250_000, 250_000, 1_500_000)
        assert (record.session, record.prompt_version) == ("s1", "sky@12ab")
        assert record.tags == {"team": "web", "loopwright.origin": detail().call.id}
        assert json.loads(record.request)["messages"][0] == {"role": "system", "content": "Be brief."}
        assert json.loads(record.answer)["choices"][0]["message"]["content"] == "It rains."


def test_odd_texts_are_told_as_far_as_they_can_be() -> None:
    odd: list[Any] = [
        {"messages": "none"},
        {
            "messages": [
                1,
                {"role": 5, "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,A"}}]},
            ]
        },
        {"messages": [{"role": "user", "content": "\ud800"}], "tools": [None, {"function": {"name": "f"}}]},
        {"input": ["one", 2, None]},
        {"prompt": {"a": 1}, "seed": 2**70, "temperature": "hot"},
    ]
    for request in odd:
        told_of = replace(detail(), request=request, response={"choices": [None, {"text": 5}, {"message": []}]})
        request_of([told_of], Form(content=True)).SerializeToString()


def test_the_newest_names_are_asked_for_as_everywhere() -> None:
    assert latest_wanted({"OTEL_SEMCONV_STABILITY_OPT_IN": "http, gen_ai_latest_experimental"})
    assert not latest_wanted({"OTEL_SEMCONV_STABILITY_OPT_IN": "http"})
