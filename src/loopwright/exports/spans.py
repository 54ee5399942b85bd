"""Calls as OTLP, with what was said of them as events of their spans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from loopwright.exports.outgoing import Outgoing
from loopwright.telemetry.emitted import Form, pairs, request_of

EVALUATION: Final = "gen_ai.evaluation.result"
CORRECTION: Final = "loopwright.correction"
_encode: Final = msgspec.json.Encoder().encode


def told_request(some: Sequence[Outgoing], *, events: bool = True) -> ExportTraceServiceRequest:
    """These calls as one request; with `events`, scores and corrections too; who has no texts is wordless."""
    request = request_of([each.detail for each in some], Form(content=any(each.texts for each in some)))
    for span, each in zip(request.resource_spans[0].scope_spans[0].spans, some, strict=True):
        if each.detail.sealed:
            span.attributes.extend(pairs({"loopwright.sealed": each.detail.sealed}))
        if events:
            for score in each.scores:
                _event(span, EVALUATION, score, _evaluation(score))
            for correction in each.corrections:
                _event(span, CORRECTION, correction, _correction(correction))
    return request


def _event(span: Span, name: str, said: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
    event = span.events.add()
    event.name = name
    event.time_unix_nano = int(said["created_at"].timestamp() * 1e6) * 1000
    event.attributes.extend(pairs(attributes))


def _evaluation(score: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "gen_ai.evaluation.name": score["name"],
        "gen_ai.evaluation.score.value": score["value"],
        "gen_ai.evaluation.score.label": score["label"],
        "gen_ai.evaluation.explanation": score.get("explanation") or None,
        "loopwright.score.passed": score["passed"],
        "loopwright.score.source": score["source"],
        "loopwright.score.author": score["author"],
    }


def _correction(said: Mapping[str, Any]) -> dict[str, Any]:
    output = said.get("output")
    return {
        "loopwright.correction.output": output
        if output is None or isinstance(output, str)
        else _encode(output).decode(),
        "loopwright.correction.note": said.get("note") or None,
        "loopwright.correction.author": said["author"],
        "loopwright.correction.latest": said["latest"],
    }
