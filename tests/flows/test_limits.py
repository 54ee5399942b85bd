"""Limits, rotation and the audit log from outside, in a house with two workers."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI, RateLimitError

from tests.flows.house import House, wait

CONFIG = """
providers:
  fake: {kind: scripted, args: {between: 0.001}}
models:
  fake: {provider: fake, price: {input: 1000.0, output: 2000.0}}
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("two"), config=CONFIG, arguments=("--no-engine", "--workers", "2")).start()
    yield house
    assert house.stop() == 0, house.log.read_text()


def made(house: House, name: str, **scopes: Any) -> dict[str, Any]:
    answer = house.api("POST", "/api/keys", json={"name": name, **scopes})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ask(house: House, secret: str, **fields: Any) -> httpx.Response:
    body = {"model": "fake", "messages": [{"role": "user", "content": "one two"}], "max_tokens": 20, **fields}
    headers = {"authorization": f"Bearer {secret}"}
    return httpx.post(f"{house.url}/v1/chat/completions", json=body, headers=headers, timeout=60)


def test_a_budget_from_its_making_to_its_end(two: House) -> None:
    key = made(two, "spender")
    limit = two.api(
        "PUT", "/api/limits", json={"kind": "usd_per_day", "amount": "0.5", "key": key["key"]["id"], "alert_at": 50}
    ).json()
    assert (limit["amount"], limit["used"], limit["key"]) == ("0.5", "0", "spender")
    last = None
    for _ in range(200):
        last = ask(two, key["secret"])
        if last.status_code != 200:
            break
    assert last is not None
    assert last.status_code == 429, last.text
    wait(lambda: ask(two, key["secret"]).json()["error"]["code"] == "insufficient_quota")
    refused = ask(two, key["secret"])
    assert refused.headers["x-should-retry"] == "false"
    with pytest.raises(RateLimitError, match="budget of key 'spender'"):
        OpenAI(base_url=f"{two.url}/v1", api_key=key["secret"]).chat.completions.create(
            model="fake", messages=[{"role": "user", "content": "x"}]
        )
    two.settled()
    spent = sum(float(call["cost_usd"] or 0) for call in two.calls(key=key["key"]["id"]))
    assert 0 < spent <= 0.5
    [shown] = two.api("GET", f"/api/limits?key={key['key']['id']}").json()["limits"]
    assert float(shown["used"]) == pytest.approx(spent)
    history = two.api("GET", f"/api/limits/{limit['id']}/spend?windows=2").json()["windows"]
    assert float(history[-1]["cost_usd"]) == pytest.approx(spent)
    # Ordinary keys see the limits of their project and set none.
    assert two.api("GET", "/api/limits", key=key["secret"]).status_code == 200
    denied = two.api(
        "PUT", "/api/limits", key=key["secret"], json={"kind": "usd_per_day", "amount": 9, "project": "default"}
    )
    assert denied.status_code == 403
    assert two.api("GET", "/api/audit", key=key["secret"]).status_code == 403
    assert two.api("DELETE", f"/api/limits/{limit['id']}").json() == {"deleted": 1}
    wait(lambda: ask(two, key["secret"]).status_code == 200)


def test_a_budget_near_its_end_is_said_in_a_header(two: House) -> None:
    key = made(two, "warned")
    two.api("PUT", "/api/limits", json={"kind": "usd_per_day", "amount": 5, "key": key["key"]["id"], "alert_at": 1})
    wait(lambda: "x-loopwright-budget" in ask(two, key["secret"]).headers)
    said = ask(two, key["secret"], stream=True)
    if "x-loopwright-budget" in said.headers:
        assert said.headers["x-loopwright-budget"].startswith("usd_per_day ")


def test_a_rotated_key_opens_with_both_secrets_until_the_overlap_is_over(two: House) -> None:
    key = made(two, "turning")
    turned = two.api("POST", f"/api/keys/{key['key']['id']}/rotate", json={"overlap_s": 3600}).json()
    wait(lambda: all(ask(two, turned["secret"]).status_code == 200 for _ in range(6)))
    assert ask(two, key["secret"]).status_code == 200
    again = two.api("POST", f"/api/keys/{key['key']['id']}/rotate", json={"overlap_s": 0}).json()
    old = (key["secret"], turned["secret"])
    wait(lambda: all(ask(two, secret).status_code == 401 for secret in old * 6))
    wait(lambda: ask(two, again["secret"]).status_code == 200)
    assert two.api("POST", "/api/keys/999/rotate", json={}).status_code == 404


def test_a_key_is_kept_to_its_routes(two: House) -> None:
    key = made(two, "vectors-only", operations=["embeddings"])
    wait(lambda: ask(two, key["secret"]).status_code == 403)
    wrong = two.api("POST", "/api/keys", json={"name": "x", "operations": ["everything"]})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "operations")
    assert "embeddings, responses" in wrong.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"kind": "usd_per_day", "amount": 1}, "project"),
        ({"kind": "usd_per_day", "amount": 1, "project": "default", "key": 1}, "project"),
        ({"kind": "usd_per_year", "amount": 1, "project": "default"}, "kind"),
        ({"kind": "requests_per_minute", "amount": 1.5, "project": "default"}, "amount"),
        ({"kind": "requests_per_minute", "amount": 1, "project": "default", "alert_at": 80}, "alert_at"),
        ({"kind": "usd_per_day", "amount": -1, "project": "default"}, "amount"),
        ({"kind": "usd_per_day", "amount": 1, "project": "default", "tag": "red"}, "tag"),
        ({"kind": "usd_per_day", "amount": "0.0000000001", "project": "default"}, "amount"),
    ],
)
def test_a_limit_that_is_none_is_refused_by_its_field(two: House, body: dict[str, Any], param: str) -> None:
    answer = two.api("PUT", "/api/limits", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_every_administrative_act_is_in_the_log(two: House) -> None:
    key = made(two, "watched")
    two.api("DELETE", f"/api/keys/{key['key']['id']}").raise_for_status()
    two.api("DELETE", "/api/calls?session=nobody").raise_for_status()
    found = two.api("GET", f"/api/audit?subject=key {key['key']['id']}").json()["acts"]
    assert [each["act"] for each in found] == ["key.revoke", "key.create"]
    assert all(each["origin"] == "127.0.0.1" and each["key_id"] for each in found)
    assert key["secret"] not in json.dumps(found)
    assert two.api("GET", "/api/audit?act=calls").json()["acts"][0]["subject"] == "session nobody"
    first = two.api("GET", "/api/audit?limit=1").json()
    assert two.api("GET", f"/api/audit?limit=1&before={first['next']}").json()["acts"] != first["acts"]


def test_the_command_line_sets_lists_and_reads(two: House) -> None:
    def run(*words: str) -> str:
        command = [sys.executable, "-m", "loopwright.cli.main", *words, "--url", two.url, "--api-key", two.key]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=Path(two.folder))
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    run("keys", "create", "from-cli")
    run("limits", "set", "requests_per_minute", "7", "--key", "from-cli")
    assert "requests_per_minute" in run("limits", "list")
    [limit] = [each for each in json.loads(run("limits", "list", "--json"))["limits"] if each["key"] == "from-cli"]
    assert "Lifted" in run("limits", "remove", str(limit["id"]))
    assert "lw-" in run("keys", "rotate", "from-cli", "--overlap", "1h")
    assert "limit.remove" in run("audit", "list")
