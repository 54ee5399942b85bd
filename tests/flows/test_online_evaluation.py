"""Calls scored as they go by in a real house: beside the road, once, within a budget, seen in REST, CLI and console."""

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.flows.house import House, wait

CONFIG = """
server: {workers: 1}
providers:
  words: {kind: scripted, args: {answers: [{match: "refuse", text: "I'm sorry, but I can't help with that."}], otherwise: "The bill is paid, and we write to you within the week."}}
  vectors: {kind: scripted, args: {dimensions: 8}}
  judge: {kind: scripted, args: {otherwise: '{"verdict": "yes"}'}}
models:
  small: {provider: words, price: {input: 1.0, output: 2.0}}
  oracle: {provider: judge, price: {input: 1.0, output: 2.0}}
  vectors: {provider: vectors, operations: [embeddings]}
tasks:
  reply:
    model: small
    variants: {base: {messages: [{role: user, content: "{{ input }}"}]}}
    monitor:
      evaluators:
        - refusal
        - {kind: language, args: {expected: en}}
        - toxicity
        - pii
        - sentiment
        - {kind: judge, name: helpful, args: {judge: answers, model: oracle}}
        - {kind: exact_match, name: never}
        - answer_relevance
      share: 1
      budget: {usd: 1}
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("online"), config=CONFIG, arguments=("--no-engine",)).start()
    yield house
    assert house.stop() == 0, house.log.read_text()


def ask(house: House, text: str) -> str:
    body = {"model": "task/reply", "messages": [{"role": "user", "content": text}]}
    answer = house.api("POST", "/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-loopwright-call-id"]


def scores(house: House, call_id: str) -> dict[str, dict[str, Any]]:
    found = house.api("GET", f"/api/calls/{call_id}/scores").json()["scores"]
    return {each["name"]: each for each in found}


def run(house: House, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "LOOPWRIGHT_URL": house.url, "LOOPWRIGHT_API_KEY": house.key}
    command = [sys.executable, "-m", "loopwright.cli.main", *words]
    return subprocess.run(command, cwd=house.folder, env=env, capture_output=True, text=True, timeout=120, check=False)


def standing(house: House) -> dict[str, Any]:
    told: dict[str, Any] = house.api("GET", "/api/tasks/reply/monitor").json()
    return told


def settled(house: House, calls: int) -> bool:
    told = standing(house)
    behind = told["behind"]
    done = not (behind["arrived"] or behind["computed"] or behind["asked"])
    return done and told["calls"]["seen"] >= calls


@pytest.fixture(scope="module")
def asked(house: House) -> list[str]:
    time.sleep(3.0)  # the drain notes what is watched from two seconds on
    ids = [ask(house, f"Is the bill of {month} paid?") for month in ("May", "June", "July")] + [ask(house, "refuse")]
    wait(lambda: settled(house, 4), 90)
    return ids


def test_each_call_has_each_score_once(house: House, asked: list[str]) -> None:
    found = scores(house, asked[0])
    assert {name: each["source"] for name, each in found.items()} == {
        "refusal": "code", "language": "code", "toxicity": "code", "pii": "code", "sentiment": "code", "helpful": "judge",
        "answer_relevance": "code",
    }  # fmt: skip
    assert (found["language"]["label"], found["language"]["passed"]) == ("en", True)
    assert (found["helpful"]["label"], found["helpful"]["weight"]) == ("yes", 1.0)
    assert float(found["helpful"]["cost_usd"]) > 0
    assert scores(house, asked[3])["refusal"]["passed"] is False
    judging = house.calls(tag="loopwright.monitor:reply")
    assert Counter(each["model"] for each in judging) == {"oracle": 4}
    assert house.api("GET", f"/api/calls/{judging[0]['id']}/scores").json()["scores"] == []


def test_how_it_stands_is_told(house: House, asked: list[str]) -> None:
    del asked
    told = standing(house)
    by_name = {each["name"]: each for each in told["evaluators"]}
    assert by_name["refusal"]["scored"] == 4
    assert by_name["never"]["skipped"] == [{"what": "missing", "why": "the evaluator found nothing to say", "calls": 4}]
    assert "expected" in by_name["never"]["faults"][0]["said"]
    assert by_name["helpful"]["trust"]["may_gate"] is False
    assert 0 < float(told["budget"]["spent_usd"]) < 1
    shown = run(house, "scores", "monitor", "reply")
    assert shown.returncode == 0, shown.stderr
    assert "nothing waits" in shown.stdout
    assert "informs only" in shown.stdout
    listed = json.loads(run(house, "scores", "list", "--task", "reply", "--by", "variant", "--json").stdout)
    assert {each["value"] for each in listed} == {"base"}
    refusals = next(each for each in listed if each["name"] == "refusal")
    assert (refusals["mean"], refusals["passed"], refusals["calls"]) == (0.25, 0.75, 4.0)
    series = house.api("GET", "/api/scores/series", params={"name": "refusal", "points": 24}).json()["series"]
    assert sum(point["scores"] for point in series[0]["points"]) == 4


def test_bad_calls_go_to_people_and_into_a_dataset(house: House, asked: list[str]) -> None:
    sent = run(house, "scores", "send", "refusal", "review/refusals", "--failed", "--json")
    assert sent.returncode == 0, sent.stderr
    review = house.api("GET", "/api/reviews/refusals").json()["review"]
    assert review["name"] == "refusals"
    kept = run(house, "scores", "send", "refusal", "dataset/refusals", "--failed")
    assert "Sent 1 call to dataset refusals" in kept.stderr
    rows = json.loads(run(house, "scores", "calls", "refusal", "--failed", "--json").stdout)
    assert [each["call_id"] for each in rows] == [asked[3]]


def test_killed_in_the_middle_nothing_is_lost_or_scored_twice(house: House, asked: list[str]) -> None:
    before = standing(house)["calls"]["seen"]
    more = [ask(house, f"Is bill {number} paid?") for number in range(40)]
    wait(lambda: bool(house.children("_monitor")), 60)
    for process in house.children("_monitor"):
        process.kill()
    wait(lambda: settled(house, before + 40), 120)
    told = standing(house)
    names = {each["name"]: each["scored"] for each in told["evaluators"]}
    assert names["refusal"] == names["helpful"] == before + 40 == len(asked) + 40
    assert all(len(scores(house, each)) == 7 for each in more[:5])


def test_odd_questions_are_refused(house: House) -> None:
    for path in (
        "/api/scores?by=weather",
        "/api/scores?by=tag",
        "/api/scores?since=2030-01-01T00:00:00Z",
        "/api/scores/series?points=0",
        "/api/scores/calls?below=NaN",
        "/api/scores?tag=x",
    ):
        assert 400 <= house.api("GET", path).status_code < 500, path
    assert house.api("GET", "/api/scores?since=0001-01-01T00:00:00Z&until=9999-12-31T23:59:59Z").status_code == 200
    assert house.api("GET", "/api/tasks/none/monitor").status_code == 404
    assert httpx.get(house.url + "/api/scores").status_code == 401


@pytest.fixture(scope="module")
def browser(house: House) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=house.url, follow_redirects=True, timeout=60) as client:
        csrf = re.search(r'name="csrf" value="([^"]+)"', client.get("/sign-in").text)
        assert csrf is not None
        page = client.post("/sign-in", data={"csrf": csrf[1], "key": house.key}, headers={"origin": house.url})
        assert page.status_code == 200, page.text
        yield client


def test_pages_show_it_beside_latency_and_cost(house: House, browser: httpx.Client, asked: list[str]) -> None:
    page = browser.get("/scores")
    assert page.status_code == 200, page.text
    assert all(word in page.text for word in ("How scoring of reply stands", "informs only", "missing", "refusal"))
    one = browser.get("/scores/one", params={"name": "refusal", "task": "reply", "passed": "no"})
    assert one.status_code == 200, one.text
    assert f"/calls/{asked[3]}#feedback" in one.text
    assert browser.get("/scores/one").status_code == 400
    assert browser.get("/scores", params={"source": "odd"}).status_code == 400
    for path in ("/tasks/reply", "/overview", f"/calls/{asked[0]}"):
        shown = browser.get(path)
        assert shown.status_code == 200, shown.text
        assert "/scores/one?name=" in shown.text.replace("&amp;", "&"), path
    assert browser.get("/overview.json").json()["scores"]
    csrf = re.search(r'name="csrf" value="([^"]+)"', one.text)
    assert csrf is not None
    form = {"csrf": csrf[1], "calls": asked[3], "to": "review", "name": "from the page"}
    sent = browser.post("/scores/calls", data=form, headers={"origin": house.url})
    assert sent.status_code == 200, sent.text
    assert "/reviews/" in str(sent.url)
    odd = browser.post("/scores/calls", data=form | {"calls": "x"}, headers={"origin": house.url})
    assert 400 <= odd.status_code < 500
