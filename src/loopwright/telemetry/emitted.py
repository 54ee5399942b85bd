"""Our calls as spans of OpenTelemetry's GenAI conventions, for whoever sends or writes them. Knows no wire and no database.

`span_of` is one call, `request_of` what OTLP calls an ExportTraceServiceRequest of many, `as_json` that as OTLP's JSON.
Names are those of v1.41; with `latest` those of `semantic-conventions-genai`, as `OTEL_SEMCONV_STABILITY_OPT_IN` asks for.
Of what was said nothing leaves unless `content` is set.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from loopwright import __version__
from loopwright.core.call import CallDetail
from loopwright.telemetry.doubles import ORIGIN
from loopwright.telemetry.spoken_out import input_messages, output_messages, tool_definitions

OPT_IN: Final = "OTEL_SEMCONV_STABILITY_OPT_IN"
LATEST: Final = "gen_ai_latest_experimental"
SCOPE: Final = "loopwright"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_OPERATIONS: Final = {"completion": "text_completion"}
_PROVIDERS: Final = {
    "azure": "azure.ai.openai", "bedrock": "aws.bedrock", "gemini": "gcp.gemini", "mistral": "mistral_ai",
    "vertex": "gcp.vertex_ai", "watsonx": "ibm.watsonx.ai", "xai": "x_ai",
}  # fmt: skip
"""Where the conventions have another name for somebody."""
_PARAMETERS: Final = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "seed": "gen_ai.request.seed",
    "n": "gen_ai.request.choice.count",
    "dimensions": "gen_ai.embeddings.dimension.count",
}
_encode: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How calls are told."""

    content: bool = False
    """What was asked and answered, too."""
    latest: bool = False
    """By the newest names of the conventions."""
    service: str = "loopwright"
    """`service.name` of the resource."""


def latest_wanted(environment: Mapping[str, str]) -> bool:
    """Whether `OTEL_SEMCONV_STABILITY_OPT_IN` asks for the newest names."""
    return LATEST in (each.strip() for each in environment.get(OPT_IN, "").split(","))


def operation_of(operation: str) -> str:
    """`gen_ai.operation.name` of an operation of ours."""
    return _OPERATIONS.get(operation, operation)


def provider_of(provider: str) -> str:
    """`gen_ai.provider.name` of a provider of ours; of what no provider was asked, this house."""
    return _PROVIDERS.get(provider, provider) or "loopwright"


def span_of(detail: CallDetail, form: Form) -> Span:
    """A call as one span."""
    call = detail.call
    start = (call.started_at - _EPOCH) // timedelta(microseconds=1) * 1000
    span = Span(
        trace_id=bytes.fromhex(call.trace_id),
        span_id=bytes.fromhex(call.span_id),
        parent_span_id=bytes.fromhex(call.parent_id) if call.parent_id else b"",
        name=f"{operation_of(call.operation)} {call.model}".strip(),
        kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=start,
        end_time_unix_nano=start + call.latency_us * 1000,
        attributes=pairs(_attributes(detail, form)),
    )
    if call.outcome != "ok":
        span.status.code = Status.STATUS_CODE_ERROR
        # A message may quote what was asked.
        span.status.message = (call.error or "") if form.content else ""
    return span


def request_of(details: Iterable[CallDetail], form: Form) -> ExportTraceServiceRequest:
    """Calls as one request of OTLP."""
    request = ExportTraceServiceRequest()
    about = request.resource_spans.add()
    about.resource.attributes.extend(resource_pairs(form))
    scope = about.scope_spans.add()
    scope.scope.name, scope.scope.version = SCOPE, __version__
    scope.spans.extend(span_of(each, form) for each in details)
    return request


