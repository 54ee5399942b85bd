"""Telemetry of other programs, from outside: OTLP over HTTP as its clients send it, and frameworks instrumented by others."""

import gzip
import http.client
import json
import time
import urllib.parse
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from tests.flows.house import SCRIPTED, House, wait
from tests.flows.outside import ran
from tests.telemetry.sent import as_json, protobuf, span
from tests.telemetry.test_dialects import GENAI
from tests.telemetry.test_events import SCORED, logs, metrics

PB, JSON = "application/x-protobuf", "application/json"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("otlp"), config=SCRIPTED).start()
    yield house
    assert house.stop() == 0, house.log.read_text()


def post(house: House, signal: str, body: bytes, kind: str = PB, **headers: str) -> tuple[int, str, bytes]:
    """(status, kind of the answer, answer)."""
    place = urllib.parse.urlparse(house.url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
    told = {"content-type": kind, "authorization": f"Bearer {house.key}"} | headers
    connection.request("POST", f"/otlp/v1/{signal}", body, told)
    answer = connection.getresponse()
    return answer.status, answer.getheader("content-type") or "", answer.read()


def trace_of(number: int, **named: Any) -> list[Any]:
    """Sixteen spans, one of which is a call."""
    trace = f"{number:032x}"
    steps = [span(f"step {index}", trace=trace, number=index, parent=index - 1) for index in range(2, 17)]
    return [span("chat", GENAI | named, trace=trace), *steps]


def test_it_conforms(house: House) -> None:
    body, told = protobuf(*trace_of(1)), as_json(*trace_of(2))
    assert post(house, "traces", body) == (200, PB, b"")
    assert post(house, "traces", gzip.compress(body), **{"content-encoding": "gzip"}) == (200, PB, b"")
    assert post(house, "traces", zlib.compress(body), **{"content-encoding": "deflate"}) == (200, PB, b"")
    assert post(house, "traces", told, JSON) == (200, JSON, b"{}")
    assert post(house, "traces", gzip.compress(told), JSON, **{"content-encoding": "gzip"}) == (200, JSON, b"{}")
    assert post(house, "traces", b"\xff\xfe not protobuf")[:2] == (400, PB)
    assert post(house, "traces", b"[1", JSON)[:2] == (400, JSON)
    assert post(house, "traces", b"") == (200, PB, b"")
    broken = trace_of(3)
    broken[1].trace_id = b"short"
    status, kind, answer = post(house, "traces", protobuf(*broken))
    assert (status, kind) == (200, PB)
    assert ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans == 1
    status, kind, answer = post(
        house, "traces", json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [{}]}]}]}).encode(), JSON
    )
    assert (status, kind, json.loads(answer)["partialSuccess"]["rejectedSpans"]) == (200, JSON, "1")
    assert post(house, "metrics", metrics(time.time_ns())) == (200, PB, b"")
    assert post(house, "logs", logs(SCORED)) == (200, PB, b"")
    assert post(house, "traces", protobuf(*trace_of(4, big="x" * 12_000_000))) == (200, PB, b"")
    house.settled()
    wait(lambda: len(house.calls()) == 4)


def test_what_is_refused_says_why(house: House) -> None:
    body = protobuf(*trace_of(5))
    assert post(house, "traces", body, authorization="Bearer nobody")[0] == 401
    assert post(house, "traces", body, "text/plain")[0] == 415
    assert post(house, "traces", body, **{"content-encoding": "br"})[0] == 415
    assert post(house, "traces", gzip.compress(body)[:-9], **{"content-encoding": "gzip"})[0] == 400
    several = gzip.compress(body[:100]) + gzip.compress(b"") + gzip.compress(body[100:])
    assert post(house, "traces", several, **{"content-encoding": "gzip"}) == (200, PB, b"")
    for rest in (b"\0", b"garbage", several[:12], gzip.compress(b"")[:-1], gzip.compress(b"") * 2_000):
        assert post(house, "traces", several + rest, **{"content-encoding": "gzip"})[0] == 400
    halves = gzip.compress(bytes(40_000_000)) * 3
    assert post(house, "traces", halves, **{"content-encoding": "gzip"})[0] == 413
    assert post(house, "traces", zlib.compress(body) * 2, **{"content-encoding": "deflate"})[0] == 400
    assert post(house, "traces", b"no gzip", **{"content-encoding": "gzip"})[0] == 400
    assert post(house, "traces", gzip.compress(bytes(100_000_000)), **{"content-encoding": "gzip"})[0] == 413
    made = house.api("POST", "/api/keys", json={"project": "default", "name": "asks only", "operations": ["chat"]})
    assert post(house, "traces", body, authorization=f"Bearer {made.json()['secret']}")[0] == 403
    assert house.api("GET", "/otlp/v1/traces").status_code == 405
    assert house.api("POST", "/otlp/v1/profiles").status_code == 404


