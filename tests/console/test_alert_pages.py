"""The pages of alerts and objectives: the explanation with its evidence, silences, and nobody else's alerts."""

import html
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from loopwright.monitoring.alerts import Raised, raise_alert
from tests.console.conftest import Visitor
from tests.console.housing import ATTACK, House, csrf

MODEL = "<b>oracle</b>"
WIDE = """width => document.documentElement.scrollWidth <= width ? [] : [...document.querySelectorAll("main *")]
    .filter(each => each.getBoundingClientRect().right > width && !each.closest(".scroll"))
    .map(each => `${each.tagName}.${each.className} ${each.textContent.slice(0, 40)}`)"""


@pytest.fixture(autouse=True)
def no_alerts_left(house: House) -> Iterator[None]:
    yield
    for table in ("alerts", "alert_silences", "alert_deliveries"):
        house.do(house.app.db.run(f"delete from {table}"))


def raised(house: House, **fields: Any) -> int:
    since = datetime.now(UTC) - timedelta(minutes=5)
    usual: dict[str, Any] = {
        "project_id": house.app.keys.find(house.secrets["clerk"]).project_id,  # type: ignore[union-attr]
        "source": "objective", "key": "answers/oracle", "severity": "critical", "title": f"Model oracle: {ATTACK}",
        "text": f"Objective answers.\n{ATTACK}", "link": "/slos?objective=answers", "rule": "answers", "kind": "errors",
        "labels": {"model": MODEL}, "calls": {"model": MODEL, "outcome": "failed", "since": since.isoformat()}, "since": since,
        "evidence": {"windows": [{
            "window_s": 3600, "bad": 6, "calls": 12, "burn_rate": 50.0, "short_window_s": 300, "short_bad": 6,
            "short_calls": 12, "short_burn_rate": 50.0, "from": 14.4, "fires": True,
        }]},
    }  # fmt: skip
    return house.do(raise_alert(house.app.db, Raised(**(usual | fields))))


def fail(house: House) -> None:
    for ago in range(6):
        broke: dict[str, Any] = {"outcome": "error", "status": 502, "error_code": "upstream_broke"}
        house.call(ago=60 + ago, model=MODEL, target="x", tags={"team": ATTACK}, **broke)
        house.call(ago=60 + ago, model=MODEL, target="y", tags={"team": ATTACK})
    house.drained()


def test_an_alert_is_explained_and_leads_to_its_calls(house: House, boss: httpx.Client) -> None:
    fail(house)
    alert_id = raised(house)
    found = boss.get(f"/alerts/{alert_id}.json").json()
    first = found["explanation"]["causes"][0]
    assert (first["dimension"], first["value"], first["now"]["text"]) == ("target", "x", "6 of 6")
    page = boss.get(f"/alerts/{alert_id}").text
    assert "What explains it" in page
    assert "100 % of the added failures are calls of target x" in page
    assert "<script>window.hacked" not in page
    assert "<b>oracle" not in page
    [address] = re.findall(r'href="(/calls\?[^"]+)">Its calls', page)
    listed = boss.get(html.unescape(address).replace("/calls?", "/calls.json?")).json()["calls"]
    assert len(listed) == 6
    [address] = {each for each in re.findall(r'href="(/calls\?[^"]+)">calls', page) if "target=x" in each}
    listed = boss.get(html.unescape(address).replace("/calls?", "/calls.json?")).json()["calls"]
    assert {call["target"] for call in listed} == {"x"}


