"""OTLP requests to send: made with OpenTelemetry's own messages, and the same in JSON."""

import base64
import json
import time
from collections.abc import Mapping
from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent

TRACE = "5b8efff798038103d269b633813fc60c"


def value_of(value: object) -> AnyValue:
    """A value as OpenTelemetry has it."""
    if isinstance(value, list):
        return AnyValue(array_value=ArrayValue(values=[value_of(each) for each in value]))
    if isinstance(value, dict):
        return AnyValue(kvlist_value=KeyValueList(values=pairs(value)))
    kinds = {bool: "bool_value", int: "int_value", float: "double_value", str: "string_value", bytes: "bytes_value"}
    return AnyValue(**{kinds[type(value)]: value})  # type: ignore[arg-type]


def pairs(values: Mapping[str, Any]) -> list[KeyValue]:
    """Attributes."""
    return [KeyValue(key=name, value=value_of(value)) for name, value in values.items()]


def span(
    name: str = "step",
    attributes: Mapping[str, Any] | None = None,
    *,
    trace: str = TRACE,
    number: int = 1,
    parent: int | None = None,
    start: int | None = None,
    ms: int = 100,
    failed: str | None = None,
    events: Mapping[str, Mapping[str, Any]] | None = None,
) -> Sent:
    """One span; `number` is its id, `parent` that of the one above."""
    began = time.time_ns() - 10**9 if start is None else start
    sent = Sent(
        trace_id=bytes.fromhex(trace),
        span_id=number.to_bytes(8),
        name=name,
        start_time_unix_nano=began,
        end_time_unix_nano=began + ms * 10**6,
        attributes=pairs(attributes or {}),
    )
    if parent is not None:
        sent.parent_span_id = parent.to_bytes(8)
    if failed is not None:
        sent.status.code, sent.status.message = 2, failed  # type: ignore[assignment]
    for each, told in (events or {}).items():
        sent.events.add(name=each, time_unix_nano=began + 10**6, attributes=pairs(told))
    return sent


def request(
    *spans: Sent, service: str = "shop", resource: Mapping[str, Any] | None = None
) -> ExportTraceServiceRequest:
    """A request of one program."""
    made = ExportTraceServiceRequest()
    group = made.resource_spans.add()
    group.resource.attributes.extend(pairs({"service.name": service, **(resource or {})}))
    scope = group.scope_spans.add()
    scope.scope.name = "tests"
    scope.spans.extend(spans)
    return made


def protobuf(*spans: Sent, **named: Any) -> bytes:
    """A request as bytes of protobuf."""
    return bytes(request(*spans, **named).SerializeToString())


def as_json(*spans: Sent, **named: Any) -> bytes:
    """A request as OTLP has it in JSON: ids in hexadecimal."""
    told = MessageToDict(request(*spans, **named))
    for each in told["resourceSpans"][0]["scopeSpans"][0].get("spans", ()):
        for name in ("traceId", "spanId", "parentSpanId"):
            if name in each:
                each[name] = base64.b64decode(each[name]).hex()
    return json.dumps(told).encode()
