"""Calls taken out of a real house: as files, and mirrored to a real MLflow and to what speaks as Langfuse does."""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pyarrow.parquet as pq
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.flows.house import House, wait
from tests.flows.tracking import tracking_server

CONFIG = """
server: {workers: 1}
providers: {s: {kind: scripted, own: true, args: {otherwise: "said: $last"}}}
models: {s: {provider: s, price: {input: 1.0, output: 2.0}}}
privacy: {projects: {shut: {residency: [own]}}}
exports:
  flow: {kind: mlflow, texts: true, args: {url: "MLFLOW", experiment: calls}}
  fuse: {kind: langfuse, texts: true, args: {url: "FUSE", public_key: pk-1, secret_key: "${FUSE_SECRET}"}}
  bare: {kind: langfuse, filter: {tag: "team:none"}, args: {url: "http://127.0.0.1:9", public_key: pk, secret_key: sk}}
"""
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Fuse:
    """Takes what Langfuse takes, as far as exporters use it."""

    def __init__(self) -> None:
        self.traces: dict[str, dict[str, dict[str, Any]]] = {}
        self.scores: dict[str, dict[str, Any]] = {}
        self.deleted: list[str] = []
        here = self

        class Answers(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers["authorization"] != "Basic " + base64.b64encode(b"pk-1:sk-1").decode():
                    self._answer(401)
                elif self.path == "/api/public/otel/v1/traces":
                    here.take(ExportTraceServiceRequest.FromString(gzip.decompress(body)))
                    self._answer(200)
                else:
                    assert self.path == "/api/public/scores"
                    score = json.loads(body)
                    here.scores[score["id"]] = score
                    self._answer(200, {"id": score["id"]})

            def do_DELETE(self) -> None:
                trace = self.path.rpartition("/")[2]
                here.deleted.append(trace)
                here.traces.pop(trace, None)
                self._answer(200, {"message": "Trace deleted successfully"})

            def _answer(self, status: int, body: Any = None) -> None:
                raw = json.dumps(body or {}).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def take(self, request: ExportTraceServiceRequest) -> None:
        for span in request.resource_spans[0].scope_spans[0].spans:
            told = {each.key: each.value.string_value or each.value.double_value for each in span.attributes}
            self.traces.setdefault(span.trace_id.hex(), {})[span.span_id.hex()] = told


@pytest.fixture(scope="module")
def fuse() -> Iterator[Fuse]:
    fuse = Fuse()
    yield fuse
    fuse.server.shutdown()
    fuse.server.server_close()


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with tracking_server(tmp_path_factory.mktemp("mlflow")) as url:
        yield url


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, mlflow: str, fuse: Fuse) -> Iterator[House]:
    config = CONFIG.replace("MLFLOW", mlflow).replace("FUSE", fuse.url, 1)
    house = House(tmp_path_factory.mktemp("out"), config=config, FUSE_SECRET="sk-1").start()
    yield house
    assert house.stop() == 0, house.log.read_text()


def ask(house: House, text: str, parent: str = "", **said: Any) -> str:
    body = {"model": "s", "messages": [{"role": "user", "content": text}], "loopwright": said}
    headers = {"authorization": f"Bearer {house.key}"}
    if parent:
        headers["traceparent"] = f"00-{TRACE}-{parent}-01"
    done = httpx.post(f"{house.url}/v1/chat/completions", json=body, headers=headers, timeout=60)
    assert done.status_code == 200, done.text
    return done.headers["x-loopwright-call-id"]


def command(house: House, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "LOOPWRIGHT_URL": house.url, "LOOPWRIGHT_API_KEY": house.key}
    return subprocess.run(
        [sys.executable, "-m", "loopwright.cli.main", *words],
        cwd=house.folder, env=env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def there(mlflow: str, trace: str) -> list[dict[str, Any]]:
    """The spans that MLflow has of a trace."""
    found = httpx.get(f"{mlflow}/api/3.0/mlflow/traces/get", params={"trace_id": f"tr-{trace}"}, timeout=60)
    return list(found.json()["trace"]["spans"]) if found.status_code == 200 else []


def info(mlflow: str, trace: str) -> dict[str, Any]:
    """What MLflow knows of a trace."""
    found: dict[str, Any] = httpx.get(f"{mlflow}/api/3.0/mlflow/traces/tr-{trace}", timeout=60).json()["trace"]
    told: dict[str, Any] = found["trace_info"]
    return told


def states(house: House) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in house.api("GET", "/api/exports").json()["exports"]}