def as_json(request: ExportTraceServiceRequest) -> bytes:
    """A request in OTLP's JSON: ids as hexadecimal digits, enums as numbers, on one line."""
    told = MessageToDict(request, use_integers_for_enums=True)
    for about in told.get("resourceSpans", ()):
        for scope in about.get("scopeSpans", ()):
            for span in scope.get("spans", ()):
                for name in ("traceId", "spanId", "parentSpanId"):
                    if name in span:
                        span[name] = base64.b64decode(span[name]).hex()
    return _encode(told)


def resource_pairs(form: Form) -> list[KeyValue]:
    """Who tells: attributes of the resource."""
    return pairs(
        {
            "service.name": form.service,
            "service.version": __version__,
            "telemetry.sdk.name": "loopwright",
            "telemetry.sdk.language": "python",
        }
    )


def pairs(attributes: Mapping[str, Any]) -> list[KeyValue]:
    """Attributes as OTLP has them; those that are None are left out."""
    return [KeyValue(key=name, value=_value(value)) for name, value in attributes.items() if value is not None]


def _attributes(detail: CallDetail, form: Form) -> dict[str, Any]:
    call = detail.call
    finish = call.finish
    prompt, _, version = (call.prompt_version or "").rpartition("@")
    found: dict[str, Any] = {
        "gen_ai.operation.name": operation_of(call.operation),
        "gen_ai.provider.name": provider_of(call.provider),
        "gen_ai.request.model": call.model,
        "gen_ai.request.stream": call.stream or None,
        "gen_ai.response.model": call.target or None,
        "gen_ai.response.id": _response_id(detail),
        "gen_ai.response.finish_reasons": [finish] if finish else None,
        "gen_ai.response.time_to_first_chunk": None if call.ttft_us is None else call.ttft_us / 1e6,
        # Cached ones are part of the input, reasoning is part of the output: never added.
        "gen_ai.usage.input_tokens": call.input_tokens,
        "gen_ai.usage.output_tokens": call.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": call.cached_tokens or None,
        "gen_ai.usage.reasoning.output_tokens": call.reasoning_tokens or None,
        "gen_ai.usage.cost": None if call.cost_nano is None else call.cost_nano / 1e9,
        "gen_ai.conversation.id": call.session,
        "gen_ai.prompt.name": prompt or None,
        "gen_ai.prompt.version": version or None,
        "error.type": None if call.outcome == "ok" else call.error_code or call.outcome,
        "user.id": call.tags.get("user"),
        "http.response.status_code": call.status,
        "loopwright.outcome": call.outcome,
        "loopwright.task": call.task,
        "loopwright.variant": call.variant,
        "loopwright.client": call.client or None,
        f"loopwright.tag.{ORIGIN}": call.id,
    }
    for name, value in call.tags.items():
        found.setdefault(f"loopwright.tag.{name}", value)
    request = detail.request or {}
    for name, told in _PARAMETERS.items():
        given = request.get(name)
        if isinstance(given, int | float) and not isinstance(given, bool):
            found[told] = given
    if form.content:
        found |= _content(detail)
    return found


def _content(detail: CallDetail) -> dict[str, Any]:
    request = detail.request or {}
    told: Mapping[str, Sequence[Any]] = {
        "gen_ai.input.messages": input_messages(request),
        "gen_ai.output.messages": output_messages(detail.response or {}),
        "gen_ai.tool.definitions": tool_definitions(request),
    }
    return {name: _written(value) for name, value in told.items() if value}


def _written(value: Sequence[Any]) -> str | None:
    try:
        return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode()
    except RecursionError:  # nested beyond reason
        return None


def _response_id(detail: CallDetail) -> str:
    given = (detail.response or {}).get("id")
    return given[:200] if isinstance(given, str) and given else detail.call.id


def _value(value: Any) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value) if -(2**63) <= value < 2**63 else AnyValue(string_value=str(value))
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, list | tuple):
        return AnyValue(array_value=ArrayValue(values=[_value(each) for each in value]))
    # Half of a surrogate pair is a character of Python and none of UTF-8.
    return AnyValue(string_value=str(value).encode("utf-8", "replace").decode())