def test_people_acknowledge_silence_and_resolve(house: House, clerk: httpx.Client) -> None:
    alert_id = raised(house)
    page = clerk.get(f"/alerts/{alert_id}")
    token = csrf(page)
    assert clerk.post(f"/alerts/{alert_id}/acknowledge", data={"csrf": token}).status_code == 200
    assert clerk.get("/alerts.json").json()["alerts"][0]["acknowledged_by"] == "clerk"
    offered = dict(re.findall(r'name="(match:[a-z]+)" value="([^"]*)"', page.text))
    silenced = clerk.post(
        "/alerts/silences",
        data={"csrf": token, "length": "1h", **{key: html.unescape(each) for key, each in offered.items()}},
    )
    assert silenced.status_code == 200
    [silence] = clerk.get("/alerts.json").json()["silences"]
    assert silence["matchers"] == {"source": "objective", "rule": "answers", "model": MODEL}
    assert silence["project"] == "default"
    assert clerk.post(f"/alerts/silences/{silence['id']}/end", data={"csrf": token}).status_code == 200
    assert clerk.post(f"/alerts/{alert_id}/resolve", data={"csrf": token}).status_code == 200
    data = clerk.get("/alerts.json?state=resolved").json()
    assert (data["alerts"][0]["resolution"], data["silences"], data["channels"]) == ("person", [], [])
    assert clerk.post(f"/alerts/{alert_id}/acknowledge", data={"csrf": token}).status_code == 404
    acts = house.do(house.app.audit.page(subject=f"alert {alert_id}"))
    assert [act.act for act in acts] == ["alert.resolve", "alert.acknowledge"]


def test_what_cannot_be_silenced_is_said(boss: httpx.Client) -> None:
    token = csrf(boss.get("/alerts"))
    for typed in ("nonsense", ATTACK, "", "=x", "a=" + "*" * 20):
        answer = boss.post("/alerts/silences", data={"csrf": token, "matchers": typed, "length": "1h"})
        assert answer.status_code == 400
        assert 'role="alert"' in answer.text
        assert "<script>window.hacked" not in answer.text
    wide = boss.post("/alerts/silences", data={"csrf": token, "matchers": "model=gpt-*, kind=errors", "every": "1"})
    assert wide.status_code == 200
    assert boss.get("/alerts.json").json()["silences"][0]["project"] is None


def test_another_projects_alerts_are_not_there(house: House, clerk: httpx.Client) -> None:
    alert_id = raised(house)
    with house.client("seeker") as seeker:
        assert seeker.get("/alerts.json").json()["alerts"] == []
        assert seeker.get(f"/alerts/{alert_id}").status_code == 404
        token = csrf(seeker.get("/alerts"))
        assert seeker.post(f"/alerts/{alert_id}/resolve", data={"csrf": token}).status_code == 404
        assert seeker.get("/slos.json").json()["standings"] == []
    assert clerk.post("/alerts/channels/ops/test", data={"csrf": csrf(clerk.get("/alerts"))}).status_code == 403
    for odd in ("/alerts?before=x", "/alerts?before=" + "9" * 40, "/alerts/99999999999999999999"):
        assert clerk.get(odd).status_code in (400, 404)
    assert clerk.get("/slos?objective=none").status_code == 404


def test_objectives_show_what_is_left(house: House, boss: httpx.Client) -> None:
    fail(house)
    rows = {row["labels"]["model"]: row for row in boss.get("/slos.json").json()["standings"]}
    assert rows[MODEL]["bad"] >= 6
    assert rows[MODEL]["state"] == "burning"
    assert rows[MODEL]["budget_left"] < 0
    page = boss.get("/slos").text
    assert "overspent" in page
    assert "None is configured: this one holds without." in page
    assert "<b>oracle" not in page


def test_no_script_runs_and_nothing_is_wider_than_the_window(house: House, visitor: Visitor) -> None:
    fail(house)
    alert_id = raised(house)
    page = visitor.page
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        for address in (f"/alerts/{alert_id}", "/alerts?state=all", "/slos"):
            page.goto(house.url + address)
            assert page.evaluate("window.hacked") is None
            wide = page.evaluate(WIDE, width)
            assert not wide, (address, width)
    assert visitor.complaints == []


def test_links_keep_to_the_alerts_project(house: House, boss: httpx.Client) -> None:
    fail(house)
    house.call(key="seeker", ago=30, model=MODEL, outcome="error", status=502, error_code="upstream_broke")
    house.drained()
    query = boss.get(f"/alerts/{raised(house)}.json").json()["alert"]["calls_query"]
    assert "project=default" in query
    assert {call["project_id"] for call in boss.get(f"/calls.json?{query}").json()["calls"]} == {1}
    with house.client("seeker") as seeker:
        assert seeker.get("/calls.json?project=default").status_code == 404
        assert len(seeker.get("/calls.json?project=search&outcome=failed").json()["calls"]) == 1
    assert boss.get("/calls.json?project=nowhere").status_code == 404
