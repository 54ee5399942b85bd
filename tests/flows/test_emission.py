"""A house that sends its calls to receivers of OpenTelemetry, one of which hands them back to it: each arrives, none twice."""

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.flows.house import SCRIPTED, House, wait

CONFIG = """
privacy: {default: {redact: [email]}}
monitoring:
  otlp:
    whole: {url: "URL/whole", headers: {authorization: "Bearer there"}, content: true, every: 1}
    bare: {url: "URL/bare", metrics: false}
"""
ASKED = "write to anna@example.com"


class Receiver(ThreadingHTTPServer):
    """Takes what it is sent, refuses while it is told to, and may hand traces on."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.away = False
        self.onward: tuple[str, str] | None = None
        self.taken: list[tuple[str, dict[str, str], bytes]] = []
        self.refused = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def spans(self, path: str) -> list[Any]:
        """Those that came to a path."""
        return [
            span
            for where, _, body in list(self.taken)
            if where == f"{path}/v1/traces"
            for about in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in about.scope_spans
            for span in scope.spans
        ]

    def metrics(self) -> dict[str, Any]:
        """The last that came, by name."""
        bodies = [body for where, _, body in list(self.taken) if where == "/whole/v1/metrics"]
        if not bodies:
            return {}
        [about] = ExportMetricsServiceRequest.FromString(bodies[-1]).resource_metrics
        return {metric.name: metric for metric in about.scope_metrics[0].metrics}


class _Taking(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.server.away:
            self.server.refused += 1
            self.send_response(503)
            self.send_header("content-length", "0")
            self.end_headers()
            return
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.taken.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        if self.server.onward is not None and self.path.startswith("/whole/"):
            url, key = self.server.onward
            headers = {"authorization": f"Bearer {key}", "content-type": "application/x-protobuf"}
            path = self.path.removeprefix("/whole")
            with suppress(httpx.ConnectError):  # the house is stopping
                assert httpx.post(f"{url}/otlp{path}", content=body, headers=headers, timeout=60).status_code == 200
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.shutdown()
    receiver.server_close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[House]:
    config = SCRIPTED + CONFIG.replace("URL", receiver.url)
    house = House(tmp_path_factory.mktemp("emission"), config=config, arguments=("--no-engine",)).start()
    receiver.onward = (house.url, house.key)
    yield house
    assert house.stop() == 0, house.log.read_text()


def ask(house: House, text: str, **more: Any) -> str:
    body = {"model": "fake", "messages": [{"role": "user", "content": text}], **more}
    answer = house.api("POST", "/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-loopwright-call-id"]


def told(span: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


def test_each_call_arrives_and_is_the_call_it_was_when_it_comes_back(house: House, receiver: Receiver) -> None:
    ids = {ask(house, ASKED, stream=number % 2 == 0) for number in range(6)}
    for path in ("/whole", "/bare"):
        wait(lambda path=path: len(receiver.spans(path)) >= 6)  # type: ignore[misc] # a loop variable
        assert {told(span)["loopwright.tag.loopwright.origin"] for span in receiver.spans(path)} == ids
    span = told(receiver.spans("/bare")[0])
    assert span["gen_ai.operation.name"] == "chat"
    assert span["gen_ai.request.model"] == "fake"
    assert span["gen_ai.usage.output_tokens"] > 0
    _, headers, _ = next(each for each in receiver.taken if each[0].startswith("/whole"))
    assert headers["authorization"] == "Bearer there"
    # Whatever came back is known: seconds later there is still each call once, and nothing was sent again.
    house.settled()
    time.sleep(3)
    house.settled()
    assert {call["id"] for call in house.calls()} == ids
    assert len(receiver.spans("/whole")) == 6


def test_what_was_said_leaves_only_where_it_is_wanted_and_without_personal_data(
    house: House, receiver: Receiver
) -> None:
    ask(house, ASKED)
    wait(lambda: receiver.spans("/whole") and receiver.spans("/bare"))
    whole = [told(span) for span in receiver.spans("/whole")]
    assert any("write to <EMAIL_1>" in span.get("gen_ai.input.messages", "") for span in whole)
    for path, _, body in receiver.taken:
        assert b"anna@example.com" not in body
        assert path != "/bare/v1/traces" or b"write to" not in body


def test_what_is_counted_arrives_by_the_names_of_the_conventions(house: House, receiver: Receiver) -> None:
    ask(house, "count 1")
    house.settled()
    made = len(house.calls())

    def arrived() -> bool:
        metric = receiver.metrics().get("gen_ai.client.operation.duration")
        return metric is not None and sum(point.count for point in metric.histogram.data_points) == made

    wait(arrived)
    found = receiver.metrics()
    assert set(found) == {
        "gen_ai.client.operation.duration", "gen_ai.client.token.usage", "gen_ai.server.request.duration",
        "gen_ai.server.time_to_first_token", "gen_ai.server.time_per_output_token",
    }  # fmt: skip
    usage = found["gen_ai.client.token.usage"]
    kinds = {told(point)["gen_ai.token.type"]: point for point in usage.histogram.data_points}
    assert kinds["output"].sum == sum(call["output_tokens"] for call in house.calls())
    assert list(kinds["input"].explicit_bounds)[:4] == [1, 4, 16, 64]
    assert (usage.unit, usage.histogram.aggregation_temporality) == ("{token}", 2)


def test_nothing_is_lost_while_the_receiver_is_away_and_the_recorder_dies(house: House, receiver: Receiver) -> None:
    receiver.away = True
    before = receiver.refused
    ids = {ask(house, f"count {number}") for number in range(5)}
    wait(lambda: receiver.refused > before)
    [recorder] = house.children("_recorder")
    recorder.kill()
    receiver.away = False
    for path in ("/whole", "/bare"):
        wait(
            lambda path=path: (
                ids  # type: ignore[misc] # a loop variable
                <= {told(span)["loopwright.tag.loopwright.origin"] for span in receiver.spans(path)}
            )
        )
    house.settled()
    assert len({call["id"] for call in house.calls()}) == len(house.calls())