def test_the_sdk_of_opentelemetry(house: House) -> None:
    before = len(house.calls())
    headers = {"authorization": f"Bearer {house.key}"}
    about = Resource.create({"service.name": "sdk"})
    tracers, loggers = TracerProvider(resource=about), LoggerProvider(resource=about)
    tracers.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{house.url}/otlp/v1/traces", headers=headers)))
    loggers.add_log_record_processor(
        SimpleLogRecordProcessor(OTLPLogExporter(f"{house.url}/otlp/v1/logs", headers=headers))
    )
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{house.url}/otlp/v1/metrics", headers=headers))
    meters = MeterProvider([reader], resource=about)
    log = loggers.get_logger("flows")
    with tracers.get_tracer("flows").start_as_current_span("answering") as whole:
        with tracers.get_tracer("flows").start_as_current_span("chat", attributes=GENAI):
            log.emit(
                LogRecord(timestamp=time.time_ns(), body="said within a span", severity_number=SeverityNumber.WARN)
            )
        trace = f"{whole.get_span_context().trace_id:032x}"
    meters.get_meter("flows").create_counter("questions").add(3)
    meters.shutdown()
    tracers.shutdown()
    loggers.shutdown()
    house.settled()
    wait(lambda: len(house.calls()) == before + 1)
    call = house.calls()[0]
    assert (call["client"], call["trace_id"], call["model"]) == ("otlp:sdk", trace, "gpt-4o")
    [said] = house.api("GET", f"/api/telemetry/logs/{trace}").json()["logs"]
    assert (said["body"], said["severity"], said["span_id"], said["service"]) == (
        "said within a span",
        13,
        call["span_id"],
        "sdk",
    )
    [counted] = house.api("GET", "/api/telemetry/metrics", params={"name": "questions"}).json()["series"]
    assert (counted["kind"], counted["last_value"]) == ("sum", 3.0)
    assert len(house.api("GET", f"/api/telemetry/metrics/{counted['id']}").json()["points"]) == 1
    assert house.api("DELETE", f"/api/telemetry/traces/{trace}").json() == {"deleted": 3}
    assert house.api("GET", f"/api/telemetry/logs/{trace}").json() == {"logs": []}


def test_frameworks_instrumented_by_others(house: House, tmp_path: Path) -> None:
    found = ran("telemetry_of_frameworks.py", house, tmp_path, f"{house.url}/otlp", house.key, "fake")
    house.settled()
    calls: dict[str, list[dict[str, Any]]] = {}
    wait(lambda: {call["trace_id"] for call in house.calls()} >= set(found.values()))
    for call in house.calls():
        calls.setdefault(call["trace_id"], []).append(call)
    for name in ("openinference", "openllmetry", "langchain", "llama_index"):
        # However many libraries tell of it, it is one call.
        [call] = calls[found[name]]
        assert (call["model"], call["provider"], call["client"]) == ("gpt-4o-mini", "openai", "otlp:frameworks")
        # Cached tokens are part of the input, reasoning of the output.
        assert [call[f"{each}_tokens"] for each in ("input", "cached", "output", "reasoning")] == [30, 10, 8, 4]
        detail = house.api("GET", f"/api/calls/{call['id']}").json()
        assert detail["request"]["messages"][-1] == {"role": "user", "content": "What is the weather?"}
        assert detail["response"]["choices"][0]["message"]["content"] == "A fine day."
    [through] = calls[found["through"]]
    assert through["client"].startswith("OpenAI/Python")


def test_script_in_any_field_is_text(house: House) -> None:
    script = "<script>alert(1)</script>"
    named = dict.fromkeys(
        ("gen_ai.request.model", "gen_ai.provider.name", "session.id", "user.id", "loopwright.tag.x", script), script
    )
    told = (
        GENAI
        | named
        | {"gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"type": "text", "content": script}]}])}
    )
    trace = "77" * 16
    body = protobuf(
        span(script, told, trace=trace, failed=script),
        span(script, {"input.value": script}, trace=trace, number=2),
        service=script,
    )
    assert post(house, "traces", body)[0] == 200
    house.settled()
    wait(lambda: any(call["trace_id"] == trace for call in house.calls()))
    [call] = [call for call in house.calls() if call["trace_id"] == trace]
    for path in (f"/calls/{call['id']}", "/calls", f"/traces/{trace}", "/traces", "/sessions", "/dashboards", "/"):
        page = house.api("GET", path, follow_redirects=True)
        assert "<script>alert" not in page.text, path


def test_nothing_acknowledged_is_lost_when_everything_is_killed(tmp_path: Path) -> None:
    house = House(tmp_path, config=SCRIPTED).start()
    for number in range(100, 120):
        assert post(house, "traces", protobuf(*trace_of(number)))[0] == 200
    house.kill()
    house.start()
    house.settled()
    wait(lambda: len(house.calls()) == 20)
    assert {call["trace_id"] for call in house.calls()} == {f"{number:032x}" for number in range(100, 120)}
    again = [post(house, "traces", protobuf(*trace_of(100)))[0]]
    assert again == [200]
    assert house.stop() == 0