def test_calls_are_mirrored_with_their_scores_and_deleted_there(house: House, mlflow: str, fuse: Fuse) -> None:
    one = ask(house, "what is one", "00f067aa0ba902b7", session="talk", tags={"user": "ada"})
    two = ask(house, "what is two", "00f067aa0ba902b8")
    wait(lambda: len(there(mlflow, TRACE)) == 2 and len(fuse.traces.get(TRACE, {})) == 2)
    about = info(mlflow, TRACE)
    assert "what is one" in about["request_preview"] + json.dumps(there(mlflow, TRACE))
    assert "said: what is one" in json.dumps(there(mlflow, TRACE))
    spans = fuse.traces[TRACE].values()
    [told] = [each for each in spans if each["langfuse.observation.metadata.loopwright_call"] == one]
    assert json.loads(told["langfuse.observation.input"])[0]["content"] == "what is one"
    assert json.loads(told["langfuse.observation.output"])["content"] == "said: what is one"
    assert json.loads(told["langfuse.observation.usage_details"])["output"] > 0
    assert (told["langfuse.session.id"], told["langfuse.user.id"]) == ("talk", "ada")

    for value in (0.25, 0.75):  # they changed their mind
        said = {"name": "helpful", "value": value, "explanation": f"it is {value}"}
        assert house.api("POST", f"/api/calls/{one}/scores", json=said).status_code == 201
        wait(lambda: [each["value"] for each in fuse.scores.values()] == [value])  # noqa: B023 - waited for at once
        wait(lambda: [_value(each) for each in info(mlflow, TRACE).get("assessments", [])] == [value])  # noqa: B023
    [assessment] = info(mlflow, TRACE)["assessments"]
    assert (assessment["rationale"], assessment["source"]["source_type"]) == ("it is 0.75", "HUMAN")

    assert house.api("DELETE", f"/api/calls/{one}").json() == {"deleted": 1}
    wait(lambda: len(there(mlflow, TRACE)) == 1 and len(fuse.traces.get(TRACE, {})) == 1)
    assert "what is one" not in json.dumps(there(mlflow, TRACE)) + json.dumps(info(mlflow, TRACE))
    assert two in json.dumps(there(mlflow, TRACE))
    assert fuse.deleted == [TRACE]
    wait(lambda: states(house)["flow"]["state"] == states(house)["fuse"]["state"] == "current")
    assert states(house)["fuse"]["forgotten"] == 1


def test_what_was_before_is_sent_when_asked_for_and_nothing_else_waits(house: House, fuse: Fuse) -> None:
    before = {trace: set(spans) for trace, spans in fuse.traces.items()}
    done = command(house, "exports", "run", "fuse", "--json")
    queued = json.loads(done.stdout)["queued"]
    assert queued == len(house.calls())
    wait(lambda: states(house)["fuse"]["state"] == "current")
    assert {trace: set(spans) for trace, spans in fuse.traces.items()} == before
    listed = command(house, "exports", "list", "--json")
    shown = {each["name"]: each for each in json.loads(listed.stdout)["exports"]}
    assert (shown["bare"]["waiting"], shown["bare"]["filter"]) == (0, {"tag": "team:none"})
    assert "sk-1" not in listed.stdout
    assert command(house, "exports", "run", "fuze").returncode == 1


