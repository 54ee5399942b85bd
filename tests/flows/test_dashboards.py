"""Charts of calls that were really made: over REST, with our client, in the terminal; dashboards that are kept."""

import json
import subprocess
import sys
from datetime import datetime, timedelta
from typing import Any

import pytest
from openai import OpenAI

from loopwright.client import Client
from loopwright.core.errors import BadRequest, NotFound
from tests.flows.house import House, wait

TEAMS = ("red", "red", "blue", "</script><b>")


@pytest.fixture(scope="module", autouse=True)
def asked(house: House) -> None:
    """Four calls of the tag `flow`, one of another."""
    with OpenAI(base_url=f"{house.url}/v1", api_key=house.key, max_retries=0) as client:
        for team in TEAMS:
            client.chat.completions.create(
                model="fake",
                messages=[{"role": "user", "content": "hello"}],
                extra_body={"loopwright": {"tags": {"flow": "charts", "squad": team}, "session": f"charts-{team[:3]}"}},
            )
        client.chat.completions.create(
            model="fake",
            messages=[{"role": "user", "content": "hello"}],
            extra_body={"loopwright": {"tags": {"flow": "others", "squad": "red"}}},
        )
    house.settled()


def test_what_was_asked_is_drawn_and_each_point_names_its_calls(client: Client) -> None:
    chart = client.chart("requests,cost,latency_p95", split="tag:squad", tag="flow:charts")
    assert [each["unit"] for each in chart["measures"]] == ["count", "usd", "ms"]
    assert chart["total"]["requests"] == 4
    assert {group["label"]: group["requests"] for group in chart["groups"]} == {"red": 2, "blue": 1, TEAMS[3]: 1}
    for group in chart["groups"]:
        where = {"tag": ["flow:charts", group["where"]["tag"]]}
        assert len(client.calls(**where)["calls"]) == group["requests"]
        for at, count in zip(chart["times"], group["values"]["requests"], strict=True):
            if count:
                begin = datetime.fromisoformat(at)
                until = begin + timedelta(seconds=chart["step_seconds"])
                found = client.calls(**where, since=begin.isoformat(), until=until.isoformat())
                assert len(found["calls"]) == count
    short = client.chart("requests", split="session", tag="flow:charts", compare="previous", points=20)
    assert sum(group["requests"] for group in short["groups"]) == 4
    assert short["before"]["total"]["requests"] == 0
    model = client.chart(
        "requests", split="model", tag="flow:charts", provider="fake", target="fake", without="task,tag:x"
    )
    assert [(group["name"], group["requests"]) for group in model["groups"]] == [("fake", 4)]
    assert client.chart("requests", tag="flow:charts", outcome="failed")["total"]["requests"] == 0
    assert {"cost", "ttft_p50"} <= {each["name"] for each in client.measures()}


@pytest.mark.parametrize(
    "wrong",
    [
        {"measure": "joy"},
        {"split": "tag:"},
        {"compare": "soon"},
        {"text": "hello"},
        {"without": "luck"},
        {"points": 501},
    ],
    ids=str,
)
def test_what_cannot_be_drawn_is_refused(client: Client, wrong: dict[str, str | int]) -> None:
    with pytest.raises(BadRequest):
        client.chart(**wrong)  # type: ignore[arg-type]  # what is wrong


@pytest.mark.parametrize(
    "odd",
    [
        {"since": "0001-01-01T00:00:00Z"},
        {"until": "9999-12-31T23:59:59Z"},
        {"since": "0001-01-01T00:00:00Z", "until": "9999-12-31T23:59:59Z", "compare": "previous"},
        {"since": "2999-01-01T00:00:00Z", "compare": "7d"},
        {"key": "99999999999999999999"},
        {"key": "2147483648", "split": "tag:x"},
        {"model": "\x00"},
        {"split": "tag:\x00", "session": "a\x00"},
        {"tag": "a\x00:b", "split": "client"},
        {"min_latency_ms": "1e308", "split": "session"},
        {"min_cost_usd": "1e300"},
        {"without": "tag:%s(x)%%"},
        {"split": "tag:%(step)s", "client": "%s"},
        {"measure": ",,,"},
        {"trace": "x", "split": "outcome"},
    ],
    ids=str,
)
def test_odd_questions_are_no_failures_of_ours(house: House, odd: dict[str, str]) -> None:
    assert house.api("GET", "/api/overview", params={"since": "2026-01-01T00:00:00"}).status_code == 200
    answer = house.api("GET", "/api/charts", params=odd)
    assert answer.status_code in {200, 400}, answer.text


def test_a_dashboard_is_kept_changed_and_forgotten(client: Client) -> None:
    name = "spend/of <b>teams"
    definition = {"panels": ["cost@tag:squad", "latency"], "range": "7d", "filter": {"tag": "flow:charts"}}
    kept = client.keep_dashboard(name, definition)
    assert (kept["panels"], kept["filter"]) == (definition["panels"], definition["filter"])
    client.keep_dashboard(name, {"panels": ["requests"]})
    assert client.dashboard(name)["panels"] == ["requests"]
    assert [each["name"] for each in client.dashboards()].count(name) == 1
    wrongs: list[dict[str, Any]] = [
        {"panels": []},
        {"panels": ["joy"]},
        {"panels": ["cost"], "filter": {"x": "y"}},
        {"panels": "cost"},
    ]
    for wrong in wrongs:
        with pytest.raises(BadRequest):
            client.keep_dashboard("wrong", wrong)
    client.delete_dashboard(name)
    with pytest.raises(NotFound):
        client.dashboard(name)


def test_the_terminal_draws_and_lists(house: House) -> None:
    def run(*words: str) -> str:
        command = [sys.executable, "-m", "loopwright.cli.main", *words, "--url", house.url, "--api-key", house.key]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    drawn = run("charts", "show", "cost", "--split", "tag:squad", "--tag", "flow:charts", "--compare", "previous")
    assert "Cost, usd" in drawn
    assert "red" in drawn
    told = json.loads(run("charts", "show", "--tag", "flow:charts", "--tag", "squad:red", "--json"))
    assert told["total"]["requests"] == 2
    assert "error_rate" in run("charts", "measures")
    listed = json.loads(
        run("calls", "list", "--tag", "flow:charts", "--without", "tag:nothing", "--provider", "fake", "--json")
    )
    assert len(listed["calls"]) == 4


def test_counts_by_a_tag_go_with_its_calls(house: House, client: Client) -> None:
    assert client.chart("requests", split="tag:flow")["total"]["requests"] >= 5
    client.delete_calls(tag="flow:others")
    names = {group["name"] for group in client.chart("requests", split="tag:flow")["groups"]}
    assert "charts" in names
    wait(
        lambda: (
            "others"
            not in {group["name"] for group in client.chart("requests", split="tag:flow", since=_ago(20))["groups"]}
        )
    )


def _ago(hours: int) -> str:
    return (datetime.now().astimezone() - timedelta(hours=hours)).isoformat()
