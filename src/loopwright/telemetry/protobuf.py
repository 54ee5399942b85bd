"""OTLP in protobuf. The outer messages are walked here, each span, log and metric is parsed by itself.

So one that is damaged, nested too deep or not UTF-8 is refused alone, and nobody can have millions of empty ones made.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any, Final

from loopwright.core.errors import BadRequest
from loopwright.kit.postponed import Postponed
from loopwright.telemetry.wire import (
    DEEPEST,
    Attributes,
    Bounds,
    Decoded,
    Source,
    WireLog,
    WirePoint,
    WireSpan,
    note,
    plain,
)

_message: Final = Postponed("google.protobuf.message")
_trace: Final = Postponed("opentelemetry.proto.trace.v1.trace_pb2")
_logs: Final = Postponed("opentelemetry.proto.logs.v1.logs_pb2")
_metrics: Final = Postponed("opentelemetry.proto.metrics.v1.metrics_pb2")
_resource: Final = Postponed("opentelemetry.proto.resource.v1.resource_pb2")
_common: Final = Postponed("opentelemetry.proto.common.v1.common_pb2")
_BIG: Final = 64_000
"""Bytes beyond which the fields of an item are counted before it is parsed."""
_GROUPS: Final = 10_000
_DAMAGED: Final = "is damaged, nested too deep, or holds text that is not UTF-8"


def spans_of(data: bytes, bounds: Bounds) -> Decoded[WireSpan]:
    """The spans of an ExportTraceServiceRequest.

    Raises:
        BadRequest: it is none.
    """
    return _decoded(data, bounds, "span", _trace.Span, lambda item, found: found.append(_span(item, bounds)))


def logs_of(data: bytes, bounds: Bounds) -> Decoded[WireLog]:
    """The records of an ExportLogsServiceRequest.

    Raises:
        BadRequest: it is none.
    """
    return _decoded(data, bounds, "log record", _logs.LogRecord, lambda item, found: found.append(_log(item, bounds)))


def points_of(data: bytes, bounds: Bounds) -> Decoded[WirePoint]:
    """The points of an ExportMetricsServiceRequest.

    Raises:
        BadRequest: it is none.
    """
    return _decoded(data, bounds, "metric", _metrics.Metric, lambda item, found: found.extend(_points(item, bounds)))


def _decoded(
    data: bytes, bounds: Bounds, what: str, message: Any, take: Callable[[Any, list[Any]], None]
) -> Decoded[Any]:
    """All three requests have one form: 1 groups, of which 1 resource and 2 scopes, of which 1 scope and 2 items."""
    decoded: Decoded[Any] = Decoded()
    left, groups = bounds.items, 0
    for resource, scopes in _parted(data):
        attributes = _attributes(_lenient(_resource.Resource, resource).attributes, bounds, [])
        for each in scopes:
            head, items = _split(each)
            groups += 1
            if groups > _GROUPS:
                raise BadRequest(f"more than {_GROUPS:,} scopes in one request")
            source = Source(resource=attributes, scope=_lenient(_common.InstrumentationScope, head).name)
            found: list[Any] = []
            for item in items:
                if left <= 0:
                    decoded.refuse(f"more than {bounds.items:,} items in one request")
                    continue
                left -= 1
                if len(item) > _BIG and _fields_beyond(item, bounds.refused):
                    decoded.refuse(f"a {what} has more than {bounds.refused:,} attributes")
                    continue
                try:
                    take(message.FromString(item), found)
                except (_message.DecodeError, RecursionError):
                    decoded.refuse(f"a {what} {_DAMAGED}")
            decoded.groups.append((source, found))
    return decoded


def _parted(data: bytes) -> Iterator[tuple[bytes, list[bytes]]]:
    for number, group in _fields(data):
        if number == 1:
            yield _split(group)


def _split(group: bytes) -> tuple[bytes, list[bytes]]:
    """The last field 1 of a message and all its fields 2."""
    head, items = b"", []
    for number, field in _fields(group):
        if number == 2:
            items.append(field)
        elif number == 1:
            head = field
    return head, items


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(number, bytes) of the length-delimited fields of a message; others are passed over.

    Raises:
        BadRequest: it is no message.
    """
    at, end = 0, len(data)
    while at < end:
        tag = data[at]
        if tag < 0x80:
            at += 1
        else:
            tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 2:
            size = data[at] if at < end else 0x80
            if size < 0x80:
                at += 1
            else:
                size, at = _varint(data, at)
            start, at = at, at + size
            if at > end:
                break
            yield tag >> 3, data[start:at]
        elif kind == 0:
            _, at = _varint(data, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            break
    if at != end:
        raise BadRequest("the body is no OTLP in protobuf: its messages are damaged or cut short")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise BadRequest("the body is no OTLP in protobuf: a number in it does not end")


def _fields_beyond(item: bytes, most: int) -> bool:
    """Whether a message has more than `most` fields, or is none."""
    try:
        return any(count >= most for count, _ in enumerate(_fields(item)))
    except BadRequest:
        return False  # The parser will say so.


def _lenient(message: Any, data: bytes) -> Any:
    """Who sent it is worth less than what was sent."""
    try:
        if len(data) <= _BIG:
            return message.FromString(data)
    except _message.DecodeError:
        pass
    return message()


def _span(item: Any, bounds: Bounds) -> WireSpan:
    clipped: list[str] = []
    return WireSpan(
        trace_id=item.trace_id,
        span_id=item.span_id,
        parent_id=item.parent_span_id,
        name=item.name,
        kind=item.kind,
        start=item.start_time_unix_nano,
        end=item.end_time_unix_nano,
        status=item.status.code,
        message=item.status.message,
        attributes=_attributes(item.attributes, bounds, clipped),
        events=_events(item.events, bounds, clipped) if item.events else [],
        links=_links(item.links, bounds, clipped) if item.links else [],
        clipped=clipped,
    )


def _events(events: Any, bounds: Bounds, clipped: list[str]) -> list[tuple[int, str, Attributes]]:
    if len(events) > bounds.attributes:
        note(clipped, "events")
    return [
        (each.time_unix_nano, each.name, _attributes(each.attributes, bounds, clipped))
        for each in events[: bounds.attributes]
    ]


def _links(links: Any, bounds: Bounds, clipped: list[str]) -> list[tuple[str, str, Attributes]]:
    if len(links) > bounds.attributes:
        note(clipped, "links")
    return [
        (each.trace_id.hex(), each.span_id.hex(), _attributes(each.attributes, bounds, clipped))
        for each in links[: bounds.attributes]
    ]


def _log(item: Any, bounds: Bounds) -> WireLog:
    clipped: list[str] = []
    return WireLog(
        at=item.time_unix_nano or item.observed_time_unix_nano,
        severity=item.severity_number,
        name=item.event_name,
        body=_value(item.body, bounds, clipped, "body"),
        attributes=_attributes(item.attributes, bounds, clipped),
        trace_id=item.trace_id,
        span_id=item.span_id,
        clipped=clipped,
    )


_KINDS: Final = {
    "gauge": "gauge",
    "sum": "sum",
    "histogram": "histogram",
    "exponential_histogram": "exponential",
    "summary": "summary",
}


def _points(item: Any, bounds: Bounds) -> Iterator[WirePoint]:
    which = item.WhichOneof("data")
    if which is None:
        return
    for point in getattr(item, which).data_points:
        value, count, shape = _measured(which, point)
        yield WirePoint(
            name=item.name,
            kind=_KINDS[which],
            unit=item.unit,
            at=point.time_unix_nano,
            value=value,
            count=count,
            shape=shape,
            attributes=_attributes(point.attributes, bounds, []),
        )


def _measured(which: str, point: Any) -> tuple[float | None, int | None, dict[str, Any] | None]:
    if which in ("gauge", "sum"):
        return float(point.as_int if point.WhichOneof("value") == "as_int" else point.as_double), None, None
    if which == "histogram":
        shape = {"bounds": list(point.explicit_bounds), "counts": list(point.bucket_counts)}
    elif which == "summary":
        shape = {"quantiles": [[each.quantile, each.value] for each in point.quantile_values]}
    else:
        shape = {
            "scale": point.scale,
            "zero": point.zero_count,
            "positive": [point.positive.offset, list(point.positive.bucket_counts)],
            "negative": [point.negative.offset, list(point.negative.bucket_counts)],
        }
    return float(point.sum), int(point.count), shape


def _attributes(pairs: Any, bounds: Bounds, clipped: list[str]) -> Attributes:
    """The last of those with one name."""
    if len(pairs) > bounds.attributes:
        note(clipped, "attributes")
        pairs = pairs[: bounds.attributes]
    found: Attributes = {}
    longest = bounds.characters
    for pair in pairs:
        value = pair.value
        text = value.string_value
        if not text:
            found[pair.key] = _value(value, bounds, clipped, pair.key)
        elif len(text) > longest:
            note(clipped, pair.key)
            found[pair.key] = text[:longest]
        else:
            found[pair.key] = text
    return found


def _value(value: Any, bounds: Bounds, clipped: list[str], name: str, depth: int = 0) -> Any:
    which = value.WhichOneof("value")
    if which is None:
        return None
    if which == "int_value":
        return value.int_value
    found = getattr(value, which)
    if which in ("string_value", "bytes_value"):
        if len(found) > bounds.characters:
            note(clipped, name)
            found = found[: bounds.characters]
        return found if which == "string_value" else base64.b64encode(found).decode()
    if which not in ("array_value", "kvlist_value"):
        return plain(found)
    values = found.values
    if depth >= DEEPEST or len(values) > bounds.attributes:
        note(clipped, name)
        values = () if depth >= DEEPEST else values[: bounds.attributes]
    if which == "array_value":
        return [_value(each, bounds, clipped, name, depth + 1) for each in values]
    return {each.key: _value(each.value, bounds, clipped, name, depth + 1) for each in values}
