"""Whatever is sent, telemetry is read or refused, and what is read of tokens holds together."""

import json
from contextlib import suppress
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.errors import BadRequest
from loopwright.kit.ids import time_of
from loopwright.kit.seal import PLAIN
from loopwright.telemetry import jsons, protobuf
from loopwright.telemetry.aliases import KINDS, PREFIXES, TABLE
from loopwright.telemetry.putting import said_of
from loopwright.telemetry.reading import heard, usage_of
from loopwright.telemetry.rows import id_of
from loopwright.telemetry.taking import take
from loopwright.telemetry.wire import Bounds
from tests.telemetry.sent import as_json, span
from tests.telemetry.sent import protobuf as as_protobuf
from tests.telemetry.test_dialects import GENAI, OPENINFERENCE, terms

TEXTS = st.text(max_size=30)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)
NAMES = st.sampled_from(
    [*TABLE, *(f"{start}{rest}" for start in PREFIXES for rest in ("0.message.role", "1.content", "x"))]
)
KIND = st.dictionaries(st.sampled_from(["openinference.span.kind", "gen_ai.operation.name"]), st.sampled_from([*KINDS]))
SAID = VALUES | VALUES.map(lambda value: json.dumps(value, default=str))
ATTRIBUTES = st.builds(lambda told, kind: told | kind, st.dictionaries(NAMES | TEXTS, SAID, max_size=10), KIND)
BOUNDS = Bounds(items=20, attributes=50, characters=200)


@given(st.binary(max_size=200), st.integers(0, 400), st.binary(max_size=6))
@settings(deadline=None, max_examples=50)
def test_any_bytes_are_read_or_refused(data: bytes, at: int, piece: bytes) -> None:
    whole = as_protobuf(span("chat", GENAI), span("step", {"a": [1, {"b": "c"}]}, number=2))
    for body in (data, whole[:at] + piece + whole[at + len(piece) :], whole[:at]):
        for read in (protobuf.spans_of, protobuf.logs_of, protobuf.points_of):
            with suppress(BadRequest):
                decoded = read(body, BOUNDS)
                assert decoded.refused >= 0
        with suppress(BadRequest):
            take(protobuf.spans_of(body, BOUNDS), terms())


@given(
    VALUES,
    st.sampled_from(
        ["resourceSpans", "scopeSpans", "spans", "attributes", "traceId", "startTimeUnixNano", "events", "status"]
    ),
)
@settings(deadline=None, max_examples=50)
def test_any_json_is_read_or_refused(value: Any, place: str) -> None:
    told = json.loads(as_json(span("chat", GENAI)))
    here = told
    for step in ("resourceSpans", "scopeSpans", "spans"):
        if step == place:
            break
        here = here[step][0]
    here[place] = value
    for read in (jsons.spans_of, jsons.logs_of, jsons.points_of):
        with suppress(BadRequest):
            read(json.dumps(told, allow_nan=False, default=str).encode() if _finite(value) else b"{}", BOUNDS)


def _finite(value: Any) -> bool:
    with suppress(ValueError):
        json.dumps(value, allow_nan=False)
        return True
    return False


@given(ATTRIBUTES)
@settings(deadline=None, max_examples=100)
def test_any_attributes_make_a_span_and_perhaps_a_call(attributes: dict[str, Any]) -> None:
    usage = usage_of(heard(attributes))
    if usage is not None:
        assert 0 <= usage.cached + usage.cache_written <= usage.input or usage.input == 2**31 - 1
        assert 0 <= usage.reasoning <= usage.output
    sent = {name: value for name, value in attributes.items() if value is not None and _plain(value)}
    for step in take(protobuf.spans_of(as_protobuf(span("any", sent)), Bounds()), terms()).steps:
        if step.record is not None:
            assert json.loads(step.record.request or b"{}") is not None
            assert json.loads(step.record.answer or b"{}") is not None
            assert step.record.latency_us >= 0
        msgspec.msgpack.encode(said_of(step, PLAIN))


def _plain(value: Any) -> bool:
    """What OpenTelemetry's values can hold."""
    if isinstance(value, list):
        return all(_plain(each) for each in value)
    if isinstance(value, dict):
        return all(_plain(each) for each in value.values())
    return value is not None


@given(st.integers(0, 50), st.sampled_from([GENAI, OPENINFERENCE]))
@settings(deadline=None, max_examples=50)
def test_cached_and_reasoning_tokens_are_never_added(more: int, dialect: dict[str, Any]) -> None:
    told = dialect | {"gen_ai.usage.cache_read.input_tokens": more, "llm.token_count.prompt_details.cache_read": more}
    usage = usage_of(heard(told))
    assert usage is not None
    assert (usage.input, usage.output, usage.cached) == (100, 20, more)


@given(st.integers(1, 4 * 10**18), st.binary(min_size=16, max_size=16), st.binary(min_size=8, max_size=8))
def test_ids_are_of_the_day_of_their_start(start: int, trace: bytes, number: bytes) -> None:
    made = id_of(start, trace.hex(), number.hex())
    assert made == id_of(start, trace.hex(), number.hex())
    assert int(time_of(made).timestamp() * 1000) in (start // 10**6, start // 10**6 - 1)