def test_a_mirror_that_is_killed_goes_on(house: House, fuse: Fuse) -> None:
    [monitor] = house.children("_monitor")
    ids = [ask(house, f"number {n}") for n in range(30)]
    monitor.kill()
    psutil.wait_procs([monitor], 30)
    ids += [ask(house, f"number {n}") for n in range(30, 40)]
    house.settled()

    def told() -> set[Any]:
        spans = [each for spans in fuse.traces.values() for each in spans.values()]
        return {each["langfuse.observation.metadata.loopwright_call"] for each in spans}

    wait(lambda: set(ids) <= told())


def test_words_that_a_policy_holds_back_are_not_mirrored(house: House, fuse: Fuse) -> None:
    assert house.api("POST", "/api/projects", json={"name": "shut"}).status_code == 201
    key = house.api("POST", "/api/keys", json={"name": "shut", "project": "shut"}).json()["secret"]
    body = {"model": "s", "messages": [{"role": "user", "content": "kept within"}]}
    done = house.api("POST", "/v1/chat/completions", key=key, json=body)
    assert done.status_code == 200, done.text
    call = done.headers["x-loopwright-call-id"]

    def told() -> list[dict[str, Any]]:
        spans = [each for spans in fuse.traces.values() for each in spans.values()]
        return [each for each in spans if each["langfuse.observation.metadata.loopwright_call"] == call]

    wait(told)
    assert "kept within" not in json.dumps(told())


def test_files_hold_what_was_asked_for(house: House, tmp_path: Path) -> None:
    call = ask(house, "to be taken out", tags={"team": "files"})
    house.settled()
    said = {"output": "better", "note": "so it is"}
    assert house.api("POST", f"/api/calls/{call}/correction", json=said).status_code == 201
    for form in ("jsonl", "parquet", "otlp"):
        out = tmp_path / f"calls.{form}"
        done = command(house, "calls", "export", "-f", form, "--tag", "team:files", "-o", str(out))
        assert done.returncode == 0, done.stderr
    line = json.loads((tmp_path / "calls.jsonl").read_text())
    assert (line["call"]["id"], line["corrections"][0]["output"]) == (call, "better")
    [row] = pq.read_table(tmp_path / "calls.parquet").to_pylist()
    assert (row["id"], row["corrections"][0]["output"]) == (call, "better")
    sent = (tmp_path / "calls.otlp").read_bytes()
    headers = {"authorization": f"Bearer {house.key}", "content-type": "application/json"}
    taken = httpx.post(f"{house.url}/otlp/v1/traces", content=sent, headers=headers, timeout=60)
    assert taken.status_code == 200, taken.text
    wrong = house.api("GET", "/api/calls/export", params={"format": "csv"})
    assert wrong.status_code in (400, 422)
    other = house.api("POST", "/api/keys", json={"name": "other", "project": "default"}).json()["secret"]
    assert house.api("GET", "/api/exports", key=other).status_code == 403
    whole = house.api("GET", "/api/calls/export", params={"texts": "false"})
    assert len(whole.text.splitlines()) == len(house.calls())
    assert "to be taken out" not in whole.text


def test_an_export_that_breaks_on_the_way_is_no_whole_answer(house: House) -> None:
    for number in range(40):
        ask(house, f"{number} " + "x" * 300_000, tags={"size": "large"})
    house.settled()
    lines = (house.folder / ".loopwright" / "pg" / "postmaster.pid").read_text().splitlines()
    url = f"postgresql://loopwright@/loopwright?host={lines[4].strip()}&port={lines[3]}"
    headers = {"authorization": f"Bearer {house.key}"}
    with (
        psycopg.connect(url, autocommit=True) as database,
        httpx.stream(
            "GET", f"{house.url}/api/calls/export", params={"tag": "size:large"}, headers=headers, timeout=60
        ) as answer,
    ):
        assert answer.status_code == 200
        pieces = answer.iter_bytes(65_536)
        next(pieces)
        database.execute("alter table feedback_scores rename to hidden")
        try:
            with pytest.raises(httpx.RemoteProtocolError):
                list(pieces)
        finally:
            database.execute("alter table hidden rename to feedback_scores")


def _value(assessment: dict[str, Any]) -> Any:
    return assessment["feedback"]["value"]
