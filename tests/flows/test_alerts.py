"""Alerts from outside: a real house whose upstream is down tells a webhook, once, whatever dies meanwhile."""

import hashlib
import hmac
import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from tests.flows.house import House, wait
from tests.flows.saying import run
from tests.monitoring.hearing import SECRET, Hook, hook

CONFIG = """
providers:
  gone: {{base_url: "http://127.0.0.1:9/v1", own: true}}
  fake: {{kind: scripted}}
models:
  down: {{provider: gone, model: large}}
  fine: {{provider: fake}}
monitoring:
  objectives:
    answers: {{goal: 0.99}}
  alerts:
    every: 1s
    channels:
      ops: {{url: "{url}", secret: {secret}}}
"""


@pytest.fixture(scope="module")
def heard() -> Iterator[Hook]:
    with hook() as found:
        yield found


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, heard: Hook) -> Iterator[House]:
    config = CONFIG.format(url=heard.url, secret=SECRET)
    house = House(tmp_path_factory.mktemp("alerts"), config=config, arguments=("--no-engine",)).start()
    yield house
    assert house.stop() == 0, house.log.read_text()


def ask(house: House, model: str, times: int, secret: str | None = None) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": "well?"}]}
    headers = {"authorization": f"Bearer {secret or house.key}"}
    for _ in range(times):
        httpx.post(f"{house.url}/v1/chat/completions", json=body, headers=headers, timeout=60)


def firing(heard: Hook) -> list[dict[str, Any]]:
    return [alert for notice in heard.taken if notice["event"] == "firing" for alert in notice["alerts"]]


def test_a_target_that_is_gone_is_told_of_once(watched: House, heard: Hook) -> None:
    heard.statuses = [500]
    ask(watched, "fine", 10)
    ask(watched, "down", 6)
    wait(lambda: firing(heard), 60)
    [alert] = firing(heard)
    assert re.fullmatch(r"Model down: 6 of 6 calls since \d\d:\d\d:\d\d UTC failed", alert["title"])
    assert "target large" in " ".join(alert["explanation"]) or "Nothing tells them" in " ".join(alert["explanation"])
    first, second = heard.heard[:2]
    assert first[0]["loopwright-delivery"] == second[0]["loopwright-delivery"]  # the same notice, tried again
    stamp, _, given = second[0]["loopwright-signature"].removeprefix("t=").partition(",v1=")
    assert hmac.compare_digest(
        given, hmac.new(SECRET.encode(), stamp.encode() + b"." + second[1], hashlib.sha256).hexdigest()
    )
    query = {name: values[0] for name, values in parse_qs(alert["calls_url"].partition("?")[2]).items()}
    assert len(watched.calls(**query)) == 6  # exactly those that caused it
    assert {call["target"] for call in watched.calls(**query)} == {"large"}


def test_a_recorder_that_is_killed_tells_nothing_twice(watched: House, heard: Hook) -> None:
    wait(lambda: firing(heard), 60)
    [recorder] = watched.children("_recorder")
    os.kill(recorder.pid, signal.SIGKILL)
    ask(watched, "down", 3)
    wait(lambda: any(each.pid != recorder.pid for each in watched.children("_recorder")), 60)
    watched.settled()
    seen = watched.api("GET", "/api/alerts?state=firing").json()["alerts"][0]["seen_at"]
    wait(lambda: watched.api("GET", "/api/alerts?state=firing").json()["alerts"][0]["seen_at"] != seen, 60)
    assert len(firing(heard)) == 1


def test_people_acknowledge_and_silence(watched: House, heard: Hook) -> None:
    wait(lambda: firing(heard), 60)
    listed = json.loads(run(watched, "alerts", "list", "--json").stdout)
    [alert] = listed["alerts"]
    assert listed["firing"]["critical"] == 1
    shown = run(watched, "alerts", "show", str(alert["id"]))
    assert "What explains it" in shown.stdout
    assert run(watched, "alerts", "ack", str(alert["id"])).returncode == 0
    assert run(watched, "alerts", "silence", "model=fine", "--for", "1h").returncode == 0
    assert run(watched, "alerts", "test", "ops").returncode == 0
    channels = run(watched, "alerts", "channels").stdout
    assert "ops" in channels
    assert "/hook" not in channels  # of an address only the host
    standing = json.loads(run(watched, "slos", "list", "--json").stdout)["standings"]
    assert {each["labels"]["model"]: each["state"] for each in standing} == {"down": "burning", "fine": "kept"}


def test_another_project_sees_none_of_it(watched: House, heard: Hook) -> None:
    wait(lambda: firing(heard), 60)
    watched.api("POST", "/api/projects", json={"name": "other"})
    made = watched.api("POST", "/api/keys", json={"name": "stranger", "project": "other"}).json()
    alert_id = watched.api("GET", "/api/alerts").json()["alerts"][0]["id"]
    for method, path, status in (
        ("GET", f"/api/alerts/{alert_id}", 404),
        ("POST", f"/api/alerts/{alert_id}/acknowledge", 404),
        ("GET", "/api/channels", 403),
        ("POST", "/api/channels/ops/test", 403),
        ("GET", "/api/notices", 403),
        ("DELETE", "/api/silences/1", 404),
        ("GET", "/api/alerts?project=default", 404),
        ("GET", "/api/alerts/99999999999999999999999", 404),
    ):
        assert watched.api(method, path, key=made["secret"]).status_code == status, path
    wide = {"matchers": {"model": "*"}, "seconds": 60, "every_project": True}
    assert watched.api("POST", "/api/silences", key=made["secret"], json=wide).status_code == 403
    assert watched.api("GET", "/api/alerts", key=made["secret"]).json()["alerts"] == []
    assert watched.api("GET", "/api/objectives", key=made["secret"]).json()["standings"] == []


def test_neither_address_nor_secret_is_anywhere(watched: House, heard: Hook) -> None:
    wait(lambda: firing(heard), 60)
    found = [
        watched.api("GET", path).text for path in ("/api/channels", "/api/notices", "/alerts.json", "/alerts/1.json")
    ]
    logs = [path.read_text(errors="replace") for path in Path(watched.folder / ".loopwright" / "logs").glob("*.log")]
    assert not [text for text in (*found, *logs) if SECRET in text or "/hook" in text]
