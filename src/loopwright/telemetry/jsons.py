"""OTLP in JSON: the mapping of protobuf, but with ids in hexadecimal. Each span, log and metric is read by itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from loopwright.core.errors import BadRequest
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

_SPAN_KINDS: Final = {
    f"SPAN_KIND_{name}": number
    for number, name in enumerate(("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"))
}
_STATUSES: Final = {"STATUS_CODE_UNSET": 0, "STATUS_CODE_OK": 1, "STATUS_CODE_ERROR": 2}
_DATA: Final = {
    "gauge": "gauge",
    "sum": "sum",
    "histogram": "histogram",
    "exponentialHistogram": "exponential",
    "summary": "summary",
}
_Refused = (msgspec.MsgspecError, ValueError, TypeError, AttributeError, KeyError, RecursionError, OverflowError)
"""What reading an odd item raises: whoever may write JSON may write anything in any place."""


class _Scope(msgspec.Struct):
    name: str = ""


class _Resource(msgspec.Struct):
    attributes: list[dict[str, Any]] = []


class _Scoped(msgspec.Struct, rename="camel"):
    scope: _Scope | None = None
    spans: list[msgspec.Raw] = []
    log_records: list[msgspec.Raw] = []
    metrics: list[msgspec.Raw] = []

    def items(self) -> list[msgspec.Raw]:
        return self.spans or self.log_records or self.metrics


class _Group(msgspec.Struct, rename="camel"):
    resource: _Resource | None = None
    scope_spans: list[_Scoped] = []
    scope_logs: list[_Scoped] = []
    scope_metrics: list[_Scoped] = []

    def scopes(self) -> list[_Scoped]:
        return self.scope_spans or self.scope_logs or self.scope_metrics


class _Request(msgspec.Struct, rename="camel"):
    resource_spans: list[_Group] = []
    resource_logs: list[_Group] = []
    resource_metrics: list[_Group] = []


_decode: Final = msgspec.json.Decoder(_Request).decode
_item: Final = msgspec.json.Decoder(dict[str, Any]).decode


def spans_of(data: bytes, bounds: Bounds) -> Decoded[WireSpan]:
    """The spans of an ExportTraceServiceRequest.

    Raises:
        BadRequest: it is none.
    """
    groups = _request(data).resource_spans
    return _decoded(groups, bounds, "span", lambda item, found: found.append(_span(item, bounds)))


def logs_of(data: bytes, bounds: Bounds) -> Decoded[WireLog]:
    """The records of an ExportLogsServiceRequest.

    Raises:
        BadRequest: it is none.
    """
    groups = _request(data).resource_logs
    return _decoded(groups, bounds, "log record", lambda item, found: found.append(_log(item, bounds)))


def points_of(data: bytes, bounds: Bounds) -> Decoded[WirePoint]:
    """The points of an ExportMetricsServiceRequest.

    Raises:
        BadRequest: it is none.
    """
    groups = _request(data).resource_metrics
    return _decoded(groups, bounds, "metric", lambda item, found: found.extend(_points(item, bounds)))


def _request(data: bytes) -> _Request:
    try:
        return _decode(data or b"{}")
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadRequest(f"the body is no OTLP in JSON: {error}") from None


def _decoded(
    groups: list[_Group], bounds: Bounds, what: str, take: Callable[[dict[str, Any], list[Any]], None]
) -> Decoded[Any]:
    decoded: Decoded[Any] = Decoded()
    left = bounds.items
    for group in groups:
        try:
            resource = _attributes([] if group.resource is None else group.resource.attributes, bounds, [])
        except _Refused:
            resource = {}
        for each in group.scopes():
            source = Source(resource=resource, scope="" if each.scope is None else each.scope.name)
            found: list[Any] = []
            for item in each.items():
                if left <= 0:
                    decoded.refuse(f"more than {bounds.items:,} items in one request")
                    continue
                left -= 1
                # Counted before any of them is made: a million would take a gigabyte.
                if bytes(item).count(b'"key"') > bounds.refused:
                    decoded.refuse(f"a {what} has more than {bounds.refused:,} attributes")
                    continue
                try:
                    take(_item(item), found)
                except _Refused as error:
                    decoded.refuse(f"a {what} cannot be read: {_told(error)}")
            decoded.groups.append((source, found))
    return decoded


def _told(error: BaseException) -> str:
    return "nested too deep" if isinstance(error, RecursionError) else str(error)[:200]


def _span(item: dict[str, Any], bounds: Bounds) -> WireSpan:
    clipped: list[str] = []
    status = item.get("status") or {}
    return WireSpan(
        trace_id=_hex(item.get("traceId")),
        span_id=_hex(item.get("spanId")),
        parent_id=_hex(item.get("parentSpanId")),
        name=_text(item.get("name")),
        kind=_enum(item.get("kind"), _SPAN_KINDS),
        start=_time(item.get("startTimeUnixNano")),
        end=_time(item.get("endTimeUnixNano")),
        status=_enum(status.get("code"), _STATUSES),
        message=_text(status.get("message")),
        attributes=_attributes(item.get("attributes"), bounds, clipped),
        events=[
            (_time(each.get("timeUnixNano")), _text(each.get("name")), _attributes(each.get("attributes"), bounds, clipped))
            for each in _some(item.get("events"), bounds, clipped, "events")
        ],
        links=[
            (
                _hex(each.get("traceId")).hex(),
                _hex(each.get("spanId")).hex(),
                _attributes(each.get("attributes"), bounds, clipped),
            )
            for each in _some(item.get("links"), bounds, clipped, "links")
        ],
        clipped=clipped,
    )  # fmt: skip


def _log(item: dict[str, Any], bounds: Bounds) -> WireLog:
    clipped: list[str] = []
    severity = item.get("severityNumber")
    return WireLog(
        at=_time(item.get("timeUnixNano")) or _time(item.get("observedTimeUnixNano")),
        severity=severity if isinstance(severity, int) else 0,
        name=_text(item.get("eventName")),
        body=_value(item.get("body") or {}, bounds, clipped, "body"),
        attributes=_attributes(item.get("attributes"), bounds, clipped),
        trace_id=_hex(item.get("traceId")),
        span_id=_hex(item.get("spanId")),
        clipped=clipped,
    )


def _points(item: dict[str, Any], bounds: Bounds) -> Iterator[WirePoint]:
    for field, kind in _DATA.items():
        for point in (item.get(field) or {}).get("dataPoints") or ():
            value, count, shape = _measured(kind, point)
            yield WirePoint(
                name=_text(item.get("name")),
                kind=kind,
                unit=_text(item.get("unit")),
                at=_time(point.get("timeUnixNano")),
                value=value,
                count=count,
                shape=shape,
                attributes=_attributes(point.get("attributes"), bounds, []),
            )


def _measured(kind: str, point: dict[str, Any]) -> tuple[float | None, int | None, dict[str, Any] | None]:
    if kind in ("gauge", "sum"):
        return float(point["asInt"] if "asInt" in point else point.get("asDouble", 0)), None, None
    if kind == "histogram":
        shape: dict[str, Any] = {
            "bounds": [float(each) for each in point.get("explicitBounds", ())],
            "counts": _ints(point.get("bucketCounts")),
        }
    elif kind == "summary":
        shape = {
            "quantiles": [
                [float(each.get("quantile", 0)), float(each.get("value", 0))]
                for each in point.get("quantileValues", ())
            ]
        }
    else:
        shape = {"scale": int(point.get("scale", 0)), "zero": int(point.get("zeroCount", 0))}
        for side in ("positive", "negative"):
            buckets = point.get(side) or {}
            shape[side] = [int(buckets.get("offset", 0)), _ints(buckets.get("bucketCounts"))]
    return float(point.get("sum", 0)), int(point.get("count", 0)), shape


def _ints(values: Any) -> list[int]:
    return [int(each) for each in values or ()]


def _attributes(pairs: Any, bounds: Bounds, clipped: list[str]) -> Attributes:
    return {
        _text(pair["key"]): _value(pair.get("value") or {}, bounds, clipped, _text(pair["key"]))
        for pair in _some(pairs, bounds, clipped, "attributes")
    }


def _some(items: Any, bounds: Bounds, clipped: list[str], name: str) -> list[dict[str, Any]]:
    if items is None:
        return []
    if not isinstance(items, list):
        raise TypeError(f"{name} is no list")
    if len(items) > bounds.attributes:
        note(clipped, name)
    return items[: bounds.attributes]


def _value(value: dict[str, Any], bounds: Bounds, clipped: list[str], name: str, depth: int = 0) -> Any:
    for kind, found in value.items():
        if kind in ("stringValue", "bytesValue"):
            text = _text(found)
            if len(text) > bounds.characters:
                note(clipped, name)
            return text[: bounds.characters]
        if kind == "boolValue":
            return bool(found)
        if kind == "intValue":
            return plain(int(found))
        if kind == "doubleValue":
            return plain(float(found))
        if kind in ("arrayValue", "kvlistValue"):
            return _nested(kind, found, bounds, clipped, name, depth)
    return None


def _nested(kind: str, found: Any, bounds: Bounds, clipped: list[str], name: str, depth: int) -> Any:
    values = _some(found.get("values"), bounds, clipped, name)
    if depth >= DEEPEST:
        note(clipped, name)
        values = []
    if kind == "arrayValue":
        return [_value(each, bounds, clipped, name, depth + 1) for each in values]
    return {_text(each["key"]): _value(each.get("value") or {}, bounds, clipped, name, depth + 1) for each in values}


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.60} is no text")
    return value


def _hex(value: Any) -> bytes:
    return bytes.fromhex(_text(value))


def _time(value: Any) -> int:
    """Nanoseconds, a number or digits; negative ones are told from what nobody said."""
    if value is None or value == "":
        return 0
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no time")
    return int(value)


def _enum(value: Any, names: dict[str, int]) -> int:
    if isinstance(value, str):
        return names.get(value, 0)
    return value if isinstance(value, int) else 0
