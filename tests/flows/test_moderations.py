"""Moderations through the unmodified `openai` SDK: our guardrails, a provider's model, scopes, limits, the record."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.flows.house import House

CONFIG = """
server: {{body_limit: 50kB}}
providers:
  far: {{base_url: "http://127.0.0.1:{port}/v1", api_key: k}}
models:
  far-moderation: {{provider: far, model: omni-moderation-latest, operations: [moderations], price: {{input: 0, output: 0}}}}
"""
FLAGGED = {"id": "modr-1", "model": "omni-x", "results": [{"flagged": True, "categories": {}, "category_scores": {}}]}


class Upstream(BaseHTTPRequestHandler):
    """A provider's moderation; keeps what it was asked."""

    asked: list[tuple[str, dict[str, Any]]] = []  # noqa: RUF012 - one list for all of its connections

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.asked.append((self.path, json.loads(body)))
        answer = json.dumps(FLAGGED).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = CONFIG.format(port=server.server_address[1])
    house = House(tmp_path_factory.mktemp("moderations"), config=config).start()
    yield house
    assert house.stop() == 0, house.log.read_text()
    server.shutdown()
    server.server_close()


@pytest.fixture
def client(ours: House) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{ours.url}/v1", api_key=ours.key, max_retries=0, timeout=120) as client:
        yield client


def test_texts_are_judged_one_result_each_and_the_call_is_on_record(ours: House, client: OpenAI) -> None:
    raw = client.moderations.with_raw_response.create(input=["hello there", "I want to kill myself"])
    found = raw.parse()
    assert [result.flagged for result in found.results] == [False, True]
    assert found.results[1].categories.self_harm
    assert found.results[1].category_scores.self_harm > found.results[0].category_scores.self_harm
    assert found.results[1].category_applied_input_types.illicit == []
    assert found.model == "loopwright-moderation-1"
    detail = ours.api("GET", f"/api/calls/{raw.headers['x-loopwright-call-id']}").json()
    call = detail["call"]
    assert (call["operation"], call["model"], call["provider"]) == (
        "moderations",
        "loopwright-moderation",
        "guardrails",
    )
    assert (call["outcome"], float(call["cost_usd"])) == ("ok", 0.0)
    assert detail["request"]["input"][1] == "I want to kill myself"
    assert detail["response"]["results"][1]["flagged"] is True


def test_one_text_and_parts_are_one_input(client: OpenAI) -> None:
    for given in ("you fucking idiot", [{"type": "text", "text": "you"}, {"type": "text", "text": "fucking idiot"}]):
        found = client.moderations.create(input=given, model="omni-moderation-latest")  # type: ignore[arg-type]
        [result] = found.results
        assert result.categories.harassment


def test_a_providers_model_is_asked_as_it_would_be_without_us(client: OpenAI) -> None:
    parts: Any = [{"type": "image_url", "image_url": {"url": "https://example.com/x.png"}}]
    found = client.moderations.create(input=parts, model="far-moderation")
    assert (found.id, found.results[0].flagged) == ("modr-1", True)
    assert Upstream.asked[-1] == ("/v1/moderations", {"input": parts, "model": "omni-moderation-latest"})


def test_what_cannot_be_judged_is_refused_by_name(client: OpenAI) -> None:
    picture: Any = [{"type": "image_url", "image_url": {"url": "https://example.com/x.png"}}]
    with pytest.raises(openai.BadRequestError, match="judges texts only"):
        client.moderations.create(input=picture)
    with pytest.raises(openai.BadRequestError, match="input: must not be empty"):
        client.moderations.create(input=[])
    with pytest.raises(openai.APIStatusError, match="over the limit") as large:
        client.moderations.create(input="x" * 60_000)
    assert large.value.status_code == 413
    with pytest.raises(openai.BadRequestError, match="does not do chat"):
        client.chat.completions.create(model="loopwright-moderation", messages=[{"role": "user", "content": "x"}])
    with pytest.raises(openai.NotFoundError, match="there is no model"):
        client.moderations.create(input="x", model="no-such-thing")


def test_scopes_hold(ours: House) -> None:
    secrets = {
        name: ours.api("POST", "/api/keys", json={"name": name, "operations": [name]}).json()["secret"]
        for name in ("moderations", "embeddings")
    }
    with OpenAI(base_url=f"{ours.url}/v1", api_key=secrets["moderations"], max_retries=0) as allowed:
        assert allowed.moderations.create(input="hello").results[0].flagged is False
    with (
        OpenAI(base_url=f"{ours.url}/v1", api_key=secrets["embeddings"], max_retries=0) as refused,
        pytest.raises(openai.PermissionDeniedError, match="may not use moderations"),
    ):
        refused.moderations.create(input="hello")
